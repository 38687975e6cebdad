"""Promises of mapping a file: no descriptor is held, and no write reaches the file or ends the process."""

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
READ, COPY = mmap.ACCESS_READ, mmap.ACCESS_COPY
WHOLE = bytes(range(256)) * 64


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """A file of bytes 0 to 255, many times."""
    (tmp_path / "numbers").write_bytes(WHOLE)
    return tmp_path / "numbers"


@pytest.mark.parametrize("refused", [(), (READ,), (READ, COPY)], ids=["none", "shared", "all"])
def test_a_map_is_the_files_bytes(refused: tuple[int, ...], numbers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a closed file, read-only or written in memory alone, also where shared maps are refused, or all maps."""
    system_map = mmap.mmap

    def refuse(descriptor: int, size: int, *, access: int) -> mmap.mmap:
        if access in refused:
            raise OSError(errno.ENODEV, "no such maps")
        return system_map(descriptor, size, access=access)

    if refused:
        monkeypatch.delattr(mmap, "MAP_SHARED")  # without it every version of Python maps by `mmap.mmap`
        monkeypatch.setattr(mmap, "mmap", refuse)
    with numbers.open("rb") as file:
        file.read(10)
        shown, mine, other = map_file(file), map_file(file, private=True), map_file(file, private=True)
        assert file.tell() == 10
    assert [(view.format, view.itemsize, view.readonly) for view in (shown, mine)] == [("B", 1, True), ("B", 1, False)]
    mine[:3] = b"new"
    assert mine == b"new" + WHOLE[3:]
    assert shown == other == numbers.read_bytes() == WHOLE


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="the system does not list a process's open files and maps")
def test_a_map_holds_no_descriptor_and_ends_with_its_last_view(numbers: Path) -> None:
    """Any number of maps needs no open file; an array keeps the map it was made from, and nothing else does."""
    gc.collect()  # what other tests have left open
    before, arrays = len(list(DESCRIPTORS.iterdir())), []
    for private in (False, True) * 10:
        with numbers.open("rb") as file:
            arrays.append(np.frombuffer(map_file(file, private=private), np.uint8)[7:])
    gc.collect()
    assert len(list(DESCRIPTORS.iterdir())) == before
    assert {array[0] for array in arrays} == {7}
    assert MAPS.read_text().count(os.fspath(numbers)) == 20
    del arrays
    gc.collect()
    assert os.fspath(numbers) not in MAPS.read_text()


def test_a_file_that_cannot_be_read_or_shrinks_is_an_error(numbers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system refuses for another reason is its error; so is a file that ends before its size."""
    with numbers.open("ab") as file, pytest.raises(PermissionError):
        map_file(file)
    monkeypatch.delattr(mmap, "MAP_SHARED")
    monkeypatch.setattr(mmap, "mmap", Mock(side_effect=OSError(errno.ENODEV, "no such maps")))
    monkeypatch.setattr(os, "fstat", lambda _: Mock(st_size=len(WHOLE) + 1))
    with numbers.open("rb") as file, pytest.raises(OSError, match=os.strerror(errno.EIO)):
        map_file(file)
