"""The two kinds of lock on a folder: the system's own, and files, where there is none."""

from __future__ import annotations

import errno
import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from llmprep.errors import OutputError
from llmprep.store.folder import LOCK, LOCK_HELD, LOCK_TASK

SIGNED = b"process "
"""What a lock file begins with, if it is not empty."""
PLANNING = ", which looks at the plan"
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""What a file system says that has no locks, as some of Lustre, FUSE and NFS."""


class NoSystemLocksError(Exception):
    """The file system, or the operating system, has no locks that serve here."""


@dataclass(frozen=True, slots=True)
class SystemLock:
    """The system's own lock on the lock file, which goes with its holder."""

    folder: Path
    file: FileIO

    def take(self, *, shared: bool = False) -> bool:
        """Lock without waiting; False if somebody else has it. Raises `NoSystemLocksError`."""
        self.holder()  # what another program has written is left alone
        try:
            import fcntl
        except ImportError as error:  # the locks of Windows cannot be shared
            raise NoSystemLocksError from error
        try:
            fcntl.flock(self.file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in NO_LOCKS:
                raise NoSystemLocksError from error
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
class FileLocks:
    """Files that are made exclusively: one of whoever has the folder alone, or one of each task.

    Whoever has made one looks for the other kind only then, so of two at the same time at least one sees the other.
    """

    folder: Path
    made: list[Path] = field(default_factory=list)

    def take(self, *, shared: bool = False) -> bool:
        """Make a file; False if somebody else has one of the other kind."""
        mine = self.folder / (f"{LOCK_TASK}{socket.gethostname()}-{os.getpid()}" if shared else LOCK_HELD)
        if not self._make(mine):
            return False
        others = [path for path in self._others() if not shared or path.name == LOCK_HELD]
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
            if has_ended(held):
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
            path.touch(0o666, exist_ok=False)
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


def _signature(doing: str = "") -> str:
    return f"process {os.getpid()} on {socket.gethostname()}{doing}"


def has_ended(holder: str) -> bool:
    """Tell a process of this machine that has ended; of others nothing is known."""
    found = re.match(r"process (\d{1,9}) on (\S+?)(?=,|$| )", holder)
    if os.name != "posix" or found is None or found[2] != socket.gethostname():
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
