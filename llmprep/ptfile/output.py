"""Where bytes go, whole or nothing.

A file appears under its name complete or not at all: the bytes go to a temporary file in the same
folder, are flushed to the disk, and the name is then moved onto them. Devices, pipes and standard
output (``-``) are written straight.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from llmprep.errors import OutputError, ReaderGoneError, RefusedError, UsageError
from llmprep.ptfile.temporary import keep_mode, open_temporary
from llmprep.ptfile.writing import Sink

SYNC_BYTES = 16 << 20
ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Output:
    """A checked place to write to. ``path`` is None for standard output."""

    name: str
    path: Path | None
    direct: bool


def check_output(name: str, inputs: Sequence[str | Path] = (), *, force: bool = False) -> Output:
    """Check, before any work, that ``name`` can be written and that nothing would be lost.

    What is no regular file, such as the pipe behind ``/dev/fd/63``, is opened under the very name that is given.
    Raises `UsageError` if it is a folder, a terminal or one of ``inputs`` (also through links),
    `RefusedError` if it is a file that is not a .pt, or read-only, and ``force`` is not given, `OutputError` if its
    folder is missing or read-only.
    """
    if name == "-":
        return _check_stdout()
    require_file_name(name)
    try:
        path = Path(os.path.realpath(name, strict=False))
        status = _status(Path(name))
        # Of what /dev/fd/N leads to there may be no name any more. Another writer that replaces it leaves always one.
        has_name = status is None or status.st_nlink > 0 or _status(path) is not None
    except (OSError, ValueError) as error:
        raise OutputError(f"{name}: {_reason(error)}") from error
    if status is not None:
        _check_existing(name, status, inputs)
        if not (stat.S_ISREG(status.st_mode) and has_name):
            return Output(name, Path(name), direct=True)
        if not force:
            _refuse_to_replace(name, path, status)
    _check_folder(name, path)
    return Output(name, path, direct=False)


def require_file_name(name: str) -> None:
    """Raise `UsageError` for a name that only a folder can have; a Path would drop the slash at its end."""
    if name and name.rpartition("/")[2] in ("", ".", ".."):
        raise UsageError(f"{name}: is the name of a folder, and this writes a file; name a file in it")


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _check_stdout() -> Output:
    if sys.stdout is None:
        raise OutputError("standard output is closed; nothing can be written to it")
    if sys.stdout.isatty():
        raise UsageError("-o -: a .pt file is binary and standard output is a terminal; redirect it")
    return Output("-", None, direct=True)


def _check_existing(name: str, status: os.stat_result, inputs: Sequence[str | Path]) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{name}: is a folder; name a file in it")
    if stat.S_ISCHR(status.st_mode):
        _refuse_terminal(name)
        return
    for other in inputs:
        with suppress(OSError, ValueError):
            if os.path.samestat(status, Path(other).stat()):
                raise UsageError(f"{name}: is also an input; name another output")


def _refuse_terminal(name: str) -> None:
    with suppress(OSError):  # opening it for writing tells what is wrong with it
        descriptor = os.open(name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            if os.isatty(descriptor):
                raise UsageError(f"{name}: a .pt file is binary and this is a terminal; name a file")
        finally:
            os.close(descriptor)


def _refuse_to_replace(name: str, path: Path, status: os.stat_result) -> None:
    """Refuse what is no .pt file, and what is read-only; root, to whom no bit applies, heeds that there are none."""
    if not _is_ours(name, path):
        raise RefusedError(f"{name}: exists and is not a .pt file; --force replaces it")
    if not status.st_mode & 0o222 or not os.access(path, os.W_OK):
        raise RefusedError(f"{name}: exists and is read-only; --force replaces it")


def _is_ours(name: str, path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == ZIP_MAGIC
    except OSError as error:
        raise OutputError(f"{name}: {_reason(error)}") from error


def _check_folder(name: str, path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"{name}: there is no folder {folder.name or folder}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{name}: its folder is not writable")
    if len(os.fsencode(path.name)) > 255:
        raise OutputError(f"{name}: {os.strerror(errno.ENAMETOOLONG)}")


def check_space(output: Output, need: int) -> None:
    """Raise `OutputError` at once if ``need`` bytes cannot fit where ``output`` goes."""
    if output.path is None or output.direct:
        return
    free = shutil.disk_usage(output.path.parent).free
    if need > free:
        raise OutputError(f"{output.name}: needs {need / 1e9:.1f} GB, its disk has {free / 1e9:.1f} GB free")


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
        raise OutputError(f"{name}: {_reason(error)}") from error


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


def _reason(error: OSError | ValueError) -> str:
    """The operating system's words, and what to do where we know it."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOSPC:
        return "no space left on the device; the old file, if any, is intact"
    if number == errno.EFBIG:
        return "the file-size limit is reached (see ulimit -f); the old file, if any, is intact"
    if "embedded null" in str(error):  # each Python has other words for it
        return "no name holds a NUL character"
    return os.strerror(number) if number else str(error)
