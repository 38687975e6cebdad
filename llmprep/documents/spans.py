"""A span of a plain text or of JSON Lines -> a function that reads it, from its true begin to its true end.

The ends of a span are nominal: each stands for the first boundary (a safe cut, or the start of a line) at or after it.
So neighbours agree on where one ends and the next begins, and neither needs to know the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from llmprep.documents.cuts import REACH
from llmprep.documents.opening import ByteStream, Read
from llmprep.documents.recognising import require_text
from llmprep.errors import InputError

LOOK_BYTES = 1 << 16
FindBoundary: TypeAlias = Callable[[bytes, int], "int | None"]
"""Returns the first boundary at or after a position of some bytes, None if there is none in them."""


def open_span(stream: ByteStream, find: FindBoundary) -> tuple[int, Read]:
    """Return where the span of a stream's source truly begins, and a function that reads it to its end.

    The begin is looked for no further than to the span's end: where no boundary lies between them, all of its text
    belongs to a span before, and this one is empty. The end is found while reading on. So at most two spans look at a
    byte, however far apart boundaries are. Reading raises `InputError` where the file ends before the span does.
    """
    nominal_begin, nominal_end = stream.source.span or (0, 0)
    begin = _find_begin(stream, nominal_begin, nominal_end, find)
    stream.seek(begin)
    if begin == 0:
        require_text(stream, stream.peek())
    stream.counts.begin = begin
    end = begin if begin == nominal_end else None
    return begin, _SpanReader(stream, find, begin, nominal_end, max(begin, nominal_end - REACH), end).read


def _find_begin(stream: ByteStream, nominal_begin: int, nominal_end: int, find: FindBoundary) -> int:
    """Return the first boundary from ``nominal_begin`` on, ``nominal_end`` if there is none before that; 0 stays 0."""
    if nominal_begin == 0:
        return 0
    position = max(0, nominal_begin - REACH)
    while position < nominal_end:
        stream.seek(position)
        data = stream.peek(LOOK_BYTES)
        found = find(data, max(0, nominal_begin - position))
        if found is not None:
            return min(position + found, nominal_end)
        if len(data) < LOOK_BYTES:
            break
        position += LOOK_BYTES - REACH
    return nominal_end


@dataclass(slots=True)
class _SpanReader:
    """Reads from ``position`` to the first boundary at or after ``nominal_end``, or to the end of the file.

    ``end`` is that boundary, once it is found; until then it is known not to lie before ``searched``.
    """

    stream: ByteStream
    find: FindBoundary
    position: int
    nominal_end: int
    searched: int
    end: int | None

    def read(self, count: int) -> bytes:
        """Return up to ``count`` bytes; none only at the end of the span."""
        if self.end is None and self.position >= self.searched:
            self._search(max(count, LOOK_BYTES) + REACH)
        count = min(count, (self.searched if self.end is None else self.end) - self.position)
        data = self.stream.read(count) if count else b""
        if not data:
            self._finish()
        self.position += len(data)
        return data

    def _search(self, count: int) -> None:
        """Look for the end in the next ``count`` bytes."""
        data = self.stream.peek(count)
        is_last = self.nominal_end >= (self.stream.source.size or 0)
        found = None if is_last else self.find(data, max(0, self.nominal_end - self.position))
        self.searched = self.position + len(data) - REACH
        if found is not None:
            self.end = self.position + found
        elif len(data) < count:
            self.end = self.position + len(data)

    def _finish(self) -> None:
        self.stream.finish()
        size = self.stream.source.size
        if self.position < min(self.nominal_end, size or 0):
            raise InputError(
                f"{self.stream.source.path}: has {self.position} bytes, and had {size} when it was found; "
                f"run again when it is at rest"
            )
