"""Temporary files: those beside an output, which become it, and those for what must be read twice.

A killed process leaves one beside its output behind. Each output has few names for them, and a running writer locks
its own: so the next run to the same output knows what nobody writes any more, and removes it. Where the system has no
such locks (``flock``), nothing is known and nothing removed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from llmprep.errors import OutputError

PLACES = 64
"""So many may write to one output at the same time and have what a kill leaves removed; others have a random name."""
_under_way: dict[int, Path] = {}
"""What this process is writing, by a descriptor of each, which tells whether its name is still its own."""
_creating: set[Path] = set()
"""What it is about to write: there may be such a file already, whose descriptor is not known yet."""


@contextmanager
def open_temporary(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a new file in the target's folder, for the caller to fill and to rename to the target. Raises OSError.

    Where there is a file to be replaced, whose permissions it gets by `keep_mode` when it is whole, it is private until
    then: nobody may read it early, and its owner can always remove it. On any exception it is removed.
    """
    path, file = _create(target)
    kept = os.dup(file.fileno())  # the lock lasts until the file has its name, which is after it is closed
    _under_way[kept] = _under_way.pop(file.fileno())
    try:
        yield path, file
    except BaseException:
        _remove(path, kept)
        raise
    finally:
        del _under_way[kept]
        os.close(kept)


def keep_mode(file: BinaryIO, target: Path) -> None:
    """Give a file the permissions of the one that it replaces; bits that lend rights to whoever runs it go."""
    with suppress(FileNotFoundError, AttributeError):  # a new output; a system without such permissions
        os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode) & 0o777)


@contextmanager
def temporary_file(folder: Path | None = None, *, suffix: str | None = None) -> Iterator[Any]:
    """Open a temporary binary file, unnamed unless a ``suffix`` is given for its name.

    `OutputError` says where there is no room for one.
    """
    import tempfile

    try:
        with (
            tempfile.TemporaryFile(dir=folder)
            if suffix is None
            else tempfile.NamedTemporaryFile(dir=folder, suffix=suffix)
        ) as file:
            yield file
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        place = folder or tempfile.tempdir or "any temporary folder"
        raise OutputError(f"temporary file in {place}: {reason}; TMPDIR names another folder") from error


def remove_temporaries() -> None:
    """Remove what this process is writing: for one that must end at once, and cannot unwind."""
    for descriptor, path in tuple(_under_way.items()):
        _remove(path, descriptor)
    for path in tuple(_creating):
        _remove_if_left(path)


def _remove(path: Path, descriptor: int) -> None:
    if _is_at(descriptor, path):
        with suppress(OSError):
            path.unlink()


def _create(target: Path) -> tuple[Path, BinaryIO]:
    """Create and lock the file, under the first name that no other writer has."""
    mode = 0o600 if target.exists() else 0o666
    mark = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]  # a target's own name may use all 255 bytes
    for number in range(PLACES):
        path = target.parent / f".llmprep-{mark}-{number}.tmp"
        _remove_if_left(path)
        try:
            file = _open_new(path, mode)
        except FileExistsError:
            continue
        if _lock(file.fileno()) is not False and _is_at(file.fileno(), path):
            return path, file
        del _under_way[file.fileno()]
        file.close()  # another writer took it for a leftover, before it was locked
    path = target.parent / f".llmprep-{secrets.token_hex(8)}.tmp"
    return path, _open_new(path, mode)


def _open_new(path: Path, mode: int) -> BinaryIO:
    """Create a file and note it as under way: at no moment does it exist without `remove_temporaries` knowing of it."""
    _creating.add(path)
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")
        _under_way[file.fileno()] = path
    finally:
        _creating.discard(path)
    return file


def _remove_if_left(path: Path) -> None:
    """Remove what a killed writer has left: a regular file that nobody has locked."""
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return  # there is none, or it is another user's
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and _lock(descriptor):
            _remove(path, descriptor)
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
    """Tell whether a name is still that of an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except OSError:
        return False
