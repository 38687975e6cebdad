"""Promises of temporary files: what nobody writes any more is removed, what somebody writes never is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmprep.output import temporary
from llmprep.output.checking import Output, check_output, check_space
from llmprep.output.mapping import map_file
from llmprep.output.writing import SYNC_BYTES, open_output

NEW = b"PK\x03\x04 the new file"


@pytest.fixture
def output(tmp_path: Path) -> Output:
    """A file x.pt to write."""
    return check_output(str(tmp_path / "x.pt"))


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def temporary_of(output: Output) -> Path:
    """Where the first writer of an output writes."""
    target = Path(output.name)
    with open_output(output):
        (name,) = names(target.parent)
    target.unlink()
    return target.parent / name


LEFT: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: path.write_bytes(b"PK half"),
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a link": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("what", LEFT)
def test_what_killed_runs_left_is_removed(what: str, output: Output, tmp_path: Path) -> None:
    """A file that nobody writes any more goes when its output is written again; another output's, or no file, stays."""
    left, others = temporary_of(output), temporary_of(check_output(str(tmp_path / "y.pt")))
    LEFT[what](left)
    others.write_bytes(b"PK half")
    with open_output(output) as sink:
        sink.write(NEW)
    assert names(tmp_path) == sorted({others.name, "x.pt"} | (set() if what == "a file" else {left.name}))
    assert (tmp_path / "x.pt").read_bytes() == NEW


@pytest.mark.parametrize("places", [2, temporary.PLACES])
def test_many_writers_each_finish(places: int, output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many write one output at once, also more than there are names for, the file is that of one."""
    monkeypatch.setattr(temporary, "PLACES", places)

    def write_often(number: int) -> None:
        for _ in range(20):
            with open_output(output) as sink:
                for _ in range(5):
                    sink.write(bytes([number]) * 1000)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write_often, range(8)))
    data = (tmp_path / "x.pt").read_bytes()
    assert (len(data), len(set(data)), names(tmp_path)) == (5000, 1, ["x.pt"])


ENDS = """
import os, sys
from llmprep.output.checking import check_output
from llmprep.output.temporary import remove_temporaries
from llmprep.output.writing import open_output
output = check_output("x.pt")

def write(stop):
    seen = 0
    def trace(frame, event, argument):
        nonlocal seen
        seen += event == "line" and frame.f_code.co_filename.endswith(sys.argv[1])
        if seen == stop:
            sys.settrace(None)
            remove_temporaries()
            os._exit(7)
        return trace
    sys.settrace(trace)
    with open_output(output) as sink:
        sink.write(b"PK\\3\\4")
    os._exit(0)

for stop in range(1, 9999):
    child = os.fork() or write(stop)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code, *sorted(name for name in os.listdir() if name != "x.pt"))
    if code != 7:
        break
"""


@pytest.mark.parametrize("module", ["output/temporary.py", pytest.param("output/writing.py", marks=pytest.mark.slow)])
def test_a_process_that_ends_at_any_moment_leaves_nothing(module: str, output: Output, tmp_path: Path) -> None:
    """Whatever line is being run when a process must end, its temporary file goes; another writer's stays."""
    with open_output(output):
        (others,) = names(tmp_path)

        command = [sys.executable, "-c", ENDS, module]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    *stopped, whole = ended.stdout.splitlines()
    assert len(stopped) > 60
    assert {*stopped} == {f"7 {others}"}
    assert whole == f"0 {others}"


def test_a_system_that_is_not_posix_serves(output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without locks, permissions, folders to sync, or free space, files are written and mapped all the same."""
    left = temporary_of(output)
    left.write_bytes(b"PK half")
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_DIRECTORY", "fchmod", "fdatasync", "pread"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.delattr("mmap.MAP_SHARED")
    monkeypatch.delattr(shutil, "disk_usage")
    monkeypatch.setitem(sys.modules, "fcntl", None)

    check_space(output, 1 << 60)
    for _ in range(2):
        with open_output(check_output(output.name)) as sink:
            sink.write(NEW + bytes(SYNC_BYTES))
    check_output(os.devnull)
    with (tmp_path / "x.pt").open("rb") as file:
        shown, mine = map_file(file), map_file(file, private=True)

    assert shown == mine == NEW + bytes(SYNC_BYTES)
    assert (shown.readonly, mine.readonly) == (True, False)
    assert names(tmp_path) == [left.name, "x.pt"]  # what nobody locks might be somebody's
