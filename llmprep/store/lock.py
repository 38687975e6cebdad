"""Who holds a store's folder: one build or merge alone, or several tasks together."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from llmprep.choices import Announce
from llmprep.errors import OutputError, RefusedError
from llmprep.store.folder import LOCK, LOCK_HELD, LOCK_TASK, RECEIPTS, require_own
from llmprep.store.locks import PLANNING, FileLocks, NoSystemLocksError, SystemLock, has_ended

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
    def remedy(self) -> str:
        """What to do about a folder that was begun for something else."""
        return "remove the folder to start over" if self.shared else "--restart starts over"


ALONE = Hold()


@contextmanager
def locked(folder: Path, *, shared: bool = False, announce: Announce | None = None) -> Iterator[Hold]:
    """Hold the store's folder; `RefusedError` names who holds it. Several ``--task`` runs share it.

    Of these, one that nobody else shares it with has it alone until it says that it will share. Where the file system
    has no locks, files are the lock, and that is announced.
    Raises `OutputError` if there is anything in it, under a name of the store's, that is not the store's own.
    """
    _make_folders(folder)
    with _open_lock(folder) as file, ExitStack() as stack:
        lock: SystemLock | FileLocks = SystemLock(folder, file)
        try:
            alone = _acquire(lock, folder, shared=shared)
        except NoSystemLocksError:
            if announce is not None:
                announce(
                    f"{folder}: its file system has no locks; a file {LOCK_HELD} or {LOCK_TASK}... is one while a run "
                    f"lasts"
                )
            lock = stack.enter_context(closing(FileLocks(folder)))
            alone = _acquire(lock, folder, shared=shared)
        lock.sign(PLANNING if shared and alone else "")

        def share() -> None:
            if shared and alone:
                lock.take(shared=True)
                lock.sign()

        yield Hold(shared, alone, share)


def _acquire(lock: SystemLock | FileLocks, folder: Path, *, shared: bool) -> bool:
    """Lock the folder; return whether nobody shares it."""
    begun = time.monotonic()
    while True:
        if lock.take():
            return True
        if shared and lock.take(shared=True):
            return False
        holder, remedy = lock.holder()
        patience = PATIENCE if holder.endswith(PLANNING) and not has_ended(holder) else GRACE
        if not shared or time.monotonic() > begun + patience:
            raise RefusedError(f"{folder}: is being built by {holder}; {remedy}")
        time.sleep(0.02)


# --- what is made in the folder, for all who may write there --------------------------------------


def _make_folders(folder: Path) -> None:
    """Make the folder and that of the receipts, which whoever may write in the one may write in too."""
    receipts = folder / RECEIPTS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        require_own(folder)
        if not receipts.is_dir():
            receipts.mkdir(exist_ok=True)
            with suppress(OSError):  # another task has made it
                receipts.chmod(stat.S_IMODE(receipts.stat().st_mode) | _write_rights(folder))
    except PermissionError as error:
        raise _forbidden(folder, Path(error.filename or folder)) from error
    except OSError as error:
        raise OutputError(f"{error.filename or folder}: {error.strerror}") from error
    if not os.access(receipts, os.W_OK | os.X_OK) and os.access(folder, os.W_OK | os.X_OK):
        raise _forbidden(folder, receipts)


def _open_lock(folder: Path) -> FileIO:
    """Open the lock file, unbuffered, so that closing it cannot fail."""
    path = folder / LOCK
    flags = os.O_RDWR | os.O_CREAT
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # no system has them all
        flags |= getattr(os, name, 0)
    try:
        file = FileIO(os.open(path, flags, 0o666), "r+")
    except PermissionError as error:
        raise _forbidden(folder, path) from error
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        file.close()
        raise OutputError(f"{path}: is not a regular file; remove it")
    if not status.st_size:
        with suppress(OSError, AttributeError):  # another user's, who has let us write; a system without such rights
            os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode) | _write_rights(folder))
    return file


def _write_rights(folder: Path) -> int:
    """Return the rights to write that a folder gives to its group and others, as a mode."""
    return stat.S_IMODE(folder.stat().st_mode) & (stat.S_IWGRP | stat.S_IWOTH)


def _forbidden(folder: Path, path: Path) -> OutputError:
    """Return the error for what another user has made, and this one may not write."""
    folder = folder if folder.is_dir() else folder.parent
    at = folder if not os.access(folder, os.W_OK | os.X_OK) else path
    owner = f"belongs to user {_owner(at)}, and this one" if at.exists() else "this user"
    return OutputError(f"{at}: {owner} may not write there; its owner can allow it: chmod -R g+w {folder}")


def _owner(path: Path) -> str:
    """Return the name of a file's owner, or else the number, which is 0 where files have none."""
    try:
        return path.owner()
    except (KeyError, ImportError, NotImplementedError):
        return str(path.stat().st_uid)
