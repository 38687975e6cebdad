"""Bytes -> text, in blocks that end where text may be cut.

A block ends at a *safe cut*: after a letter or digit of `_LETTERS` and before an ASCII space, tab, CR or LF, or an
ideographic comma or full stop. There, encoding the two sides apart gives the ids of encoding them together, for the
r50k, p50k, cl100k and o200k patterns: each of them ends a piece between these two, and none looks behind. A cut never
splits a UTF-8 character, a CRLF, or a special token, as none of these holds such a place.

Text without such a place for a long stretch (compact JSON, minified code) is cut at a *second cut* instead: after an
ASCII letter or digit and before ASCII punctuation. It is as exact; where the shards of a store begin and end does not
depend on it. Text with neither (a run of signs, or of letters) makes its block grow, up to `MAX_UNCUT_BYTES`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Literal, TypeAlias

from llmprep.documents.opening import (
    HEAD_BYTES,
    ByteStream,
    Run,
    close_source,
    compression,
    open_content,
    open_source,
    run_now,
)
from llmprep.documents.sources import BOM, POINTER_BYTES, Source, refuse_pointer
from llmprep.errors import DataError, FileFormatError, InputError

Newlines: TypeAlias = Literal["universal", "keep"]

BLOCK_BYTES = 1 << 20
UNCUT_BYTES = 1 << 20
"""From here on text without a safe cut is cut at a second cut."""
MAX_UNCUT_BYTES = 64 << 20
"""The longest text that is encoded in one piece: that takes up to 51 bytes of memory a byte, measured with tiktoken."""
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
SECOND_CUT = re.compile(rb"[A-Za-z0-9](?=[!-&(-/:-@\[-^`{}~])")
"""All ASCII punctuation but the apostrophe (a contraction goes on with it), and ``|`` and ``_``, which stand behind
letters in special tokens."""
LOOK_BYTES = 1 << 16
_REACH = 5
"""Bytes before a place that may belong to a safe cut which needs bytes behind it to be seen: 3 + 3 - 1."""

_UNPACK = "unpack it first: {} | llmprep ... -"
_CONVERT = "convert it first"
_SIGNATURES = tuple(
    (re.compile(pattern, re.DOTALL), what, advice)
    for pattern, what, advice in (
        (rb"\xff\xfe\x00\x00", "UTF-32 text (little-endian)", _CONVERT),
        (rb"\x00\x00\xfe\xff", "UTF-32 text (big-endian)", _CONVERT),
        (rb"\xff\xfe", "UTF-16 text (little-endian)", _CONVERT),
        (rb"\xfe\xff", "UTF-16 text (big-endian)", _CONVERT),
        (rb"\x89PNG\r\n", "a PNG image", _CONVERT),
        (rb"\xff\xd8\xff", "a JPEG image", _CONVERT),
        (rb"GIF8[79]a.{0,64}\x00", "a GIF image", _CONVERT),
        (
            rb"%PDF-[12]\.\d[ \t]*[\r\n]+(?:%[\x80-\xff]{4}|(?:%[^\r\n]*[\r\n]+)*\d+ \d+ obj)",
            "a PDF document",
            _CONVERT,
        ),
        (
            rb"PK\x03\x04.{26}[^/]{1,120}/(?:data\.pkl|data/0|\.data|byteorder)",
            "a .pt file",
            "give one alone, or all the texts that they were made from",
        ),
        (rb"PK\x03\x04", "a zip archive", _UNPACK.format("unzip -p FILE")),
        (rb"PAR1.{0,64}[\x00-\x08\x0e-\x1f]", "a Parquet file", "give it a name that ends in .parquet"),
        (rb"\x1f\x9d", "data of compress (.Z)", _UNPACK.format("gzip -dc FILE")),
        (rb"\x04\x22\x4d\x18", "lz4 data", _UNPACK.format("lz4 -dc FILE")),
        (rb"LZIP\x01", "lzip data", _UNPACK.format("lzip -dc FILE")),
        (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK.format("7z x -so FILE")),
        (rb"Rar!\x1a\x07", "a RAR archive", _UNPACK.format("unrar p -inul FILE")),
        (rb"\x7fELF", "a program", _CONVERT),
        (rb"SQLite format 3\x00", "an SQLite database", _CONVERT),
        (rb".{257}ustar(?:\x00|  \x00)", "a tar archive", _UNPACK.format("tar -xOf FILE")),
    )
)
"""What is no text, by its first bytes: those that a text might begin with too are asked for more than these."""

_RECORD = re.compile(rb'\s*\{\s*"(?:[^"\\]|\\.)*"\s*:')
"""The first bytes of a JSON object."""


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
        offset, read = open_span(source, find_safe_cut)
    for raw in cut_blocks(source, read, block_bytes, offset):
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


FindCut: TypeAlias = Callable[[bytes, int], "int | None"]
"""Finds the first place at or after a position of some bytes where a span may begin and end."""


def open_span(source: Source, find: FindCut) -> tuple[int, Callable[[int], bytes]]:
    """Return where a source's span begins and a function that reads it to its end.

    Each end of a span means the first cut at or after it, or the end of the file. The begin is looked for no further
    than to the span's end: where no cut lies between them, all of its text belongs to a span before, and this one is
    empty. The end is found while reading on. So at most two spans look at a byte, however far apart cuts are.
    """
    stream = open_source(source)
    start, end = source.span or (0, 0)
    begin = _find_begin(stream, start, end, find)
    stream.seek(begin)
    if begin == 0:
        _check_head(source, stream.peek())
    source.begin = begin
    last = begin if begin == end else None
    return begin, _SpanReader(source, stream, begin, end, find, max(begin, end - _REACH), last).read


def _find_begin(stream: ByteStream, start: int, end: int, find: FindCut) -> int:
    """Return the first cut from ``start`` on, ``end`` if there is none before that; 0 stays 0."""
    if start == 0:
        return 0
    at = max(0, start - _REACH)
    while at < end:
        stream.seek(at)
        data = stream.peek(LOOK_BYTES)
        found = find(data, max(0, start - at))
        if found is not None:
            return min(at + found, end)
        if len(data) < LOOK_BYTES:
            break
        at += LOOK_BYTES - _REACH
    return end


@dataclass(slots=True)
class _SpanReader:
    """Reads from ``position`` to the first cut at or after ``end``; the file's last span ends with the file.

    Up to ``clear`` there is no such cut; ``last`` is where the span really ends, once that is known.
    """

    source: Source
    stream: ByteStream
    position: int
    end: int
    find: FindCut
    clear: int
    last: int | None = None

    def read(self, count: int) -> bytes:
        """Return up to ``count`` bytes; none only at the end of the span."""
        if self.last is None and self.position >= self.clear:
            self._look(max(count, LOOK_BYTES) + _REACH)
        count = min(count, (self.clear if self.last is None else self.last) - self.position)
        data = self.stream.read(count) if count else b""
        if not data:
            self._finish()
        self.position += len(data)
        return data

    def _look(self, count: int) -> None:
        """Look for the end in the next ``count`` bytes."""
        data = self.stream.peek(count)
        is_last = self.end >= (self.source.size or 0)
        found = None if is_last else self.find(data, max(0, self.end - self.position))
        self.clear = self.position + len(data) - _REACH
        if found is not None:
            self.last = self.position + found
        elif len(data) < count:
            self.last = self.position + len(data)

    def _finish(self) -> None:
        self.stream.finish()
        if self.position < min(self.end, self.source.size or 0):
            raise InputError(f"{self.source.path}: has {self.position} bytes, and said that it has {self.source.size}")


def find_safe_cut(data: bytes, after: int) -> int | None:
    """Return the first safe cut at or after a position: where the spans of a text begin and end."""
    found = next((place for place in _SAFE_CUT.finditer(data) if place.end() >= after), None)
    return found and found.end()


def normalise(data: bytes, newlines: Newlines) -> bytes:
    r"""Return UTF-8 with newlines as chosen.

    >>> normalise(b"a\r\nb\rc\n", "universal")
    b'a\nb\nc\n'
    """
    if newlines == "universal" and b"\r" in data:
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def cut_blocks(source: Source, read: Callable[[int], bytes], block_bytes: int, begin: int = 0) -> Iterator[bytes]:
    """Yield the bytes read, cut at safe places only. Linear in the bytes, however far apart those are.

    ``begin`` is where they begin in the source, for messages.
    """
    first = read(block_bytes)
    second = first and read(block_bytes)
    if not second:
        if first:
            yield first  # nothing is gained by a cut
        return
    pending: list[bytes] = []
    held, position = 0, begin
    tail = b""
    for data in chain((first, second), iter(partial(read, block_bytes), b"")):
        place = _last_cut(tail, data, _SAFE_CUT)
        if place is None and held + len(data) >= UNCUT_BYTES:
            place = _last_cut(tail, data, SECOND_CUT)
        pending.append(data)
        held += len(data)
        if place is not None:
            cut = held - len(data) + place
            joined = b"".join(pending)
            yield joined[:cut]
            position += cut
            pending, held = [joined[cut:]], held - cut
            tail = pending[0][-_REACH:]
            continue
        tail = (tail + data)[-_REACH:]
        if held > MAX_UNCUT_BYTES:
            raise DataError(
                f"{source.path}: {held} bytes from byte {position} on without a letter or digit before white space or "
                f"punctuation, where text may be cut exactly; break them with a space or a line end after one"
            )
    if held:
        yield b"".join(pending)


def _last_cut(before: bytes, data: bytes, cut: re.Pattern[bytes]) -> int | None:
    """Return the last cut in ``data``, or across the seam to the bytes before it, as a position in ``data``."""
    found = last_safe_cut(data, cut)
    if found:
        return found
    seam = last_safe_cut(before + data[:_REACH], cut)
    return seam - len(before) if seam else None


def last_safe_cut(data: bytes, cut: re.Pattern[bytes] = _SAFE_CUT) -> int:
    r"""Return the last position in ``data`` where text may be cut, 0 if there is none.

    >>> last_safe_cut(b"I HAD always")
    5
    >>> last_safe_cut("\u4e2d\u6587\u3002\u4e2d".encode()), last_safe_cut(b"f(x)\n")
    (6, 0)
    """
    start, step = len(data), 512
    while start:
        behind, start = start, max(0, start - step)
        found = [place.end() for place in cut.finditer(data, start, behind + _REACH)]
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
    if len(head) < POINTER_BYTES:
        refuse_pointer(source.path, head)  # one that comes through a pipe, or was packed
    what, advice = _looks_like(head)
    if what:
        raise DataError(f"{source.path}: looks like {what}, not UTF-8 text; {advice}")
    if source.format == "text" and _begins_with_record(head):
        source.remark("begins with a JSON object and is read as plain text; --field NAME reads its records")


def _looks_like(head: bytes) -> tuple[str, str]:
    """Return what the first bytes are of, and what to do with it; nothing of a text."""
    for signature, what, advice in _SIGNATURES:
        if signature.match(head):
            return what, advice
    packed = compression(head)
    if packed is not None:
        return f"{packed} data inside compressed data", _CONVERT
    nuls = head.count(0)
    return (_with_nuls(head) if nuls > 1 and nuls * 20 >= len(head) else ""), _CONVERT


def _begins_with_record(head: bytes) -> bool:
    """Tell whether the first line is a JSON object; of a line longer than the head, whether it begins like one."""
    line, end, _ = head.removeprefix(BOM).partition(b"\n")
    if not _RECORD.match(line):
        return False
    return line.rstrip().endswith(b"}") if end or len(head) < HEAD_BYTES else True


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
