"""An input -> its bytes: opened once, hashed, decompressed by content, watched for changes."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import zlib
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from llmprep.documents.sources import STDIN, Source, input_error
from llmprep.errors import DataError, InputError, UsageError

Run: TypeAlias = Callable[..., None]
"""Calls its first argument with the others: now, or in order in another thread."""

HEAD_BYTES = 4096
PART_BYTES = 1 << 18

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}


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


def is_compressed(source: Source) -> bool:
    """Tell by its first bytes whether a source is compressed; it is opened and closed for that."""
    head = peek(source, 8)
    close_source(source)
    return any(head.startswith(magic) for magic in _MAGIC)


def open_content(source: Source) -> Callable[[int], bytes]:
    """Return a function that reads up to n bytes of a source's content: what it holds, decompressed if need be."""
    stream = open_source(source)
    kind = compression(stream.peek(8))
    return stream.read if kind is None else _Decompressed(source, stream, kind).read


def compression(head: bytes) -> str | None:
    """Tell from its first bytes how a file is compressed, if it is."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


class _Decompressor(Protocol):
    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Decompressed:
    """All members of a compressed stream, in parts of bounded size; an early end and trailing garbage are errors."""

    def __init__(self, source: Source, stream: ByteStream, kind: str) -> None:
        self._source = source
        self._stream = stream
        self._kind = kind
        self._new = _decompressor(kind)
        self._member: _Decompressor = self._new()
        self._input = b""

    def read(self, count: int) -> bytes:
        while True:
            if self._member.eof and not self._next_member():
                return b""
            if self._member.needs_input and not self._input:
                self._input = self._stream.read(PART_BYTES)
                if not self._input:
                    raise DataError(f"{self._source.path}: the {self._kind} data is cut short")
            try:
                data = self._member.decompress(self._input, count)
            except MemoryError:
                raise
            except Exception as error:
                raise DataError(
                    f"{self._source.path}: the {self._kind} data is damaged before byte {self._source.n_bytes}: {error}"
                ) from error
            self._input = b""
            if data:
                return data

    def _next_member(self) -> bool:
        rest = self._member.unused_data or self._stream.read(PART_BYTES)
        while rest and self._kind == "gzip" and not rest.strip(b"\0"):  # gzip files may be padded with NULs
            rest = self._stream.read(PART_BYTES)
        if not rest:
            return False
        self._member, self._input = self._new(), rest
        return True


class _Gzip:
    """zlib's decompressor with the interface that those of bz2, lzma and zstd share."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max(0, max_length))


def _decompressor(kind: str) -> Callable[[], Any]:
    """Return what makes a decompressor; the modules are imported when first needed."""
    match kind:
        case "gzip":
            return _Gzip
        case "bzip2":
            import bz2

            return bz2.BZ2Decompressor
        case "xz":
            import lzma

            return lzma.LZMADecompressor
        case _:
            made: Callable[[], Any] = _zstd().ZstdDecompressor
            return made


def _zstd() -> Any:
    """The standard library's zstd (Python 3.14), else its backport."""
    from importlib import import_module

    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise UsageError("zstandard files need an extra: pip install 'llmprep[zstd]'")
