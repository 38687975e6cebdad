"""Promises of writing: the old whole file or the new whole file, with its permissions, and one clear error.

And of temporary files: what nobody writes any more is removed, what somebody writes never is.
"""

from __future__ import annotations

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
from support.refusals import names

from llmprep.errors import OutputError, ReaderGoneError
from llmprep.output import temporary
from llmprep.output.checking import Output, check_output, check_space
from llmprep.output.mapping import map_file
from llmprep.output.writing import SYNC_BYTES, open_output, open_outputs

OLD, NEW = b"PK\x03\x04 the old file", b"the new file"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An existing file that begins as a .pt does."""
    (tmp_path / "x.pt").write_bytes(OLD)
    return tmp_path / "x.pt"


def write(*outputs: Output) -> None:
    """Write the new file to each."""
    with open_outputs(*outputs) as sinks:
        for sink in sinks:
            sink.write(NEW)


def files(folder: Path) -> dict[str, bytes]:
    """What lies in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_name_appears_when_all_is_written(old: Path, tmp_path: Path) -> None:
    """Until the block ends a name holds the old file, then the new one, alone. A link stays, and leads to it."""
    link = tmp_path / "link.pt"
    link.symlink_to(old.name)
    with open_output(check_output(str(link))) as sink:
        sink.write(NEW)
        assert (old.read_bytes(), len(files(tmp_path))) == (OLD, 3)
    assert files(tmp_path) == {"x.pt": NEW, "link.pt": NEW}
    assert link.is_symlink()


def test_bytes_reach_the_disk_before_the_name_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order that survives a power cut: sync files, rename, sync the folder, which some systems cannot: no error."""
    steps: list[str] = []
    replace = os.replace

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        steps.append("folder" if stat.S_ISDIR(status.st_mode) else f"{status.st_size} bytes")
        if stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EINVAL, "not for folders")

    def watched_replace(source: Any, target: Any) -> None:
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    write(*(check_output(str(tmp_path / name)) for name in ("x.pt", "y.pt")))
    assert steps == ["12 bytes", "12 bytes", "rename", "rename", "folder"]
    assert files(tmp_path) == {"x.pt": NEW, "y.pt": NEW}


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(errno.EIO, "x")])
def test_an_exception_leaves_the_old_file(error: BaseException, old: Path, tmp_path: Path) -> None:
    """Whatever ends the block, an interrupt included, passes by; the old file stays, the temporary one goes."""
    with pytest.raises(type(error)) as caught, open_output(check_output(str(old))) as sink:  # noqa: PT012
        sink.write(NEW)
        raise error
    assert (caught.value, files(tmp_path)) == (error, {"x.pt": OLD})


WORDS = {
    errno.ENOSPC: "no space left on the device; the old file, if any, is intact",
    errno.EFBIG: "the file-size limit is reached (see ulimit -f); the old file, if any, is intact",
    errno.EDQUOT: os.strerror(errno.EDQUOT),
}


@pytest.mark.parametrize("number", WORDS)
@pytest.mark.parametrize(
    ("step", "at", "name"), [("open", 2, "y"), ("fsync", 1, "x"), ("fsync", 2, "y"), ("replace", 1, "y")]
)
def test_a_failing_step_is_said(
    step: str, at: int, name: str, number: int, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system call that fails gives an output's name and the reason; of outputs that belong together none changes."""
    outputs = check_output(str(old.with_name("y.pt"))), check_output(str(old))
    system, turns = getattr(os, step), iter(range(1, 99))

    def fail(*arguments: Any) -> Any:
        if next(turns) == at:
            raise OSError(number, os.strerror(number))
        return system(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fail)
        with pytest.raises(OutputError, match=rf"/{name}\.pt: {re.escape(WORDS[number])}$"):
            write(*outputs)
    assert files(old.parent) == {"x.pt": OLD}


@pytest.mark.parametrize("mode", [None, 0o640, 0o400, 0o4755])
def test_permissions_are_kept(mode: int | None, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who could read the old file can read the new one, and nobody could earlier; no bit runs it as its owner.

    A new one may be read as any program's new file, as the umask says.
    """
    modes: list[int] = []
    system = os.open

    def watched_open(path: Any, flags: int, *arguments: Any) -> int:
        descriptor = system(path, flags, *arguments)
        modes.extend([stat.S_IMODE(os.fstat(descriptor).st_mode)] if flags & os.O_CREAT else [])
        return descriptor

    old.unlink() if mode is None else old.chmod(mode)
    monkeypatch.setattr(os, "open", watched_open)
    with ExitStack() as after:
        after.callback(os.umask, os.umask(0o027))
        sink = after.enter_context(open_output(check_output(str(old), force=True)))
        sink.write(NEW)
        modes += [stat.S_IMODE(path.stat().st_mode) for path in old.parent.iterdir() if path != old]
    assert modes == [0o640 if mode is None else 0o600] * 2  # from its first moment, and until it is whole
    assert (old.read_bytes(), stat.S_IMODE(old.stat().st_mode)) == (NEW, 0o640 if mode is None else mode & 0o777)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /dev")
def test_devices_and_files_without_a_name_are_written_straight(tmp_path: Path) -> None:
    """The null device takes all, a full one is an error, and a removed file gets no name that the system makes up."""
    with (tmp_path / "gone").open("w+b") as file:
        (tmp_path / "gone").unlink()
        write(check_output(os.devnull), check_output(f"/dev/fd/{file.fileno()}"))
        assert file.read() == NEW
    with pytest.raises(OutputError, match=r"^/dev/full: no space left"):
        write(check_output("/dev/full"))
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    assert files(tmp_path) == {}


def test_a_pipe_is_opened_by_the_name_that_is_given() -> None:
    """``/dev/fd/N``, as the shell's ``>(...)``, has no other name; a reader that leaves is a `ReaderGoneError`."""
    reader, writer = os.pipe()
    name = f"/dev/fd/{writer}"
    with os.fdopen(writer, "wb"):
        assert check_output(name) == Output(name, Path(name), direct=True)
        write(check_output(name))
        assert os.read(reader, 100) == NEW
        os.close(reader)
        with pytest.raises(ReaderGoneError):
            write(check_output(name))


@pytest.fixture
def output(tmp_path: Path) -> Output:
    """A file x.pt to write."""
    return check_output(str(tmp_path / "x.pt"))


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
    write(output)
    assert names(tmp_path) == {others.name, "x.pt"} | (set() if what == "a file" else {left.name})
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
    assert (len(data), len(set(data)), names(tmp_path)) == (5000, 1, {"x.pt"})


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
    assert ({*stopped}, whole) == ({f"7 {others}"}, f"0 {others}")


def test_a_system_that_is_not_posix_serves(output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without locks, permissions, folders to sync, or free space, files are written and mapped all the same."""
    left, whole = temporary_of(output), NEW + bytes(SYNC_BYTES)
    left.write_bytes(b"PK half")
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_DIRECTORY", "fchmod", "fdatasync", "pread"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.delattr("mmap.MAP_SHARED")
    monkeypatch.delattr(shutil, "disk_usage")
    monkeypatch.setitem(sys.modules, "fcntl", None)

    check_space(output, 1 << 60)
    for _ in range(2):
        with open_output(check_output(output.name, force=True)) as sink:
            sink.write(whole)
    check_output(os.devnull)
    with (tmp_path / "x.pt").open("rb") as file:
        shown, mine = map_file(file), map_file(file, private=True)
    assert (bytes(shown), bytes(mine), shown.readonly, mine.readonly) == (whole, whole, True, False)
    assert names(tmp_path) == {left.name, "x.pt"}  # what nobody locks might be somebody's
