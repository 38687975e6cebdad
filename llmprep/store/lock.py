"""Who holds a store's folder: one build or merge alone, or several tasks together."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from llmprep.errors import OutputError, RefusedError
from llmprep.store.own import LOCK, RECEIPTS, require_own

SIGNED = b"process "
"""What a lock file begins with, if it is not empty."""
PLANNING = ", which looks at the plan"
PATIENCE = 60.0
"""Seconds that a task waits for another that looks at the plan."""
GRACE = 0.2
"""Seconds that a task waits for a holder to have signed the lock file."""


@dataclass(frozen=True, slots=True)
class Hold:
    """How a folder is held: by a build, or ``shared`` by tasks, of which the first has it ``alone`` till it shares."""

    shared: bool = False
    alone: bool = True
    share: Callable[[], None] = lambda: None

    @property
    def way_out(self) -> str:
        """What to do about a folder that was begun for something else."""
        return "remove the folder to start over" if self.shared else "--restart starts over"


ALONE = Hold()


@contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[Hold]:
    """Hold the store's folder; `RefusedError` names who holds it. Several ``--task`` runs share it.

    Of these, one that nobody else shares it with has it alone until it says that it will share.
    Raises `OutputError` if there is anything in it, under a name of the store's, that is not the store's own.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        require_own(folder)
        (folder / RECEIPTS).mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{error.filename or folder}: {error.strerror}") from error
    with _open_lock(folder / LOCK) as file:
        alone = _acquire(file, folder, shared=shared)
        _sign(file, folder, PLANNING if shared and alone else "")

        def share() -> None:
            if shared and alone:
                _try(file, folder, fcntl.LOCK_SH)
                _sign(file, folder)

        yield Hold(shared, alone, share)


def _acquire(file: FileIO, folder: Path, *, shared: bool) -> bool:
    """Lock the folder's file; return whether nobody shares it."""
    begun = time.monotonic()
    while True:
        if _try(file, folder, fcntl.LOCK_EX):
            return True
        if shared and _try(file, folder, fcntl.LOCK_SH):
            return False
        holder = _signed(file, folder)
        patience = PATIENCE if holder.endswith(PLANNING) else GRACE
        if not shared or time.monotonic() > begun + patience:
            raise RefusedError(f"{folder}: is being built by {holder}; wait for it, or stop it")
        time.sleep(0.02)


def _try(file: FileIO, folder: Path, how: int) -> bool:
    """Lock a file without waiting; False if somebody else has it."""
    _signed(file, folder)
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise OutputError(f"{folder}: cannot be locked: {error.strerror}") from error
    return True


def _signed(file: FileIO, folder: Path) -> str:
    """Return who signed the lock file."""
    file.seek(0)
    held = file.read(256)
    if not held.startswith(SIGNED[: len(held)]):
        raise OutputError(f"{folder / LOCK}: llmprep did not write it; remove it, or name another folder")
    return held.decode("utf-8", "replace").strip() or "another process"


def _sign(file: FileIO, folder: Path, doing: str = "") -> None:
    try:
        file.truncate(0)
        file.seek(0)
        file.write(SIGNED + f"{os.getpid()} on {socket.gethostname()}{doing}\n".encode())
    except OSError as error:
        raise OutputError(f"{folder / LOCK}: {error.strerror}") from error


def _open_lock(path: Path) -> FileIO:
    """Open the lock file, unbuffered, so that closing it cannot fail."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = FileIO(os.open(path, flags, 0o666), "r+")
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OutputError(f"{path}: is no regular file; remove it")
    return file
