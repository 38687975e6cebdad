"""What a store states of each file, in columns: an array for each figure, and a row made when it is asked for.

In JSON a column is one string, as each number of a list would become an object of 32 bytes: of decimals between spaces
where most are small, else of hexadecimal digits, 16 a number. What is read of JSON is None where it is no such column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from llmprep.tokens.figures import are_gaps

Numbers: TypeAlias = npt.NDArray[np.int64]
Gaps: TypeAlias = Sequence[Sequence[int]] | None
"""Runs [number, count] of the numbers, from 1 on, of documents without text; None where they are not known."""
MAX_INT = 1 << 62
CHUNK = 1 << 14
_DIGITS, _HEX_DIGITS = frozenset("0123456789 "), frozenset("0123456789abcdef")
FIGURES = ("begin", "end", "tokens", "documents", "text")


def is_count(value: object) -> bool:
    """Tell a number that a column may hold from any other value of JSON."""
    return type(value) is int and 0 <= value < MAX_INT


def join_numbers(numbers: Numbers) -> str:
    """Return a column of decimals.

    >>> join_numbers(np.array([200, 7]))
    '200 7'
    """
    return " ".join(" ".join(map(str, numbers[at : at + CHUNK].tolist())) for at in range(0, len(numbers), CHUNK))


def split_numbers(text: object) -> Numbers | None:
    """Return what `join_numbers` has joined, each number from 0 to below `MAX_INT`."""
    if type(text) is not str or not _DIGITS.issuperset(text):
        return None
    if not text:
        return np.empty(0, np.int64)
    if text[0] == " " or text[-1] == " " or "  " in text:
        return None
    numbers = np.fromstring(text, np.int64, sep=" ")
    return numbers if int(numbers.max()) < MAX_INT else None


def exact_sum(numbers: Numbers) -> int:
    """Return the sum of numbers below `MAX_INT`, of which int64 may not hold even two."""
    low = int((numbers & 0xFFFFFFFF).sum())
    return low + (int((numbers >> 32).sum()) << 32)


def join_hex(values: npt.NDArray[Any]) -> str:
    """Return a column of hexadecimal digits, of values (n,) of 8 bytes, or (n, 32) uint8."""
    return values.astype(values.dtype.newbyteorder(">"), copy=False).tobytes().hex()


def split_hex(text: object, dtype: str) -> npt.NDArray[Any] | None:
    """Return what `join_hex` has joined, (n,) of a dtype."""
    if type(text) is not str or not _HEX_DIGITS.issuperset(text) or len(text) % (2 * np.dtype(dtype).itemsize):
        return None
    return np.frombuffer(bytes.fromhex(text), np.dtype(dtype).newbyteorder(">")).astype(dtype, copy=False)


def count_separators(n_documents: int, options: Mapping[str, Any], *, begun: bool) -> int:
    """Return how many separators stand before documents that begin in a piece; the corpus's first has none."""
    return max(0, n_documents - (not begun)) if options.get("separator") == "eot" else 0


class Stamp(NamedTuple):
    """What a source is known by without reading it: two of one size and sample may still differ."""

    size: int
    mtime_ns: int
    sample: str


@dataclass(frozen=True, slots=True, eq=False)
class Stamps:
    """Stamps in order: sizes and times (n,) int64, samples (n,) uint64."""

    sizes: Numbers
    times: Numbers
    samples: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, stamps: Sequence[Stamp]) -> Self:
        """Return these stamps."""
        sizes, times = (np.array([stamp[k] for stamp in stamps], np.int64) for k in (0, 1))
        return cls(sizes, times, np.array([int(stamp.sample, 16) for stamp in stamps], np.uint64))

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, number: int) -> Stamp:
        return Stamp(int(self.sizes[number]), int(self.times[number]), f"{self.samples[number]:016x}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stamps):
            return NotImplemented
        return len(self) == len(other) and not (self.differ(other) | (self.times != other.times)).any()

    __hash__ = None  # type: ignore[assignment] # as of a list

    def differ(self, other: Stamps) -> npt.NDArray[np.bool_]:
        """Tell of each whether it is of another size or sample than another's, of as many: the time does not count."""
        return np.not_equal(self.sizes, other.sizes) | np.not_equal(self.samples, other.samples)

    def part(self, first: int, end: int) -> Self:
        """Return those from one to another."""
        return type(self)(self.sizes[first:end], self.times[first:end], self.samples[first:end])

    def to_json(self) -> dict[str, Any]:
        """Return what stands in a file."""
        return {"sizes": join_numbers(self.sizes), "times": join_hex(self.times), "samples": join_hex(self.samples)}

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> Self | None:
        """Return the stamps that a file states."""
        sizes, times = split_numbers(stated.get("sizes")), split_hex(stated.get("times"), "i8")
        samples = split_hex(stated.get("samples"), "u8")
        if sizes is None or times is None or samples is None or not len(sizes) == len(times) == len(samples):
            return None
        return cls(sizes, times, samples)


class Piece(NamedTuple):
    """Bytes ``begin`` to ``end`` of a source, as a shard's tokens were made from them, and what they gave.

    ``tokens`` are without separators, and ``documents`` are counted where they begin. ``text`` is how many bytes were
    encoded, with newlines as chosen and without a byte order mark, 0 for records.
    """

    source: int
    begin: int
    end: int
    tokens: int
    documents: int
    text: int
    gaps: Gaps = ()


@dataclass(frozen=True, slots=True)
class Pieces:
    """Pieces in order: each figure (n,) int64, and the gaps of those that have any, by their number."""

    source: Numbers
    begin: Numbers
    end: Numbers
    tokens: Numbers
    documents: Numbers
    text: Numbers
    gaps: Mapping[int, Gaps] = field(default_factory=dict)

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> Self:
        """Return these pieces."""
        columns: list[Any] = [*np.array([piece[:6] for piece in pieces], np.int64).reshape(-1, 6).T.copy()]
        gaps = {number: piece.gaps for number, piece in enumerate(pieces) if piece.gaps is None or piece.gaps}
        return cls(*[*columns, gaps])

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, number: int) -> Piece:
        figures: list[Any] = [int(getattr(self, figure)[number]) for figure in ("source", *FIGURES)]
        return Piece(*[*figures, self.gaps.get(number, ())])

    def __iter__(self) -> Iterator[Piece]:
        return map(self.__getitem__, range(len(self)))

    def to_json(self) -> dict[str, Any]:
        """Return what stands in a file, which is all but the sources."""
        stated: dict[str, Any] = {figure: join_numbers(getattr(self, figure)) for figure in FIGURES}
        return stated | {"gaps": [[number, gaps] for number, gaps in self.gaps.items()]}

    @classmethod
    def from_json(cls, stated: Mapping[str, Any], source: Numbers) -> Self | None:
        """Return the pieces that a file states, one for each ``source``."""
        columns: list[Any] = [split_numbers(stated.get(figure)) for figure in FIGURES]
        if any(column is None or len(column) != len(source) for column in columns):
            return None
        if (columns[0] > columns[1]).any() or not _are_gaps(stated.get("gaps"), len(source)):
            return None
        return cls(*[source, *columns, dict(stated["gaps"])])

    @classmethod
    def joined(cls, parts: Sequence[Pieces], firsts: Sequence[int]) -> Self:
        """Return the pieces of several shards, of sources from the one of ``firsts`` on."""
        sources = [np.arange(first, first + len(part)) for first, part in zip(firsts, parts, strict=True)]
        columns: list[Any] = [np.concatenate([getattr(part, figure) for part in parts]) for figure in FIGURES]
        gaps: dict[int, Gaps] = {}
        begin = 0
        for part in parts:
            gaps |= {begin + number: each for number, each in part.gaps.items()}
            begin += len(part)
        return cls(*[np.concatenate(sources), *columns, gaps])


def _are_gaps(stated: object, n_pieces: int) -> bool:
    """Tell whether a value lists [number of a piece, its gaps], in order."""
    before = -1
    for each in stated if type(stated) is list else [None]:
        if type(each) is not list or len(each) != 2 or type(each[0]) is not int or not are_gaps(each[1]):
            return False
        if not before < each[0] < n_pieces or each[1] == []:
            return False
        before = each[0]
    return True
