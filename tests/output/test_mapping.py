"""Promises of mapping a file: no descriptor is held, and no write reaches the file or ends the process."""

from __future__ import annotations

import errno
import gc
import mmap
import os
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from llmprep.output.mapping import map_file

DESCRIPTORS, MAPS = Path("/proc/self/fd"), Path("/proc/self/maps")
WHOLE = bytes(range(256)) * 64


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """A file of bytes 0 to 255, many times."""
    (tmp_path / "numbers").write_bytes(WHOLE)
    return tmp_path / "numbers"


def mapped(path: Path, *, private: bool = False) -> memoryview:
    """Map a file that is closed again."""
    with path.open("rb") as file:
        return map_file(file, private=private)


def test_a_map_is_the_files_bytes(numbers: Path) -> None:
    """A map is all of a closed file, read-only, or written in memory alone: the file and other maps do not change."""
    shown, mine, other = mapped(numbers), mapped(numbers, private=True), mapped(numbers, private=True)
    assert shown == mine == WHOLE
    assert [(view.format, view.itemsize, view.readonly) for view in (shown, mine)] == [("B", 1, True), ("B", 1, False)]
    mine[:3] = b"new"
    assert bytes(mine[:4]) == b"new\x03"
    assert shown == other == numbers.read_bytes() == WHOLE


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="the system does not list a process's open files and maps")
def test_a_map_holds_no_descriptor_and_ends_with_its_last_view(numbers: Path) -> None:
    """Any number of maps needs no open file; an array keeps the map it was made from, and nothing else does."""
    before = len(list(DESCRIPTORS.iterdir()))
    arrays = [np.frombuffer(mapped(numbers, private=private), np.uint8)[7:] for private in (False, True) * 10]
    gc.collect()
    assert len(list(DESCRIPTORS.iterdir())) == before
    assert {array[0] for array in arrays} == {7}
    assert MAPS.read_text().count(os.fspath(numbers)) == 20
    del arrays
    gc.collect()
    assert os.fspath(numbers) not in MAPS.read_text()


@pytest.mark.parametrize("refused", [{mmap.ACCESS_READ}, {mmap.ACCESS_READ, mmap.ACCESS_COPY}], ids=["shared", "all"])
def test_no_map_is_needed(refused: set[int], numbers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where shared maps are refused, or all maps, a file has the same bytes, read-only or private as asked for."""
    system_map = mmap.mmap

    def refuse(descriptor: int, size: int, *, access: int) -> mmap.mmap:
        if access in refused:
            raise OSError(errno.ENODEV, "no such maps")
        return system_map(descriptor, size, access=access)

    monkeypatch.delattr(mmap, "MAP_SHARED")  # without it every version of Python maps by `mmap.mmap`
    monkeypatch.setattr(mmap, "mmap", refuse)
    with numbers.open("rb") as file:
        file.read(10)
        shown, mine = map_file(file), map_file(file, private=True)
        assert file.tell() == 10
    mine[0] = 7
    assert (shown.readonly, mine.readonly, mine[0]) == (True, False, 7)
    assert shown == numbers.read_bytes() == WHOLE
    assert mine[1:] == WHOLE[1:]


def test_a_file_that_cannot_be_read_or_shrinks_is_an_error(numbers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system refuses for another reason is its error; so is a file that ends before its size."""
    with numbers.open("ab") as file, pytest.raises(PermissionError):
        map_file(file)
    monkeypatch.delattr(mmap, "MAP_SHARED")
    monkeypatch.setattr(mmap, "mmap", Mock(side_effect=OSError(errno.ENODEV, "no such maps")))
    monkeypatch.setattr(os, "fstat", lambda _: Mock(st_size=len(WHOLE) + 1))
    with numbers.open("rb") as file, pytest.raises(OSError, match=os.strerror(errno.EIO)):
        map_file(file)
