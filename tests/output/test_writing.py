"""Promises of writing: the old whole file or the new whole file, with its permissions, and one clear error."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from llmprep.errors import OutputError, ReaderGoneError
from llmprep.output.checking import Output, check_output
from llmprep.output.writing import open_output, open_outputs

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

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda *names: steps.append("rename") or replace(*names))
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
def test_a_failing_step_is_one_clear_error(
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
def test_a_file_has_the_permissions_of_the_one_it_replaces(
    mode: int | None, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    try:
        assert check_output(name) == Output(name, Path(name), direct=True)
        write(check_output(name))
        assert os.read(reader, 100) == NEW
        os.close(reader)
        with pytest.raises(ReaderGoneError):
            write(check_output(name))
    finally:
        os.close(writer)
