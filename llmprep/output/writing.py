"""Checked places -> sinks that take bytes.

A file appears under its name complete or not at all: the bytes go to a temporary file in the same
folder, are flushed to the disk, and the name is then moved onto them. A file that holds the same bytes
already is kept, with its time: what make builds from it is not built again. Devices, pipes and
standard output (``-``) are written straight.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from llmprep.errors import OutputError, ReaderGoneError
from llmprep.output.checking import Output, os_reason
from llmprep.output.temporary import keep_mode, open_temporary

SYNC_BYTES = 4 << 20
"""Bytes after which the system is asked to write a growing file to the disk."""
COMPARED_BYTES = 1 << 20
"""Bytes of two files that are compared at once."""


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take all of ``data``."""


@contextmanager
def open_output(output: Output) -> Iterator[Sink]:
    """Open ``output`` for one writer; what was written counts only when the block ends well.

    On any exception, an interrupt included, the temporary file is removed and an existing file stays
    as it was. Raises `OutputError` with the output's name and the operating system's reason, and
    `ReaderGoneError` when a pipe's reader has left.
    """
    with open_outputs(output) as (sink,):
        yield sink


@contextmanager
def open_outputs(*outputs: Output) -> Iterator[list[Sink]]:
    """Open outputs that belong together, as `open_output` does one: no name moves before all are whole on the disk."""
    with ExitStack() as temporaries:
        moves: list[_Move] = []
        with ExitStack() as files:
            yield [files.enter_context(_open(output, temporaries, moves)) for output in outputs]
        moves.reverse()  # the last output was closed first
        for move in moves:
            with _named(move.name):
                move.temporary.replace(move.target)
    for folder in {move.target.parent for move in moves}:
        _sync_folder(folder)


@dataclass(frozen=True, slots=True)
class _Move:
    """What gives an output's file its name. ``name`` is the output's, for messages."""

    temporary: Path
    target: Path
    name: str


def _open(output: Output, temporaries: ExitStack, moves: list[_Move]) -> AbstractContextManager[Sink]:
    """Open one output. A file's temporary one is put on the stack ``temporaries``.

    When it is whole, its renaming is put into ``moves``, if it is to be renamed.
    """
    name, path = output.name, output.path
    if path is None:
        return _standard_output(name)
    with _named(name):
        if output.direct:
            return _closing(path.open("wb"), name)
        temporary, file = temporaries.enter_context(open_temporary(path))
    return _synced(file, _Move(temporary, path, name), moves)


@contextmanager
def _standard_output(name: str) -> Iterator[Sink]:
    with _named(name):
        sys.stdout.flush()
    yield _NamedSink(sys.stdout.buffer, name)
    with _named(name):
        sys.stdout.buffer.flush()


@contextmanager
def _closing(file: BinaryIO, name: str) -> Iterator[Sink]:
    try:
        yield _NamedSink(file, name)
        with _named(name):
            file.flush()
    finally:
        with suppress(OSError):  # after a flush that went well there is nothing left to lose
            file.close()


@contextmanager
def _synced(file: BinaryIO, move: _Move, moves: list[_Move]) -> Iterator[Sink]:
    """Fill a temporary file; when the block ends it lies whole on the disk, and its move in ``moves``.

    Where the target holds the same bytes, there is no move.
    """
    with _closing(file, move.name) as sink:
        yield _EarlySync(sink, file.fileno())
        with _named(move.name):
            file.flush()
            if not _hold_the_same(move.target, move.temporary):
                keep_mode(file, move.target)
                os.fsync(file.fileno())
                moves.append(move)


def _hold_the_same(old: Path, new: Path) -> bool:
    """Tell whether an old file can be read, is no other than the new one, and lies on the disk.

    The last bytes are compared first: the end of a .pt file has check sums of all of it, so two that differ do there.
    """
    try:
        descriptor = os.open(old, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as before, new.open("rb") as now:
            status, n_bytes = os.fstat(descriptor), os.fstat(now.fileno()).st_size
            if not stat.S_ISREG(status.st_mode) or status.st_size != n_bytes:
                return False
            for start in (max(0, n_bytes - COMPARED_BYTES), 0):
                before.seek(start)
                now.seek(start)
                while data := now.read(COMPARED_BYTES):
                    if before.read(COMPARED_BYTES) != data:
                        return False
            with suppress(OSError):  # some systems sync only what is open for writing
                os.fsync(descriptor)
            return True
    except OSError:
        return False  # there is none, or it cannot be read: the new one takes its place


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGoneError(f"{name}: its reader is gone") from error
    except OSError as error:
        raise OutputError(f"{name}: {os_reason(error)}") from error


class _NamedSink:
    """A binary file whose errors name the output; those of whoever writes to it pass unchanged."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name

    def write(self, data: bytes | memoryview, /) -> None:
        with _named(self._name):
            self._file.write(data)


class _EarlySync:
    """Has a large file written to the disk while it grows, so that little is left to wait for at its end."""

    def __init__(self, sink: Sink, descriptor: int) -> None:
        self._sink = sink
        self._descriptor = descriptor
        self._unsynced = 0
        self._thread: threading.Thread | None = None

    def write(self, data: bytes | memoryview, /) -> None:
        self._sink.write(data)
        self._unsynced += len(data)
        if self._unsynced >= SYNC_BYTES and (self._thread is None or not self._thread.is_alive()):
            self._unsynced = 0
            self._thread = threading.Thread(target=self._sync, daemon=True)
            self._thread.start()

    def _sync(self) -> None:
        """Sync what has been written so far; the times of a file, which fdatasync leaves out, can wait for the end."""
        sync = getattr(os, "fdatasync", os.fsync)  # macOS has none
        with suppress(OSError):  # the fsync at the end reports what went wrong
            sync(self._descriptor)


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a power cut, where the system can: Windows opens no folder."""
    with suppress(OSError):  # the file is in place; some folders cannot be opened, some file systems sync none
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
