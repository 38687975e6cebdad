"""Who holds a store's folder: one build or merge alone, or several tasks together."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from llmprep.errors import OutputError, RefusedError
from llmprep.store.own import HELD, LOCK, RECEIPTS, TASK, require_own

SIGNED = b"process "
"""What a lock file begins with, if it is not empty."""
PLANNING = ", which looks at the plan"
PATIENCE = 60.0
"""Seconds that a task waits for another that looks at the plan."""
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""What a file system says that has no locks, as some of Lustre, FUSE and NFS."""
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
def locked(folder: Path, *, shared: bool = False, announce: Callable[[str], None] | None = None) -> Iterator[Hold]:
    """Hold the store's folder; `RefusedError` names who holds it. Several ``--task`` runs share it.

    Of these, one that nobody else shares it with has it alone until it says that it will share. Where the file system
    has no locks, files are the lock, and that is announced.
    Raises `OutputError` if there is anything in it, under a name of the store's, that is not the store's own.
    """
    _make_folders(folder)
    with _open_lock(folder / LOCK) as file, ExitStack() as stack:
        lock: _Flock | _Files = _Flock(folder, file)
        try:
            alone = _acquire(lock, folder, shared=shared)
        except _NoLocksError:
            if announce is not None:
                announce(f"{folder}: its file system has no locks; a file {HELD} or {TASK}... is one while a run lasts")
            lock = stack.enter_context(closing(_Files(folder)))
            alone = _acquire(lock, folder, shared=shared)
        lock.sign(PLANNING if shared and alone else "")

        def share() -> None:
            if shared and alone:
                lock.take(shared=True)
                lock.sign()

        yield Hold(shared, alone, share)


def _make_folders(folder: Path) -> None:
    """Make the folder and that of the receipts, which whoever may write in the one may write in too."""
    receipts = folder / RECEIPTS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        require_own(folder)
        if not receipts.is_dir():
            receipts.mkdir(exist_ok=True)
            with suppress(OSError):  # another task has made it
                receipts.chmod(stat.S_IMODE(receipts.stat().st_mode) | _given(folder))
    except PermissionError as error:
        raise _forbidden(folder, Path(error.filename or folder)) from error
    except OSError as error:
        raise OutputError(f"{error.filename or folder}: {error.strerror}") from error
    if not os.access(receipts, os.W_OK | os.X_OK) and os.access(folder, os.W_OK | os.X_OK):
        raise _forbidden(folder, receipts)


def _given(folder: Path) -> int:
    """The rights to write that a folder gives to its group and others, as a mode."""
    return stat.S_IMODE(folder.stat().st_mode) & (stat.S_IWGRP | stat.S_IWOTH)


def _forbidden(folder: Path, path: Path) -> OutputError:
    """Return the error for what another user has made, and this one may not write."""
    folder = folder if folder.is_dir() else folder.parent
    at = folder if not os.access(folder, os.W_OK | os.X_OK) else path
    owner = f"belongs to user {_owner(at)}, and this one" if at.exists() else "this user"
    return OutputError(f"{at}: {owner} may not write there; its owner can allow it: chmod -R g+w {folder}")


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        return str(path.stat().st_uid)


def _acquire(lock: _Flock | _Files, folder: Path, *, shared: bool) -> bool:
    """Lock the folder; return whether nobody shares it."""
    begun = time.monotonic()
    while True:
        if lock.take():
            return True
        if shared and lock.take(shared=True):
            return False
        holder, way_out = lock.holder()
        patience = PATIENCE if holder.endswith(PLANNING) and not _is_gone(holder) else GRACE
        if not shared or time.monotonic() > begun + patience:
            raise RefusedError(f"{folder}: is being built by {holder}; {way_out}")
        time.sleep(0.02)


def _signature(doing: str = "") -> str:
    return f"process {os.getpid()} on {socket.gethostname()}{doing}"


def _is_gone(holder: str) -> bool:
    """Tell a process of this machine that is no more; of others nothing is known."""
    found = re.match(r"process (\d{1,9}) on (\S+?)(?=,|$| )", holder)
    if found is None or found[2] != socket.gethostname():
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


class _NoLocksError(Exception):
    """The file system has no locks of its own."""


@dataclass(frozen=True, slots=True)
class _Flock:
    """The system's own lock on the lock file, which goes with its holder."""

    folder: Path
    file: FileIO

    def take(self, *, shared: bool = False) -> bool:
        """Lock without waiting; False if somebody else has it."""
        self.holder()  # what another program has written is left alone
        try:
            fcntl.flock(self.file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in NO_LOCKS:
                raise _NoLocksError from error
            raise OutputError(f"{self.folder}: cannot be locked: {error.strerror}") from error
        return True

    def holder(self) -> tuple[str, str]:
        """Return who signed the lock file, and what to do about that."""
        self.file.seek(0)
        held = self.file.read(256)
        if not held.startswith(SIGNED[: len(held)]):
            raise OutputError(f"{self.folder / LOCK}: llmprep did not write it; remove it, or name another folder")
        return held.decode("utf-8", "replace").strip() or "another process", "wait for it, or stop it"

    def sign(self, doing: str = "") -> None:
        """Write who has the lock."""
        try:
            self.file.truncate(0)
            self.file.seek(0)
            self.file.write(f"{_signature(doing)}\n".encode())
        except OSError as error:
            raise OutputError(f"{self.folder / LOCK}: {error.strerror}") from error


@dataclass(slots=True)
class _Files:
    """Files that are made exclusively: one of whoever has the folder alone, or one of each task.

    Whoever has made one looks for the other kind only then, so of two at the same time at least one sees the other.
    """

    folder: Path
    made: list[Path] = field(default_factory=list)

    def take(self, *, shared: bool = False) -> bool:
        """Make a file; False if somebody else has one of the other kind."""
        mine = self.folder / (f"{TASK}{socket.gethostname()}-{os.getpid()}" if shared else HELD)
        if not self._make(mine):
            return False
        others = [path for path in self._others() if not shared or path.name == HELD]
        if others:
            self._remove(mine)
            return False
        for path in self.made[:-1]:
            self._remove(path)
        return True

    def holder(self) -> tuple[str, str]:
        """Return who has made a file, and what to do about that."""
        for path in self._others():
            try:
                held = path.read_text("utf-8", "replace")[:256].strip()
            except OSError:
                continue
            if _is_gone(held):
                return held, f"that has ended: remove {path}"
            return held or "another process", f"wait for it, or stop it; if it was killed, remove {path}"
        return "another process", "run again"

    def sign(self, doing: str = "") -> None:
        """Write what the holder does."""
        self._write(self.made[-1], doing)

    def close(self) -> None:
        """Remove what was made."""
        for path in [*self.made]:
            self._remove(path)

    def _others(self) -> list[Path]:
        return [path for path in sorted(self.folder.glob(f"{LOCK}-*")) if path not in self.made]

    def _make(self, path: Path) -> bool:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            return False
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror}") from error
        self.made.append(path)
        self._write(path)
        return True

    def _write(self, path: Path, doing: str = "") -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        try:
            path.write_text(f"{_signature(f', since {now}{doing}')}\n", "utf-8")
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror}") from error

    def _remove(self, path: Path) -> None:
        self.made.remove(path)
        with suppress(OSError):  # it is named to whoever comes next
            path.unlink(missing_ok=True)


def _open_lock(path: Path) -> FileIO:
    """Open the lock file, unbuffered, so that closing it cannot fail."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = FileIO(os.open(path, flags, 0o666), "r+")
    except PermissionError as error:
        raise _forbidden(path.parent, path) from error
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        file.close()
        raise OutputError(f"{path}: is no regular file; remove it")
    if not status.st_size:
        with suppress(OSError):  # another user's, who has let us write
            os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode) | _given(path.parent))
    return file
