"""Temporary files: those beside an output, which become it, and those for what must be read twice.

A process that is killed leaves its temporary file beside the output. The names for such files are few for each
output, and a running writer locks its own (``flock``): so the next run to the same output knows which ones nobody
writes any more, and removes them. Where a system has no such locks, nothing is known and nothing removed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from llmprep.errors import OutputError

PLACES = 64
"""Names for temporary files of one output. If all are in use, a random name serves, which no later run cleans up."""


@dataclass(frozen=True, slots=True, eq=False)
class _Temporary:
    """A temporary file that this process has created; ``status`` tells it from a later file of the same name."""

    path: Path
    status: os.stat_result

    def remove(self) -> None:
        with suppress(OSError):
            if os.path.samestat(self.status, self.path.lstat()):
                self.path.unlink()


_under_way: set[_Temporary] = set()
"""What this process is writing."""
_creating: set[Path] = set()
"""Names under which this process is about to create a file, or has just created one that is not under way yet."""


@contextmanager
def open_temporary(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a new file in the target's folder, for the caller to fill and to rename to the target. Raises OSError.

    Where there is a file to be replaced, whose permissions it gets by `keep_mode` when it is whole, it is private until
    then: nobody may read it early, and its owner can always remove it. What was not renamed at the end is removed.
    """
    temporary, file = _create(target)
    kept = _keep_open(file)
    try:
        try:
            yield temporary.path, file
        finally:
            temporary.remove()
    finally:
        _under_way.discard(temporary)
        if kept is not None:
            os.close(kept)


def _keep_open(file: BinaryIO) -> int | None:
    """Return a second descriptor: the lock lasts until the file has its name, which is after it is closed.

    On Windows, where no file can be renamed while it is open, there is no such lock, and None.
    """
    return None if sys.platform == "win32" else os.dup(file.fileno())


def keep_mode(file: BinaryIO, target: Path) -> None:
    """Give a file the permissions of the one that it replaces, but for those that run it as its owner.

    A new output keeps its own, and so does any file on a system without ``fchmod``.
    """
    if not hasattr(os, "fchmod"):
        return
    with suppress(FileNotFoundError):
        os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode) & 0o777)


@contextmanager
def temporary_file(folder: Path | None = None, *, suffix: str | None = None, held: int = 0) -> Iterator[Any]:
    """Open a temporary binary file, which has no name unless a ``suffix`` for one is given.

    It lies in ``folder``, or else where the system keeps such files, or up to ``held`` bytes in memory. Raises
    `OutputError` if there is no room for it.
    """
    import tempfile

    try:
        with (
            tempfile.SpooledTemporaryFile(held)
            if held
            else tempfile.TemporaryFile(dir=folder)
            if suffix is None
            else tempfile.NamedTemporaryFile(dir=folder, suffix=suffix)
        ) as file:
            named = None if suffix is None else Path(file.name)
            if named is not None:
                _creating.add(named)
            try:
                yield file
            finally:
                _creating.discard(named)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        place = folder or tempfile.tempdir or "any temporary folder"
        raise OutputError(f"temporary file in {place}: {reason}; TMPDIR names another folder") from error


def remove_temporaries() -> None:
    """Remove what this process is writing: for a process that must end at once, without unwinding."""
    for temporary in tuple(_under_way):
        temporary.remove()
    for path in tuple(_creating):
        _remove_if_left(path)


def _create(target: Path) -> tuple[_Temporary, BinaryIO]:
    """Create and lock a file, under the first name that no other writer has."""
    mode = 0o600 if target.exists() else 0o666
    mark = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]  # a target's own name may use all 255 bytes
    for number in range(PLACES):
        path = target.parent / f".llmprep-{mark}-{number}.tmp"
        _remove_if_left(path)
        try:
            temporary, file = _open_new(path, mode)
        except FileExistsError:
            continue
        if _lock(file.fileno()) is not False and _is_at(file.fileno(), path):
            return temporary, file
        _under_way.discard(temporary)
        file.close()  # another writer took it for a leftover, before it was locked
    return _open_new(target.parent / f".llmprep-{secrets.token_hex(8)}.tmp", mode)


def _open_new(path: Path, mode: int) -> tuple[_Temporary, BinaryIO]:
    """Create a file. At no moment does it exist without `remove_temporaries` knowing of it."""
    _creating.add(path)
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")
        temporary = _Temporary(path, os.fstat(file.fileno()))
        _under_way.add(temporary)
    finally:
        _creating.discard(path)
    return temporary, file


def _remove_if_left(path: Path) -> None:
    """Remove the file of a killed writer: a regular file that nobody has locked, and no link to one."""
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return  # there is none, or it is another user's
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and _lock(descriptor) and _is_at(descriptor, path):
            with suppress(OSError):
                path.unlink()
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock a file without waiting: False if another has it, None where there are no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether a path is still that of an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False
