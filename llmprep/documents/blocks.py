"""Bytes -> text, in blocks that end where text may be cut.

A block ends at a *safe cut*: after a letter or digit of `_LETTERS` and before an ASCII space, tab, CR or LF, or an
ideographic comma or full stop. There, encoding the two sides apart gives the ids of encoding them together, for the
r50k, p50k, cl100k and o200k patterns: each of them ends a piece between these two, and none depends on what came
before it. A cut never splits a UTF-8 character, a CRLF, or a special token, as none of these holds such a place.

Text without such a place for a long stretch (compact JSON, minified code, hexadecimal digits) is cut at a *second cut*
instead: after an ASCII letter or digit and before ASCII punctuation, or between a letter and a digit, both of ASCII. It
is as exact; where the shards of a store begin and end does not depend on it. Text with neither (a run of signs, or of
letters) makes its block grow, up to `MAX_UNCUT_BYTES`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from llmprep.choices import Newlines
from llmprep.documents.opening import Read
from llmprep.documents.source import Counts
from llmprep.errors import DataError

UNCUT_BYTES = 1 << 20
"""From here on text without a safe cut is cut at a second cut."""
MAX_UNCUT_BYTES = 12 << 20
"""The longest text that is encoded in one piece: that takes up to 54 bytes of memory a byte with tiktoken, 25 with
gigatoken, measured on digits."""
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
SECOND_CUT = re.compile(rb"[A-Za-z0-9](?=[!-&(-/:-@\[-^`{}~])|[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])")
"""All ASCII punctuation but the apostrophe (a contraction goes on with it), and ``|`` and ``_``, which come after
letters in special tokens."""
REACH = 5
"""How many bytes at the end of some data may be of a cut that is seen only with the bytes after them: 3 + 3 - 1."""
JOINT = b"<|endoftext|>"
SPECIAL = b"<|"
"""What every special token begins with."""
SMALL_BYTES = 1 << 16
"""The longest document that is joined with others."""


@dataclass(frozen=True, slots=True)
class Block:
    """Text of one document from one safe cut to a later one, or several small documents joined.

    ``raw`` is the text as it stood in its source, at byte ``offset`` (of the decompressed content); ``data`` is the
    same with newlines normalised and without a byte order mark, valid UTF-8. ``first``: a document begins here.
    ``seams`` counts the end-of-text strings that join the documents of a batch: a batch holds ``seams + 1`` of them.
    Where each of them is a source of its own, ``joined`` has their counts, and ``counts`` is the first of these.
    ``place`` is where to look, for messages, if that is not a byte offset.
    """

    counts: Counts
    data: bytes
    raw: bytes
    offset: int
    first: bool = True
    seams: int = 0
    place: str = ""
    joined: Sequence[Counts] = ()

    @property
    def where(self) -> str:
        """Where the block begins, for messages."""
        return self.place or f"byte {self.offset}"

    @property
    def text(self) -> str:
        """The text as a str."""
        return self.data.decode()


def cut_blocks(path: str, read: Read, block_bytes: int, begin: int = 0) -> Iterator[bytes]:
    """Yield the bytes read, cut at safe places only. Linear in the bytes, however far apart those are.

    ``begin`` is where they begin in the source, for messages. Raises `DataError` where more than `MAX_UNCUT_BYTES` have
    no place to cut.
    """
    first = read(block_bytes)
    second = first and read(block_bytes)
    if not second:
        if first:
            yield first  # nothing is gained by a cut
        return
    pending: list[bytes] = []
    n_pending, tail = 0, b""
    for data in chain((first, second), iter(partial(read, block_bytes), b"")):
        pending.append(data)
        n_pending += len(data)
        cut = _last_cut(tail, data, _SAFE_CUT)
        if cut is None and n_pending >= UNCUT_BYTES:
            cut = _last_cut(tail, data, SECOND_CUT)
        if cut is None:
            tail = (tail + data)[-REACH:]
            _check_uncut(path, n_pending, begin)
            continue
        joined = b"".join(pending)
        cut += n_pending - len(data)
        yield joined[:cut]
        pending, n_pending, begin = [joined[cut:]], n_pending - cut, begin + cut
        tail = pending[0][-REACH:]
    yield b"".join(pending)


def find_safe_cut(data: bytes, after: int) -> int | None:
    """Return the first safe cut at or after a position, None if there is none, without looking at what is before."""
    places = _SAFE_CUT.finditer(data, max(0, after - REACH))
    found = next((place for place in places if place.end() >= after), None)
    return found and found.end()


def last_safe_cut(data: bytes, cut: re.Pattern[bytes] = _SAFE_CUT) -> int:
    r"""Return the last position in ``data`` where text may be cut, 0 if there is none.

    >>> last_safe_cut(b"I HAD always")
    5
    >>> last_safe_cut("\u4e2d\u6587\u3002\u4e2d".encode()), last_safe_cut(b"f(x)\n")
    (6, 0)
    """
    start, step = len(data), 512
    while start:
        end, start = start, max(0, start - step)
        found = [place.end() for place in cut.finditer(data, start, end + REACH)]
        if found:
            return found[-1]
        step *= 2
    return 0


def normalise(data: bytes, newlines: Newlines) -> bytes:
    r"""Return UTF-8 with newlines as chosen.

    >>> normalise(b"a\r\nb\rc\n", "universal")
    b'a\nb\nc\n'
    """
    if newlines == "universal" and b"\r" in data:
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def _last_cut(before: bytes, data: bytes, cut: re.Pattern[bytes]) -> int | None:
    """Return the last cut in ``data``, or across the seam to the bytes before it, as a position in ``data``."""
    found = last_safe_cut(data, cut)
    if found:
        return found
    seam = last_safe_cut(before + data[:REACH], cut)
    return seam - len(before) if seam else None


def _check_uncut(path: str, n_bytes: int, begin: int) -> None:
    if n_bytes > MAX_UNCUT_BYTES:
        raise DataError(
            f"{path}: {n_bytes} bytes from byte {begin} on without a letter or digit before white space or "
            f"punctuation, where text may be cut exactly; no more than {MAX_UNCUT_BYTES} are held; break them with a "
            f"space or a line end after one"
        )
