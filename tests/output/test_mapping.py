"""Promises of mapping a file: no descriptor is held, and no write reaches the file or ends the process."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.commands import ROOT, clean_environment

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


@pytest.mark.parametrize("private", [False, True])
def test_a_map_is_the_files_bytes(private: bool, numbers: Path) -> None:
    """A map is all of a closed file, read-only, or written in memory alone: the file and other maps do not change."""
    view, other = mapped(numbers, private=private), mapped(numbers, private=private)
    array = np.frombuffer(view, np.uint8)

    assert (view.format, view.itemsize, view.readonly) == ("B", 1, not private)
    assert view == WHOLE
    if private:
        array[:] = 9
        assert bytes(view[:3]) == b"\t\t\t"
    assert other == numbers.read_bytes() == WHOLE


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


NO_MAPS = """
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
void *mmap64(void *at, size_t size, int protection, int flags, int file, off_t offset) {
  if (file >= 0 && !(protection & PROT_EXEC) && flags & REFUSED) return errno = ENODEV, MAP_FAILED;
  return (void *)syscall(SYS_mmap, at, size, protection, flags, file, offset);
}
void *mmap(void *at, size_t size, int protection, int flags, int file, off_t offset) {
  return mmap64(at, size, protection, flags, file, offset);
}
"""
SCRIPT = """
from llmprep.output.mapping import map_file
whole = bytes(range(256)) * 64
with open("numbers", "rb") as file:
    file.read(10)
    shown, mine = map_file(file), map_file(file, private=True)
    print(file.tell())
mine[0] = 7
print(shown.readonly, mine.readonly, bytes(shown) == whole, bytes(mine[1:]) == whole[1:], mine[0])
"""


@pytest.mark.skipif(shutil.which("cc") is None or sys.platform != "linux", reason="needs a C compiler, and Linux")
@pytest.mark.parametrize("refused", ["MAP_SHARED", "(MAP_SHARED|MAP_PRIVATE)"])
def test_a_file_system_without_maps_serves_all_the_same(refused: str, numbers: Path, tmp_path: Path) -> None:
    """Where shared maps are refused, or all maps, a file has the same bytes, read-only or private as asked for."""
    compiled = ["cc", "-shared", "-fPIC", f"-DREFUSED={refused}", "-o", "none.so", "-xc", "-"]
    subprocess.run(compiled, input=NO_MAPS.encode(), cwd=tmp_path, check=True)
    environment = clean_environment({"LD_PRELOAD": str(tmp_path / "none.so"), "PYTHONPATH": str(ROOT)})

    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, check=False, env=environment
    )

    assert (ended.stderr, ended.stdout.split()) == (b"", [b"10", b"True", b"False", b"True", b"True", b"7"])
    assert numbers.read_bytes() == WHOLE
