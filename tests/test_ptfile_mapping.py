"""Promises of mapping a file: no descriptor is held, and no write reaches the file or ends the process."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from llmprep.ptfile.mapping import map_file

DESCRIPTORS = Path("/proc/self/fd")
MAPS = Path("/proc/self/maps")


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """A file of bytes 0 to 255, many times."""
    path = tmp_path / "numbers"
    path.write_bytes(bytes(range(256)) * 64)
    return path


def mapped(path: Path, *, private: bool = False) -> memoryview:
    """Map a file that is closed again."""
    with path.open("rb") as file:
        return map_file(file, private=private)


@pytest.mark.parametrize("private", [False, True])
def test_the_bytes_are_the_files(private: bool, numbers: Path) -> None:
    """A map is all of the file, as bytes."""
    view = mapped(numbers, private=private)

    assert view == numbers.read_bytes()
    assert (view.format, view.itemsize) == ("B", 1)


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="the system does not list a process's open files")
@pytest.mark.parametrize("private", [False, True])
def test_no_descriptor_is_held(private: bool, numbers: Path) -> None:
    """Any number of maps needs no open file."""
    before = len(list(DESCRIPTORS.iterdir()))

    views = [mapped(numbers, private=private) for _ in range(20)]

    assert len(list(DESCRIPTORS.iterdir())) == before
    assert {bytes(view[3:6]) for view in views} == {b"\3\4\5"}


@pytest.mark.skipif(not MAPS.is_file(), reason="the system does not list a process's maps")
def test_a_map_ends_with_its_last_view(numbers: Path) -> None:
    """An array keeps the map it was made from, and nothing else does."""
    array = np.frombuffer(mapped(numbers), np.uint8)[7:]
    gc.collect()
    assert os.fspath(numbers) in MAPS.read_text()
    assert array[0] == 7

    del array
    gc.collect()

    assert os.fspath(numbers) not in MAPS.read_text()


def test_a_map_is_read_only(numbers: Path) -> None:
    """No write through numpy goes into a map, where the system would end the process."""
    array = np.frombuffer(mapped(numbers), np.uint8)

    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_a_private_map_is_written_to_in_memory_alone(numbers: Path) -> None:
    """What is written into a private map is seen by its own views; the file and other maps stay as they are."""
    before = numbers.read_bytes()
    view, other = mapped(numbers, private=True), mapped(numbers, private=True)

    np.frombuffer(view, np.uint8)[:] = 9

    assert bytes(view[:3]) == b"\t\t\t"
    assert other == numbers.read_bytes() == before


def test_an_empty_file_has_no_map(tmp_path: Path) -> None:
    """The system's own error for a file without bytes."""
    path = tmp_path / "empty"
    path.touch()

    with pytest.raises((OSError, ValueError)):
        mapped(path)
