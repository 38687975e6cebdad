"""A plain text, or a span of one -> blocks of valid UTF-8."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from llmprep.choices import Newlines
from llmprep.documents.blocks import REACH, Block, cut_blocks, find_safe_cut, normalise
from llmprep.documents.decompressing import open_content
from llmprep.documents.opening import ByteStream
from llmprep.documents.recognising import check_head, checked_head
from llmprep.documents.source import BOM
from llmprep.errors import DataError, InputError

LOOK_BYTES = 1 << 16


def read_text(stream: ByteStream, newlines: Newlines, block_bytes: int) -> Iterator[Block]:
    """Yield a plain text, or a span of one, in blocks."""
    offset, counts, span = 0, stream.counts, stream.source.span
    if span is None:
        read = checked_head(stream, open_content(stream))
    else:
        offset, read = open_span(stream, find_safe_cut)
    for raw in cut_blocks(stream.source.path, read, block_bytes, offset):
        data = raw
        if offset == 0 and raw.startswith(BOM):
            counts.bom = True
            data = raw[len(BOM) :]
        n_chars = _check_utf8(stream.source.path, data, offset + len(raw) - len(data))
        text = normalise(data, newlines)
        counts.n_chars += n_chars - (len(data) - len(text))
        counts.n_text += len(text)
        if text:
            begins = counts.n_documents == 0 and (span is None or span[0] == 0)
            yield Block(counts, text, raw, offset, first=begins)
            counts.n_documents = 1
        offset += len(raw)


FindCut: TypeAlias = Callable[[bytes, int], "int | None"]
"""Finds the first place at or after a position of some bytes where a span may begin and end."""


def open_span(stream: ByteStream, find: FindCut) -> tuple[int, Callable[[int], bytes]]:
    """Return where a source's span begins and a function that reads it to its end.

    Each end of a span means the first cut at or after it, or the end of the file. The begin is looked for no further
    than to the span's end: where no cut lies between them, all of its text belongs to a span before, and this one is
    empty. The end is found while reading on. So at most two spans look at a byte, however far apart cuts are.
    """
    start, end = stream.source.span or (0, 0)
    begin = _find_begin(stream, start, end, find)
    stream.seek(begin)
    if begin == 0:
        check_head(stream, stream.peek())
    stream.counts.begin = begin
    last = begin if begin == end else None
    return begin, _SpanReader(stream, begin, end, find, max(begin, end - REACH), last).read


def _find_begin(stream: ByteStream, start: int, end: int, find: FindCut) -> int:
    """Return the first cut from ``start`` on, ``end`` if there is none before that; 0 stays 0."""
    if start == 0:
        return 0
    at = max(0, start - REACH)
    while at < end:
        stream.seek(at)
        data = stream.peek(LOOK_BYTES)
        found = find(data, max(0, start - at))
        if found is not None:
            return min(at + found, end)
        if len(data) < LOOK_BYTES:
            break
        at += LOOK_BYTES - REACH
    return end


@dataclass(slots=True)
class _SpanReader:
    """Reads from ``position`` to the first cut at or after ``end``; the file's last span ends with the file.

    Up to ``clear`` there is no such cut; ``last`` is where the span really ends, once that is known.
    """

    stream: ByteStream
    position: int
    end: int
    find: FindCut
    clear: int
    last: int | None = None

    def read(self, count: int) -> bytes:
        """Return up to ``count`` bytes; none only at the end of the span."""
        if self.last is None and self.position >= self.clear:
            self._look(max(count, LOOK_BYTES) + REACH)
        count = min(count, (self.clear if self.last is None else self.last) - self.position)
        data = self.stream.read(count) if count else b""
        if not data:
            self._finish()
        self.position += len(data)
        return data

    def _look(self, count: int) -> None:
        """Look for the end in the next ``count`` bytes."""
        data = self.stream.peek(count)
        is_last = self.end >= (self.stream.source.size or 0)
        found = None if is_last else self.find(data, max(0, self.end - self.position))
        self.clear = self.position + len(data) - REACH
        if found is not None:
            self.last = self.position + found
        elif len(data) < count:
            self.last = self.position + len(data)

    def _finish(self) -> None:
        self.stream.finish()
        if self.position < min(self.end, self.stream.source.size or 0):
            raise InputError(
                f"{self.stream.source.path}: has {self.position} bytes, and said that it has {self.stream.source.size}"
            )


def _check_utf8(path: str, data: bytes, offset: int) -> int:
    """Return the number of characters, or raise with the place of the first bad byte."""
    if data.isascii():
        return len(data)
    try:
        return len(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not valid UTF-8 at byte {offset + error.start} (0x{data[error.start]:02x}); "
            f"convert it to UTF-8 first, for example with iconv"
        ) from error
