"""Promises of writing: the old file or the new one, whole, and one error; no temporary file is left."""

import errno
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.refusals import OLD, names

from llmprep.errors import OutputError, ReaderGoneError
from llmprep.output import temporary
from llmprep.output.checking import check_output, check_space, is_same_file, is_unchanged
from llmprep.output.mapping import map_file
from llmprep.output.writing import COMPARED_BYTES, SYNC_BYTES, open_output, open_outputs

NEW, INTACT = b"the new file", "; the old file, if any, is intact"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An existing file that begins as a .pt does."""
    (tmp_path / "x.pt").write_bytes(OLD)
    return tmp_path / "x.pt"


def write(*paths: Path | str) -> None:
    """Write the new file to each."""
    with open_outputs(*(check_output(str(path)) for path in paths)) as sinks:
        for sink in sinks:
            sink.write(NEW)


def files(folder: Path) -> dict[str, bytes]:
    """What lies in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_bytes_reach_the_disk_before_the_name_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order that survives a power cut: sync files, rename, sync the folder, which some systems cannot: no error."""
    steps: list[tuple[int, set[str]]] = []

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        steps.append((0 if stat.S_ISDIR(status.st_mode) else status.st_size, names(tmp_path) & {"x.pt", "y.pt"}))
        if stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EINVAL, "not for folders")

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path / "x.pt", tmp_path / "y.pt")
    assert steps == [(len(NEW), set()), (len(NEW), set()), (0, {"x.pt", "y.pt"})]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(errno.EIO, "x")])
def test_an_exception_leaves_the_old_file(error: BaseException, old: Path, tmp_path: Path) -> None:
    """Until the block ends the old file has its name. What ends the block, an interrupt included, changes nothing."""
    with pytest.raises(type(error)) as caught, open_output(check_output(str(old))) as sink:  # noqa: PT012
        sink.write(NEW)
        assert (old.read_bytes(), len(files(tmp_path))) == (OLD, 2)
        raise error
    assert (caught.value, files(tmp_path)) == (error, {"x.pt": OLD})


@pytest.mark.parametrize(
    ("step", "at", "number", "line"),
    [
        ("open", 2, errno.ENOSPC, f"y.pt: no space left on the device{INTACT}"),
        ("fsync", 1, errno.EFBIG, f"x.pt: the file-size limit is reached (see ulimit -f){INTACT}"),
        ("replace", 1, errno.EDQUOT, f"y.pt: {os.strerror(errno.EDQUOT)}"),
    ],
)
def test_a_failing_step_is_said(
    step: str, at: int, number: int, line: str, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system call that fails gives an output's name and the reason; of outputs that belong together none changes."""
    system, turns = getattr(os, step), iter(range(1, 99))

    def fail(*arguments: Any) -> Any:
        if next(turns) == at:
            raise OSError(number, os.strerror(number))
        return system(*arguments)

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OutputError, match=f"/{re.escape(line)}$"):
        write(old.with_name("y.pt"), old)
    assert files(old.parent) == {"x.pt": OLD}


@pytest.mark.parametrize(
    ("mode", "before", "after"),
    [(None, 0o640, 0o640), (0o640, 0o600, 0o640), (0o400, 0o600, 0o400), (0o4755, 0o600, 0o755)],
)
def test_permissions_are_kept(mode: int | None, before: int, after: int, old: Path) -> None:
    """Who could read the old file can read the new one, nobody could earlier; a new one is as the umask says."""
    old.unlink() if mode is None else old.chmod(mode)
    with ExitStack() as afterwards:
        afterwards.callback(os.umask, os.umask(0o027))
        afterwards.enter_context(open_output(check_output(str(old), force=True))).write(NEW)
        assert [path.stat().st_mode & 0o7777 for path in old.parent.iterdir() if path != old] == [before]
    assert (old.read_bytes(), old.stat().st_mode & 0o7777) == (NEW, after)


LONG = bytes(range(256)) * (COMPARED_BYTES // 100)
"""More than is compared at once."""


def make_pipe(path: Path) -> None:
    """Put a pipe in a file's place."""
    path.unlink()
    os.mkfifo(path)


OTHERS: dict[str, Callable[[Path], object]] = {
    "the last byte": lambda path: path.write_bytes(LONG[:-1] + b"x"),
    "a byte in the middle": lambda path: path.write_bytes(LONG[:5000] + b"x" + LONG[5001:]),
    "shorter": lambda path: path.write_bytes(LONG[:-1]),
    "longer": lambda path: path.write_bytes(LONG + b"x"),
    "gone": Path.unlink,
    "a pipe": make_pipe,
}


@pytest.mark.parametrize("what", ["the same", *OTHERS])
def test_a_file_that_would_not_change_is_kept(what: str, tmp_path: Path) -> None:
    """What holds the very bytes keeps its inode, time and mode, each of a group on its own; anything else goes."""
    path, beside = tmp_path / "x.pt", tmp_path / "y.pt"
    for each in (path, beside):
        each.write_bytes(LONG)
        each.chmod(0o444)
        os.utime(each, ns=(5, 5))
    outputs = [check_output(str(each), force=True) for each in (path, beside)]
    path.chmod(0o644)
    change = OTHERS.get(what)
    if change is not None:
        change(path)
    before = [each.stat() if each.exists() else None for each in (path, beside)]
    with open_outputs(*outputs) as sinks:
        for sink in sinks:
            sink.write(LONG)
    kept = [is_same_file(status, each) for status, each in zip(before, (path, beside), strict=True)]
    assert (kept, [*map(is_unchanged, outputs)]) == ([what == "the same", True], [what == "the same", True])
    assert files(tmp_path) == {"x.pt": LONG, "y.pt": LONG}
    assert beside.stat().st_mode & 0o777 == 0o444


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /dev")
def test_what_has_no_name_is_written_straight(tmp_path: Path) -> None:
    """So are a removed file and a pipe, under the only name it has; a reader that leaves is a `ReaderGoneError`."""
    with (tmp_path / "gone").open("w+b") as file:
        (tmp_path / "gone").unlink()
        write(f"/dev/fd/{file.fileno()}")
        assert file.read() == NEW
    assert files(tmp_path) == {}
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb"):
        write(f"/dev/fd/{writer}")
        assert os.read(reader, 100) == NEW
        os.close(reader)
        with pytest.raises(ReaderGoneError):
            write(f"/dev/fd/{writer}")


def temporary_of(path: Path) -> Path:
    """Where the first writer of an output writes."""
    with open_output(check_output(str(path))):
        (name,) = names(path.parent)
    path.unlink()
    return path.with_name(name)


@pytest.mark.parametrize(
    ("leave", "goes"),
    [(Path.touch, True), (os.mkfifo, False), (Path.mkdir, False), (lambda path: path.symlink_to("/dev/zero"), False)],
)
def test_what_killed_runs_left_is_removed(leave: Callable[[Path], object], goes: bool, tmp_path: Path) -> None:
    """A file that nobody writes any more goes when its output is written again; another output's, or no file, stays."""
    left, others = temporary_of(tmp_path / "x.pt"), temporary_of(tmp_path / "y.pt")
    leave(left)
    others.write_bytes(b"PK half")
    write(tmp_path / "x.pt")
    assert names(tmp_path) == {others.name, "x.pt"} | (set() if goes else {left.name})


@pytest.mark.parametrize("places", [2, temporary.PLACES])
def test_many_writers_each_finish(places: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many write one output at once, also more than there are names for, the file is that of one."""
    monkeypatch.setattr(temporary, "PLACES", places)

    def write_often(number: int) -> None:
        for _ in range(20):
            with open_output(check_output(str(tmp_path / "x.pt"))) as sink:
                for _ in range(5):
                    sink.write(b"PK\x03\x04" + bytes([number]) * 996)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write_often, range(8)))
    data = (tmp_path / "x.pt").read_bytes()
    assert (len(data), data, names(tmp_path)) == (5000, data[:1000] * 5, {"x.pt"})


ENDS = """
import os, sys
from llmprep.output import checking, temporary, writing
output, lines, stop, code = checking.check_output("x.pt"), 0, 0, 7

def trace(frame, event, argument):
    global lines
    lines += event == "line" and frame.f_code.co_filename.endswith(sys.argv[1])
    if lines == stop:
        sys.settrace(None)
        temporary.remove_temporaries()
        os._exit(7)
    return trace

while code == 7:
    stop += 1
    if not os.fork():
        sys.settrace(trace)
        with writing.open_output(output) as sink:
            sink.write(b"PK\\3\\4")
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.wait()[1])
    print(code, *sorted(name for name in os.listdir() if name != "x.pt"))
"""


@pytest.mark.parametrize("module", ["output/temporary.py", pytest.param("output/writing.py", marks=pytest.mark.slow)])
def test_a_process_that_ends_at_any_moment_leaves_nothing(module: str, tmp_path: Path) -> None:
    """Whatever line is being run when a process must end, its temporary file goes; another writer's stays."""
    with open_output(check_output(str(tmp_path / "x.pt"))):
        (others,) = names(tmp_path)
        command = [sys.executable, "-c", ENDS, module]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    *stopped, whole = ended.stdout.splitlines()
    assert (len(stopped) > 60, {*stopped}, whole) == (True, {f"7 {others}"}, f"0 {others}")


def test_a_system_that_is_not_posix_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without locks, permissions, folders to sync, or free space, files are written and mapped all the same."""
    path, whole = tmp_path / "x.pt", NEW + bytes(SYNC_BYTES)
    left = temporary_of(path)
    left.write_bytes(b"PK half")
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_DIRECTORY", "fchmod", "fdatasync", "pread"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.delattr("mmap.MAP_SHARED")
    monkeypatch.delattr(shutil, "disk_usage")
    monkeypatch.setitem(sys.modules, "fcntl", None)
    check_output(os.devnull)
    check_space(check_output(str(path)), 1 << 60)
    for _ in range(2):
        with open_output(check_output(str(path), force=True)) as sink:
            sink.write(whole)
    with path.open("rb") as file:
        shown, mine = map_file(file), map_file(file, private=True)
    assert (bytes(shown), bytes(mine), shown.readonly, mine.readonly) == (whole, whole, True, False)
    assert names(tmp_path) == {left.name, "x.pt"}  # what nobody locks might be somebody's


HELD = """
import sys, threading, time
from pathlib import Path
from llmprep.cli.main import main
from llmprep.output.temporary import temporary_file

def hold():
    with temporary_file(Path(), suffix=".tiktoken"):
        begun.set()
        time.sleep(60)

begun = threading.Event()
threading.Thread(target=hold, daemon=True).start()
begun.wait()
sys.argv = ["llmprep", "--version"]
main()
"""


def test_a_command_ends_without_the_files_of_its_threads(tmp_path: Path) -> None:
    """A temporary file that has a name goes with the process, whatever thread has it when a command ends."""
    subprocess.run([sys.executable, "-c", HELD], cwd=tmp_path, check=True, capture_output=True)
    assert list(tmp_path.iterdir()) == []
