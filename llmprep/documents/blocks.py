"""Bytes -> text, in blocks that end where text may be cut, as `cuts` has it.

Text without a safe cut for `UNCUT_BYTES` is cut at a second cut. Text with neither (a run of signs, or of letters)
makes its block grow, up to `MAX_UNCUT_BYTES`. Where the vocabulary allows no cut, a document is one block.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from llmprep.choices import Newlines
from llmprep.documents.cuts import REACH, SAFE_CUT, TIKTOKEN_CUTS, Cuts, last_safe_cut
from llmprep.documents.opening import Read
from llmprep.documents.recognising import is_packed
from llmprep.documents.source import Counts, Source
from llmprep.errors import DataError

UNCUT_BYTES = 1 << 20
"""From here on text without a safe cut is cut at a second cut."""
MAX_UNCUT_BYTES = 12 << 20
"""The longest text that is encoded in one piece: that takes up to 54 bytes of memory a byte with tiktoken, 25 with
gigatoken, measured on digits."""
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


def cut_blocks(path: str, read: Read, block_bytes: int, begin: int = 0, cuts: Cuts = TIKTOKEN_CUTS) -> Iterator[bytes]:
    """Yield the bytes read, cut where ``cuts`` has it only. Linear in the bytes, however far apart those places are.

    ``begin`` is where they begin in the source, for messages. Raises `DataError` where more than `MAX_UNCUT_BYTES` have
    no place to cut.
    """
    if not cuts.allowed:
        yield from _read_whole(path, read, block_bytes)
        return
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
        cut = _last_cut(tail, data, SAFE_CUT)
        if cut is None and n_pending >= UNCUT_BYTES:
            cut = _last_cut(tail, data, cuts.second)
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


def _read_whole(path: str, read: Read, block_bytes: int) -> Iterator[bytes]:
    """Yield all bytes at once, if there are any."""
    parts: list[bytes] = []
    n_bytes = 0
    while data := read(block_bytes):
        parts.append(data)
        n_bytes += len(data)
        _require_short(path, n_bytes)
    if parts:
        yield b"".join(parts)


def require_whole(sources: Iterable[Source], cuts: Cuts) -> None:
    """Raise `DataError` for a plain text that may not be cut, and is too long to be encoded whole, by its size."""
    for source in sources if not cuts.allowed else ():
        size = source.size or 0
        if size > MAX_UNCUT_BYTES and source.format == "text" and not is_packed(source):
            _require_short(source.path, size)


def _require_short(path: str, n_bytes: int) -> None:
    """Raise `DataError` for a document of so many bytes, or of more, if that is too long to be encoded whole."""
    if n_bytes > MAX_UNCUT_BYTES:
        raise DataError(
            f"{path}: one document of more than {MAX_UNCUT_BYTES} bytes, the most that are encoded whole, and for this "
            f"vocabulary it is not proven where texts may be cut; give shorter documents: several files, or JSON Lines "
            f"records"
        )


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
