"""Bytes -> text, in blocks that end where text may be cut.

A block ends at a *safe cut*: after a letter or digit of `_LETTERS` and before an ASCII space, tab, CR or LF, or an
ideographic comma or full stop. There, encoding the two sides apart gives the ids of encoding them together, for the
r50k, p50k, cl100k and o200k patterns: each of them ends a piece between these two, and none looks behind. A cut never
splits a UTF-8 character, a CRLF, or a special token, as none of these holds such a place.

Text without such a place (minified code, a table of signs) makes its block grow, up to `MAX_UNCUT_BYTES`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Literal, TypeAlias

from llmprep.documents.opening import HEAD_BYTES, ByteStream, Run, close_source, open_content, open_source, run_now
from llmprep.documents.sources import Source
from llmprep.errors import DataError, FileFormatError

Newlines: TypeAlias = Literal["universal", "keep"]

BLOCK_BYTES = 1 << 20
MAX_UNCUT_BYTES = 256 << 20
BOM = b"\xef\xbb\xbf"

_LETTERS = (
    rb"[A-Za-z0-9]",
    rb"\xc3[\x80-\x96\x98-\xb6\xb8-\xbf]|[\xc4\xc5][\x80-\xbf]",  # Latin, U+00C0 to U+017F without the two signs
    rb"\xce[\xb1-\xbf]|\xcf[\x80-\x8e]",  # Greek small letters
    rb"[\xd0\xd1][\x80-\xbf]",  # Cyrillic, U+0400 to U+047F
    rb"\xd7[\x90-\xaa]",  # Hebrew
    rb"\xd8[\xa1-\xba]|\xd9[\x81-\x8a]",  # Arabic, U+0621 to U+064A
    rb"\xe0\xa4[\x95-\xb9]|\xe0\xb8[\x81-\xae]",  # Devanagari and Thai consonants
    rb"\xe3(?:\x81[\x81-\xbf]|\x82[\x80-\x93\xa1-\xbf]|\x83[\x80-\xba])",  # kana
    rb"[\xe5-\xe8][\x80-\xbf]{2}",  # Han, U+5000 to U+8FFF
    rb"\xea[\xb0-\xbf][\x80-\xbf]|[\xeb\xec][\x80-\xbf]{2}",  # Hangul, U+AC00 to U+CFFF
)
"""Letters and digits, in UTF-8, that every version of Unicode that a backend carries knows as such."""

_SAFE_CUT = re.compile(rb"(?:" + rb"|".join(_LETTERS) + rb")(?=[ \t\r\n]|\xe3\x80[\x81\x82]|\xef\xbc\x8c)")
_REACH = 5
"""Bytes before a place that may belong to a safe cut which needs bytes behind it to be seen: 3 + 3 - 1."""

_SIGNATURES = (
    (b"\xff\xfe\x00\x00", "UTF-32 text (little-endian)"),
    (b"\x00\x00\xfe\xff", "UTF-32 text (big-endian)"),
    (b"\xff\xfe", "UTF-16 text (little-endian)"),
    (b"\xfe\xff", "UTF-16 text (big-endian)"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PAR1", "a Parquet file that is not named .parquet"),
    (b"\x1f\x8b", "gzip data inside compressed data"),
    (b"BZh", "bzip2 data inside compressed data"),
    (b"\xfd7zXZ\x00", "xz data inside compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstandard data inside compressed data"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\x00", "an SQLite database"),
)


@dataclass(frozen=True, slots=True)
class Block:
    """Text of one document from one safe cut to a later one, or several small documents joined.

    ``raw`` is the text as it stood in its source, at byte ``offset`` (of the decompressed content); ``data`` is the
    same with newlines normalised and without a byte order mark, valid UTF-8. ``first``: a document begins here.
    ``seams`` counts the end-of-text strings that join the documents of a batch: a batch holds ``seams + 1`` of them.
    ``place`` is where to look, for messages, if that is not a byte offset.
    """

    source: Source
    data: bytes
    raw: bytes
    offset: int
    first: bool = True
    seams: int = 0
    place: str = ""

    @property
    def where(self) -> str:
        """Where the block begins, for messages."""
        return self.place or f"byte {self.offset}"

    @property
    def text(self) -> str:
        """The text as a str."""
        return self.data.decode()


def read_blocks(
    source: Source, newlines: Newlines = "universal", block_bytes: int = BLOCK_BYTES, run: Run = run_now
) -> Iterator[Block]:
    """Yield a source's documents as blocks of text, filling in the source's figures on the way.

    ``universal`` turns CRLF and CR into LF, as ``open(path, newline=None)`` does; ``keep`` leaves them. A byte order
    mark is dropped. ``run`` may do the hashing elsewhere, in order. Raises `DataError` with the byte offset, or the
    record, for what is not UTF-8 text.
    """
    open_source(source).run = run
    try:
        if source.format != "text":
            from llmprep.documents.records import read_records

            yield from read_records(source, newlines, block_bytes)
        else:
            yield from _read_text(source, newlines, block_bytes)
    finally:
        close_source(source)


def _read_text(source: Source, newlines: Newlines, block_bytes: int) -> Iterator[Block]:
    offset = 0
    if source.span is None:
        read = checked_head(source, open_content(source))
    else:
        offset, read = open_span(source, source.span, _snap)
    for raw in cut_blocks(source, read, block_bytes):
        data = raw
        if offset == 0 and raw.startswith(BOM):
            source.bom = True
            data = raw[len(BOM) :]
        n_chars = _check_utf8(source, data, offset + len(raw) - len(data))
        text = normalise(data, newlines)
        source.n_chars += n_chars - (len(data) - len(text))
        source.n_text += len(text)
        if text:
            begins = source.n_documents == 0 and (source.span is None or source.span[0] == 0)
            yield Block(source, text, raw, offset, first=begins)
            source.n_documents = 1
        offset += len(raw)


def open_span(
    source: Source, span: tuple[int, int], snap: Callable[[ByteStream, int, int], int]
) -> tuple[int, Callable[[int], bytes]]:
    """Return where the span begins and a function that reads it to its end.

    ``snap`` moves each of its ends, given the stream, the position and the file's size.
    """
    stream = open_source(source)
    start, end = (snap(stream, position, source.size or 0) for position in span)
    stream.seek(start)
    if start == 0:
        _check_head(source, stream.peek())
    source.begin = start
    left = [end - start]

    def read(count: int) -> bytes:
        if not left[0]:
            stream.finish()
            return b""
        data = stream.read(min(count, left[0]))
        left[0] -= len(data)
        return data

    return start, read


def _snap(stream: ByteStream, position: int, size: int) -> int:
    """Return the first safe cut at or after a position, the end of the file if there is none; 0 stays 0."""
    if position == 0:
        return 0
    at = max(0, position - _REACH)
    while at < size:
        stream.seek(at)
        data = stream.peek(1 << 16)
        for found in _SAFE_CUT.finditer(data):
            if at + found.end() >= position:
                return at + found.end()
        at += max(1, len(data) - _REACH)
    return size


def normalise(data: bytes, newlines: Newlines) -> bytes:
    r"""Return UTF-8 with newlines as chosen.

    >>> normalise(b"a\r\nb\rc\n", "universal")
    b'a\nb\nc\n'
    """
    if newlines == "universal" and b"\r" in data:
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def cut_blocks(source: Source, read: Callable[[int], bytes], block_bytes: int) -> Iterator[bytes]:
    """Yield the bytes read, cut at safe places only. Linear in the bytes, however far apart those are."""
    first = read(block_bytes)
    second = first and read(block_bytes)
    if not second:
        if first:
            yield first  # nothing is gained by a cut
        return
    pending: list[bytes] = []
    held = position = 0
    tail = b""
    for data in chain((first, second), iter(partial(read, block_bytes), b"")):
        cut = held + last_safe_cut(data)
        if cut == held:
            seam = last_safe_cut(tail + data[:_REACH])
            cut = held - len(tail) + seam if seam else 0
        pending.append(data)
        held += len(data)
        if cut:
            joined = b"".join(pending)
            yield joined[:cut]
            position += cut
            pending, held = [joined[cut:]], held - cut
            tail = pending[0][-_REACH:]
            continue
        tail = (tail + data)[-_REACH:]
        if held > MAX_UNCUT_BYTES:
            raise DataError(
                f"{source.path}: {held} bytes from byte {position} on without a letter or digit before "
                f"white space, where text may be cut exactly; break them with a space or a line end after one"
            )
    if held:
        yield b"".join(pending)


def last_safe_cut(data: bytes) -> int:
    r"""Return the last position in ``data`` where text may be cut, 0 if there is none.

    >>> last_safe_cut(b"I HAD always")
    5
    >>> last_safe_cut("\u4e2d\u6587\u3002\u4e2d".encode()), last_safe_cut(b"f(x)\n")
    (6, 0)
    """
    start, step = len(data), 512
    while start:
        behind, start = start, max(0, start - step)
        found = [place.end() for place in _SAFE_CUT.finditer(data, start, behind + _REACH)]
        if found:
            return found[-1]
        step *= 2
    return 0


def _check_utf8(source: Source, data: bytes, offset: int) -> int:
    """Return the number of characters, or raise with the place of the first bad byte."""
    if data.isascii():
        return len(data)
    try:
        return len(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source.path}: not valid UTF-8 at byte {offset + error.start} (0x{data[error.start]:02x}); "
            f"convert it to UTF-8 first, for example with iconv"
        ) from error


def checked_head(source: Source, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Refuse what is plainly not UTF-8 text, and say what it looks like; else return ``read``, nothing taken."""
    head = b""
    while len(head) < HEAD_BYTES and (data := read(HEAD_BYTES - len(head))):
        head += data
    _check_head(source, head)
    kept = io.BytesIO(head)
    return lambda count: kept.read(count) or read(count)


def _check_head(source: Source, head: bytes) -> None:
    if source.path.endswith(".pt") and not head.startswith(b"PK\x03\x04"):
        raise FileFormatError(f"{source.path}: not a .pt file, by its first bytes; rename it if it is a text")
    what = _looks_like(head)
    if what:
        raise DataError(f"{source.path}: looks like {what}, not UTF-8 text; convert it first")


def _looks_like(head: bytes) -> str:
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            return what
    if head[257:262] == b"ustar":
        return "a tar archive"
    nuls = head.count(0)
    return _with_nuls(head) if nuls > 1 and nuls * 20 >= len(head) else ""


def _with_nuls(head: bytes) -> str:
    empty = [head[k::4].count(0) * 4 > 0.7 * len(head) for k in range(4)]
    match empty:
        case [False, True, True, True]:
            return "UTF-32 text (little-endian, without a mark)"
        case [True, True, True, False]:
            return "UTF-32 text (big-endian, without a mark)"
        case [False, True, False, True]:
            return "UTF-16 text (little-endian, without a mark)"
        case [True, False, True, False]:
            return "UTF-16 text (big-endian, without a mark)"
        case _:
            return f"binary data ({head.count(0)} NUL bytes near its start)"
