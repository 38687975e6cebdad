"""Whether a place may be written to, checked before any work."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from llmprep.errors import OutputError, RefusedError, UsageError
from llmprep.missing import is_address

ZIP_MAGIC = b"PK\x03\x04"
"""The first bytes of a zip, and so of a .pt file."""
MAX_NAME_BYTES = 255
"""Longest name of a file, without its folder."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file that is written: what it is called, its first bytes, and why a terminal does not take one."""

    noun: str
    magic: bytes
    on_terminal: str
    option: str = "-o"


PT_FILE = Kind("a .pt file", ZIP_MAGIC, "a .pt file is binary")


@dataclass(frozen=True, slots=True)
class Output:
    """A checked place to write to, as `check_output` returns it.

    ``name`` is what messages call it. ``path`` is where links lead, and None for standard output. A ``direct`` output
    is written straight: a device, a pipe, standard output. Any other becomes a file when it is complete.
    ``before`` is the file that was there. What is not ``kept`` goes to no place that anybody asked for.
    """

    name: str
    path: Path | None
    direct: bool
    before: os.stat_result | None = field(default=None, compare=False)
    kept: bool = True


def check_output(name: str, inputs: Sequence[str | Path] = (), *, force: bool = False, kind: Kind = PT_FILE) -> Output:
    """Check, before any work, that ``name`` can be written and that nothing would be lost.

    What is not a regular file, such as the pipe of ``/dev/fd/63``, is opened under the very name that is given.
    Raises `UsageError` if it is a folder, a terminal or one of ``inputs`` (also through links),
    `RefusedError` if it is a file of another ``kind``, or read-only, and ``force`` is not given, `OutputError` if its
    folder is missing or read-only.
    """
    if name == "-":
        return _check_stdout(kind)
    require_file_name(name)
    try:
        path = Path(os.path.realpath(name, strict=False))
        status = _status(Path(name))
        # /dev/fd/N may lead to a file that was removed, and so has no name. One that is just being replaced has one.
        has_name = status is None or status.st_nlink > 0 or _status(path) is not None
    except (OSError, ValueError) as error:
        raise OutputError(f"{name}: {os_reason(error)}") from error
    if status is not None:
        _check_existing(name, status, inputs, kind)
        if not (stat.S_ISREG(status.st_mode) and has_name):
            return Output(name, Path(name), direct=True)
        if not force:
            _refuse_to_replace(name, path, status, kind)
    _check_folder(name, path)
    return Output(name, path, direct=False, before=status)


def require_file_name(name: str) -> None:
    """Raise `UsageError` for a name that only a folder can have; a Path would drop the slash at its end."""
    if name and name.rpartition("/")[2] in ("", ".", ".."):
        raise UsageError(f"{name}: is the name of a folder, and this writes a file; name a file in it")


def is_unchanged(output: Output) -> bool:
    """Tell whether an output is the file that was there before: `open_output` keeps one that holds the same bytes."""
    return output.path is not None and not output.direct and is_same_file(output.before, output.path)


def is_same_file(before: os.stat_result | None, path: Path) -> bool:
    """Tell whether the file at a path is one that was there before, and was not written to since."""
    try:
        now = path.stat()
    except OSError:
        return False
    same = (before.st_size, before.st_mtime_ns) == (now.st_size, now.st_mtime_ns) if before else False
    return before is not None and same and os.path.samestat(before, now)


def check_space(output: Output, need: int) -> None:
    """Raise `OutputError` if ``need`` bytes cannot fit where ``output`` goes.

    Of devices, pipes, and disks that do not tell how much is free, nothing is known and nothing is refused.
    """
    if output.path is None or output.direct:
        return
    try:
        free = shutil.disk_usage(output.path.parent).free
    except (OSError, AttributeError):  # some systems have no `disk_usage`
        return
    if need > free:
        raise OutputError(f"{output.name}: needs {need / 1e9:.1f} GB, its disk has {free / 1e9:.1f} GB free")


def os_reason(error: OSError | ValueError) -> str:
    """Return the operating system's words, with what to do where we know it."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOSPC:
        return "no space left on the device; the old file, if any, is intact"
    if number == errno.EFBIG:
        return "the file-size limit is reached (see ulimit -f); the old file, if any, is intact"
    if "embedded null" in str(error):  # each Python has other words for it
        return "no name holds a NUL character"
    return os.strerror(number) if number else str(error)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _check_stdout(kind: Kind) -> Output:
    if sys.stdout is None:
        raise OutputError("standard output is closed; nothing can be written to it")
    if sys.stdout.isatty():
        raise UsageError(f"{kind.option} -: {kind.on_terminal} and standard output is a terminal; redirect it")
    return Output("-", None, direct=True)


def _check_existing(name: str, status: os.stat_result, inputs: Sequence[str | Path], kind: Kind) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{name}: is a folder; name a file in it")
    if stat.S_ISCHR(status.st_mode):
        _refuse_terminal(name, kind)
        return
    for other in inputs:
        with suppress(OSError, ValueError):
            if os.path.samestat(status, Path(other).stat()):
                raise UsageError(f"{name}: is also an input; name another output")


def _refuse_terminal(name: str, kind: Kind) -> None:
    """Raise `UsageError` for a terminal. Where the system can, it is opened without waiting."""
    flags = os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    with suppress(OSError):  # opening it for writing tells what is wrong with it
        descriptor = os.open(name, flags)
        try:
            if os.isatty(descriptor):
                raise UsageError(f"{name}: {kind.on_terminal} and this is a terminal; name a file")
        finally:
            os.close(descriptor)


def _refuse_to_replace(name: str, path: Path, status: os.stat_result, kind: Kind) -> None:
    """Raise `RefusedError` for a file of another kind, or that is read-only.

    Root may write to any file. For root too, a file that nobody has the right to write to is read-only.
    """
    if not _is_of(kind, name, path):
        raise RefusedError(f"{name}: exists and is not {kind.noun}; --force replaces it")
    if not status.st_mode & 0o222 or not os.access(path, os.W_OK):
        raise RefusedError(f"{name}: exists and is read-only; --force replaces it")


def _is_of(kind: Kind, name: str, path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(kind.magic)) == kind.magic
    except OSError as error:
        raise OutputError(f"{name}: {os_reason(error)}") from error


def _check_folder(name: str, path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        if is_address(name):
            raise OutputError(f"{name}: is an address, and llmprep writes files; write one here and copy it there")
        raise OutputError(f"{name}: there is no folder {folder.name or folder}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{name}: its folder is not writable")
    if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
        raise OutputError(f"{name}: {os.strerror(errno.ENAMETOOLONG)}")
