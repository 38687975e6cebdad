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


NO_MAPS = """
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
void *mmap(void *at, size_t size, int protection, int flags, int file, off_t offset) {
  const char *none = getenv("NO_MAPS");
  if (file >= 0 && !(protection & PROT_EXEC) && ((flags & MAP_SHARED) || none[0] == 'a')) {
    errno = ENODEV;
    return MAP_FAILED;
  }
  return (void *)syscall(SYS_mmap, at, size, protection, flags, file, offset);
}
void *mmap64(void *at, size_t size, int protection, int flags, int file, off_t offset) {
  return mmap(at, size, protection, flags, file, offset);
}
"""
"""A library that has no shared maps of files, or with NO_MAPS=all none."""


@pytest.mark.skipif(shutil.which("cc") is None or sys.platform != "linux", reason="needs a C compiler, and Linux")
@pytest.mark.parametrize("none", ["shared", "all"])
def test_a_file_system_without_maps_serves_all_the_same(none: str, tmp_path: Path) -> None:
    """Where shared maps are refused, or all maps, a file has the same bytes, read-only or private as asked for."""
    (tmp_path / "none.c").write_text(NO_MAPS)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "none.so", "none.c"], cwd=tmp_path, check=True)
    (tmp_path / "data").write_bytes(bytes(range(256)) * 100)
    script = (
        "from llmprep.output.mapping import map_file\n"
        "with open('data', 'rb') as file:\n"
        "    file.read(10)\n"
        "    shown, mine = map_file(file), map_file(file, private=True)\n"
        "    print(file.tell())\n"
        "mine[0] = 7\n"
        "whole = bytes(range(256)) * 100\n"
        "print(shown.readonly, mine.readonly, bytes(shown) == whole, bytes(mine[1:]) == whole[1:], mine[0])\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=clean_environment({"LD_PRELOAD": str(tmp_path / "none.so"), "NO_MAPS": none, "PYTHONPATH": str(ROOT)}),
    )  # fmt: skip

    assert (ended.stderr, ended.stdout.split()) == ("", ["10", "True", "False", "True", "True", "7"])
    assert (tmp_path / "data").read_bytes()[0] == 0
