"""Where bytes go, whole or nothing.

A file appears under its name complete or not at all: the bytes go to a temporary file in the same
folder, are flushed to the disk, and the name is then moved onto them. Devices, pipes and standard
output (``-``) are written straight.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from llmprep.errors import OutputError, ReaderGoneError
from llmprep.output.checking import Output, os_reason
from llmprep.output.temporary import keep_mode, open_temporary

SYNC_BYTES = 16 << 20


class _NamedSink:
    """A binary file whose errors name the output; errors of the caller's own pass by."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name

    def write(self, data: bytes | memoryview, /) -> None:
        with _named(self._name):
            self._file.write(data)


class _EarlySync:
    """Has the system write a large file out while it grows, so that little is left to wait for at its end."""

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
        with suppress(OSError):  # the fsync at the end reports what went wrong
            os.fdatasync(self._descriptor)


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
        moves: list[tuple[Path, Path, str]] = []
        with ExitStack() as files:
            sinks: list[Sink] = []
            for output in outputs:
                if output.path is None:
                    sinks.append(files.enter_context(_standard_output(output.name)))
                    continue
                with _named(output.name):
                    if output.direct:
                        opened = _closing(output.path.open("wb"), output.name)
                    else:
                        temporary, file = temporaries.enter_context(open_temporary(output.path))
                        moves.append((temporary, output.path, output.name))
                        opened = _synced(file, output.path, output.name)
                sinks.append(files.enter_context(opened))
            yield sinks
        for temporary, path, name in moves:
            with _named(name):
                temporary.replace(path)
    for folder in {path.parent for _, path, _ in moves}:
        _sync_folder(folder)


@contextmanager
def _standard_output(name: str) -> Iterator[Sink]:
    with _named(name):
        sys.stdout.flush()
    yield _NamedSink(sys.stdout.buffer, name)
    with _named(name):
        sys.stdout.buffer.flush()


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGoneError(f"{name}: its reader is gone") from error
    except OSError as error:
        raise OutputError(f"{name}: {os_reason(error)}") from error


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
def _synced(file: BinaryIO, path: Path, name: str) -> Iterator[Sink]:
    """Fill the temporary file of ``path``; when the block ends it lies whole on the disk."""
    with _closing(file, name) as sink:
        yield _EarlySync(sink, file.fileno())
        with _named(name):
            file.flush()
            keep_mode(file, path)
            os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # the file is in place; some folders cannot be opened, some file systems sync none
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take all of ``data``."""
