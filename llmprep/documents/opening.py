"""An input -> its bytes: opened once, hashed, watched for changes."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Callable
from typing import TypeAlias

from llmprep.documents.source import STDIN, Source, input_error
from llmprep.errors import InputError

Run: TypeAlias = Callable[..., None]
"""Calls its first argument with the others: now, or in order in another thread."""
HEAD_BYTES = 4096


def run_now(function: Callable[..., object], *arguments: object) -> None:
    """Run at once, in this thread."""
    function(*arguments)


class ByteStream:
    """The bytes of one input, front to back, with a look ahead that takes nothing.

    Regular files that change while they are read are an error, never a mixture.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        try:
            # Standard input is opened by its number: what nobody has read yet is all there is.
            path: str | int = sys.stdin.fileno() if source.path == STDIN else source.path
            self._file = open(path, "rb", buffering=0, closefd=source.path != STDIN)  # noqa: SIM115
            self._status = os.fstat(self._file.fileno())
        except (OSError, ValueError) as error:
            raise input_error(source.path, error) from error
        self._ahead = b""
        self._digest = hashlib.sha256()
        self.run: Run = run_now
        self.most = sys.maxsize

    def peek(self, count: int = HEAD_BYTES) -> bytes:
        """Return the first ``count`` bytes, fewer only if there are no more; they stay to be read."""
        while len(self._ahead) < count and (data := self._take(count - len(self._ahead))):
            self._ahead += data
        return self._ahead[:count]

    def read(self, count: int) -> bytes:
        """Return up to ``count`` bytes, and no more than ``most``; none only at the end."""
        count = min(count, self.most)
        if self._ahead:
            data, self._ahead = self._ahead[:count], self._ahead[count:]
        else:
            data = self._take(count)
        self._source.n_bytes += len(data)
        if data:
            self.run(self._digest.update, data)
        else:
            self.finish()
        return data

    def seek(self, position: int) -> None:
        """Go to a position of a file that can be sought; what is passed over is not hashed."""
        self._ahead = b""
        self._file.seek(position)

    def _take(self, count: int) -> bytes:
        try:
            data: bytes | None = self._file.read(count)
        except OSError as error:
            raise input_error(self._source.path, error) from error
        if data is None:
            raise InputError(f"{self._source.path}: is in non-blocking mode and has no data; reopen it")
        return data

    def finish(self) -> None:
        """Nothing more will be read: see that the file is what it was, and state the hash."""
        if stat.S_ISREG(self._status.st_mode):
            now = os.fstat(self._file.fileno())
            if (now.st_size, now.st_mtime_ns) != (self._status.st_size, self._status.st_mtime_ns):
                raise InputError(f"{self._source.path}: changed while it was read; run again when it is at rest")
        self.run(self._set_hash)

    def _set_hash(self) -> None:
        self._source.sha256 = self._digest.hexdigest()

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self._source.path != STDIN:
            self._file.close()


def open_source(source: Source) -> ByteStream:
    """Open a source once; later calls give the same stream, so a look at its first bytes loses none."""
    if source.stream is None:
        source.stream = ByteStream(source)
    return source.stream


def close_source(source: Source) -> None:
    """Close a source's file, if it is open; standard input is not ours to close."""
    if source.stream is not None:
        source.stream.close()
        source.stream = None


def peek(source: Source, count: int = HEAD_BYTES) -> bytes:
    """Return the first bytes of a source without taking them; a plain file is closed again."""
    # What is no plain file may give its bytes once only, so it stays open for whoever reads on.
    stays_open = source.stream is not None or source.size is None
    try:
        return open_source(source).peek(count)
    finally:
        if not stays_open:
            close_source(source)
