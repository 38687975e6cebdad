"""The bytes of an input -> its content: gzip, bzip2, xz, lzma and zstandard, known by first bytes and not by name.

All members of a compressed file are read, in parts of bounded size; an early end, damage and garbage after the last
member are errors.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Protocol

from llmprep.documents import zstandard
from llmprep.documents.endings import promises_compression
from llmprep.documents.opening import ByteStream, Read
from llmprep.documents.recognising import MAGIC_BYTES, compression
from llmprep.errors import DataError

PART_BYTES = 1 << 18
_PADDING = {"gzip": 1, "xz": 4}
"""What may be padded with NULs, by how many at a time."""


def open_content(stream: ByteStream) -> Read:
    """Return a function that reads up to n bytes of an input's content, decompressed if it is compressed.

    That function raises `DataError` for damage, `UsageError` where zstandard is not installed.
    """
    head = stream.peek(MAGIC_BYTES)
    kind = compression(head)
    if kind is not None:
        return _Decompressed(stream, kind).read
    if head and promises_compression(stream.source.path):
        stream.counts.remark("is not compressed, though its name says so; read as it is")
    return stream.read


class _Decompressor(Protocol):
    """What the decompressors of bz2, lzma and zstd share."""

    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Decompressed:
    """The content of all members of a compressed stream."""

    def __init__(self, stream: ByteStream, kind: str) -> None:
        self._path = stream.source.path
        self._stream = stream
        self._kind = kind
        self._remark_on_window(stream.peek(MAGIC_BYTES))
        self._new_member = _decompressor(kind)
        self._member: _Decompressor = self._new_member()
        self._input = b""
        self._ended = False

    def read(self, count: int) -> bytes:
        """Return up to ``count`` bytes of content; none only at the end."""
        while True:
            if self._ended or (self._member.eof and not self._begin_member()):
                self._ended = True
                return b""
            if self._member.needs_input and not self._input:
                self._input = self._stream.read(PART_BYTES)
                if not self._input:
                    raise DataError(f"{self._path}: the {self._kind} data is cut short; get the whole file")
            try:
                data = self._member.decompress(self._input, count)
            except MemoryError:
                raise
            except Exception as error:
                raise self._damage(str(error)) from error
            self._input = b""
            if data:
                return data

    def _damage(self, reason: str) -> DataError:
        """Return the error for what the decompressor refuses."""
        needs = zstandard.what_it_needs(reason) if self._kind == "zstandard" else ""
        place = f"before byte {self._stream.counts.n_bytes}"
        return DataError(f"{self._path}: {needs or f'the {self._kind} data is damaged {place}: {reason}'}")

    def _begin_member(self) -> bool:
        """Go to the next member; tell whether there is one."""
        rest = self._member.unused_data or self._stream.read(PART_BYTES)
        if self._kind in _PADDING:
            rest = self._without_padding(rest)
        if not rest:
            return False
        self._remark_on_window(rest)
        self._member, self._input = self._new_member(), rest
        return True

    def _without_padding(self, data: bytes) -> bytes:
        """Return what comes after the NULs between members or at the end. Padding of another length is damage."""
        n_nuls = 0
        while data and not data.strip(b"\0"):
            n_nuls += len(data)
            data = self._stream.read(PART_BYTES)
        rest = data.lstrip(b"\0")
        n_nuls += len(data) - len(rest)
        if n_nuls % _PADDING[self._kind]:
            raise DataError(f"{self._path}: the {self._kind} data is damaged where it ends: {n_nuls} NUL bytes")
        return rest

    def _remark_on_window(self, head: bytes) -> None:
        """Say how much memory a member takes, if that is much."""
        window = zstandard.window_bytes(head) if self._kind == "zstandard" else 0
        if zstandard.LARGE_WINDOW < window <= 1 << zstandard.MAX_WINDOW_LOG:
            self._stream.counts.remark(
                f"was compressed with a window of {window >> 20} MiB, which takes as much memory"
            )


class _Gzip:
    """zlib's decompressor with the interface that the others share."""

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
    """Return what makes a decompressor for one member; the modules are imported when first needed."""
    match kind:
        case "gzip":
            return _Gzip
        case "bzip2":
            import bz2

            return bz2.BZ2Decompressor
        case "xz" | "lzma":
            import lzma

            return lzma.LZMADecompressor
        case _:
            return zstandard.decompressor()
