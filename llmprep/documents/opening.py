"""A source -> its bytes: opened once, hashed, watched for changes."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from io import FileIO
from typing import TypeAlias

from llmprep.documents.source import STDIN, Counts, OpenFile, Source, input_error
from llmprep.errors import InputError

Read: TypeAlias = Callable[[int], bytes]
"""Returns up to so many bytes of something; none only at its end."""
Run: TypeAlias = Callable[..., None]
"""Calls its first argument with the others: now, or in order in another thread."""
HEAD_BYTES = 4096


def run_now(function: Callable[..., object], *arguments: object) -> None:
    """Run at once, in this thread."""
    function(*arguments)


class ByteStream:
    """The bytes of one source, from front to end, with a look ahead that takes nothing.

    What is read is counted, and hashed by ``run``; ``step`` bounds the bytes that one read returns. A regular file that
    changes while it is read is an `InputError`, never a mixture.
    """

    def __init__(self, counts: Counts, run: Run = run_now, step: int = sys.maxsize) -> None:
        self.counts = counts
        self.source = counts.source
        self._opened = counts.source.pipe or OpenFile(_open(counts.source))
        self._status = os.fstat(self._opened.file.fileno())
        self._run, self._step = run, step
        self._digest = hashlib.sha256()

    def peek(self, count: int = HEAD_BYTES) -> bytes:
        """Return the next ``count`` bytes, fewer only if there are no more; they stay to be read."""
        opened = self._opened
        while len(opened.ahead) < count and (data := self._take(count - len(opened.ahead))):
            opened.ahead += data
        return opened.ahead[:count]

    def read(self, count: int) -> bytes:
        """Return up to ``count`` bytes, and no more than ``step``; none only at the end."""
        count, opened = min(count, self._step), self._opened
        if opened.ahead:
            data, opened.ahead = opened.ahead[:count], opened.ahead[count:]
        else:
            data = self._take(count)
        self.counts.n_bytes += len(data)
        if data:
            self._run(self._digest.update, data)
        else:
            self.finish()
        return data

    def seek(self, position: int) -> None:
        """Go to a position of a regular file; what is passed over is neither counted nor hashed."""
        self._opened.ahead = b""
        self._opened.file.seek(position)

    def finish(self) -> None:
        """Check, at the end, that a file is what it was when it was opened, and state the hash."""
        if stat.S_ISREG(self._status.st_mode):
            now = os.fstat(self._opened.file.fileno())
            if (now.st_size, now.st_mtime_ns) != (self._status.st_size, self._status.st_mtime_ns):
                raise InputError(f"{self.source.path}: changed while it was read; run again when it is at rest")
        self._run(self._state_hash)

    def close(self) -> None:
        """Close the file; standard input stays open."""
        self._opened.file.close()

    def _take(self, count: int) -> bytes:
        try:
            data: bytes | None = self._opened.file.read(count)
        except OSError as error:
            raise input_error(self.source.path, error) from error
        if data is None:
            raise InputError(f"{self.source.path}: is in non-blocking mode and has no data; reopen it")
        return data

    def _state_hash(self) -> None:
        self.counts.sha256 = self._digest.hexdigest()


def read_up_to(count: int, read: Read) -> bytes:
    """Return the next ``count`` bytes that a function reads, fewer only if there are no more."""
    data = b""
    while len(data) < count and (more := read(count - len(data))):
        data += more
    return data


def open_pipe(source: Source) -> Source:
    """Return the source, with its file open if it gives its bytes only once, so that `peek` loses none of them."""
    if source.size is not None or source.pipe is not None:
        return source
    return replace(source, pipe=OpenFile(_open(source)))


def peek(source: Source, count: int = HEAD_BYTES) -> bytes:
    """Return the first bytes of a file, or of a source that `open_pipe` has returned, without taking them."""
    stream = ByteStream(Counts(source))
    try:
        return stream.peek(count)
    finally:
        if source.pipe is None:
            stream.close()


def _open(source: Source) -> FileIO:
    """Open a file unbuffered: what nobody has read yet of standard input is then all there is."""
    try:
        is_stdin = source.path == STDIN
        return FileIO(sys.stdin.fileno() if is_stdin else source.path, closefd=not is_stdin)
    except (OSError, ValueError) as error:
        raise input_error(source.path, error) from error
