"""An input -> its bytes: opened once, hashed, decompressed by content, watched for changes."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from llmprep.documents.opening import ByteStream, peek
from llmprep.documents.source import Source, promises_compression
from llmprep.errors import DataError, UsageError

PART_BYTES = 1 << 18
_MAGIC = {
    "gzip": re.compile(rb"\x1f\x8b"),
    # A text may begin with BZh91AY&SY: behind that and a checksum, a block has a byte of at most 6 (its highest place).
    "bzip2": re.compile(rb"BZh(?:[1-9](?:1AY&SY(?:.{4}[\x00-\x06]|.{0,4}\Z)|\x17rE8P\x90|1?A?Y?&?S?\Z)|\Z)", re.DOTALL),
    "xz": re.compile(rb"\xfd7zXZ\x00"),
    "lzma": re.compile(rb"\x5d\x00\x00..(?:\xff{8}|.{5}\x00{3})", re.DOTALL),
    "zstandard": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),  # a frame, or one to be skipped first
}
MAGIC_BYTES = 18
"""So many first bytes tell how a file is compressed, and hold the header of a zstd frame."""
PADDED = {"gzip": 1, "xz": 4}
"""What may be padded with NULs, by how many each time."""
MAX_WINDOW_LOG = 31
"""The largest window of zstd, 2 GiB, which is what ``zstd --long=31`` writes."""
LARGE_WINDOW = 128 << 20
"""Windows beyond this, which zstd itself reads only when asked to, have their memory said."""


def is_compressed(source: Source) -> bool:
    """Tell by its first bytes whether a source is compressed; it is opened and closed for that."""
    return compression(peek(source, MAGIC_BYTES)) is not None


def open_content(stream: ByteStream) -> Callable[[int], bytes]:
    """Return a function that reads up to n bytes of an input's content, decompressed if need be."""
    head = stream.peek(MAGIC_BYTES)
    kind = compression(head)
    if kind is not None:
        return _Decompressed(stream, kind).read
    if head and promises_compression(stream.source.path):
        stream.counts.remark("is not compressed, though its name says so; read as it is")
    return stream.read


def compression(head: bytes) -> str | None:
    """Tell from its first bytes how a file is compressed, if it is."""
    return next((name for name, magic in _MAGIC.items() if magic.match(head)), None)


def zstd_window(head: bytes) -> int:
    """Return how many bytes back a zstd frame may reach, 0 for what has no whole header (RFC 8878, 3.1.1.1)."""
    if len(head) < 6 or not head.startswith(b"\x28\xb5\x2f\xfd"):
        return 0
    told = head[4]
    if not told & 0x20:
        base = 1 << (10 + (head[5] >> 3))
        return base + base // 8 * (head[5] & 7)
    # A single segment: its window is all of its content, whose size stands behind the number of a dictionary.
    begin, n_bytes = 5 + (0, 1, 2, 4)[told & 3], (1, 2, 4, 8)[told >> 6]
    return int.from_bytes(head[begin : begin + n_bytes], "little")


class _Decompressor(Protocol):
    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Decompressed:
    """All members of a compressed stream, in parts of bounded size; an early end and trailing garbage are errors."""

    def __init__(self, stream: ByteStream, kind: str) -> None:
        self._path = stream.source.path
        self._stream = stream
        self._kind = kind
        self._say_window(stream.peek(MAGIC_BYTES))
        self._new = _decompressor(kind)
        self._member: _Decompressor = self._new()
        self._input = b""
        self._ended = False

    def read(self, count: int) -> bytes:
        while True:
            if self._ended or (self._member.eof and not self._next_member()):
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
                raise self._refused(error) from error
            self._input = b""
            if data:
                return data

    def _refused(self, error: Exception) -> DataError:
        """The error for what the decompressor does not take, with its reason."""
        path, words = self._path, str(error)
        if self._kind == "zstandard" and "dictionary" in words.lower():
            return DataError(
                f"{path}: needs the zstd dictionary it was made with: zstd -dc -D DICTIONARY FILE | llmprep ... -"
            )
        if self._kind == "zstandard" and "memory" in words.lower():
            return DataError(f"{path}: needs a window of more than 2 GiB; compress it anew with zstd --long=31 or less")
        return DataError(f"{path}: the {self._kind} data is damaged before byte {self._stream.counts.n_bytes}: {words}")

    def _next_member(self) -> bool:
        rest = self._member.unused_data or self._stream.read(PART_BYTES)
        if self._kind in PADDED:
            rest = self._without_padding(rest)
        if not rest:
            return False
        self._say_window(rest)
        self._member, self._input = self._new(), rest
        return True

    def _say_window(self, head: bytes) -> None:
        """Say what memory a frame takes, if that is much."""
        window = zstd_window(head) if self._kind == "zstandard" else 0
        if LARGE_WINDOW < window <= 1 << MAX_WINDOW_LOG:
            self._stream.counts.remark(
                f"was compressed with a window of {window >> 20} MiB, which takes as much memory"
            )

    def _without_padding(self, data: bytes) -> bytes:
        """Pass over the NULs between members and at the end. What is no whole number of them stays, as damage."""
        n_nuls = 0
        while data and not data.strip(b"\0"):
            n_nuls += len(data)
            data = self._stream.read(PART_BYTES)
        rest = data.lstrip(b"\0")
        n_nuls += len(data) - len(rest)
        if n_nuls % PADDED[self._kind]:
            raise DataError(f"{self._path}: the {self._kind} data is damaged where it ends: {n_nuls} NUL bytes")
        return rest


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
        case "xz" | "lzma":
            import lzma

            return lzma.LZMADecompressor
        case _:
            zstd = _zstd()
            options = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
            return lambda: zstd.ZstdDecompressor(options=options)


def _zstd() -> Any:
    """The standard library's zstd (Python 3.14), else its backport."""
    from importlib import import_module

    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise UsageError("zstandard files need an extra: pip install 'llmprep[zstd]'")
