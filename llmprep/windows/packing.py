"""Documents -> rows of whole documents: which parts of the stream stand in which row. No token is looked at.

A part is a run of the stream. A document that is longer than a row is cut into full rows and a rest; the documents and
rests of one block are then placed by `fit_best`. Blocks are packed each by itself, so they need no other's memory,
and may be worked out in any order, anywhere. A block is made of chunks of consecutive documents from all over the
stream, and the seed decides which; it decides too the order of a block's rows, and which of several equal documents
goes into which row. Within a row documents stand in the order in which the block has them, not by length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from llmprep.errors import UsageError
from llmprep.windows.counts import MAX_WINDOW
from llmprep.windows.fitting import Numbers, fit_best
from llmprep.windows.permutation import Permutation

CHUNK = 1024
"""Consecutive documents that come into a block together, or fewer, so that a block has 64 such chunks."""
ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class Rule:
    """How documents are packed into rows of ``width`` tokens: max_length + 1, inputs and targets.

    ``buffer`` is how many documents are placed together. A part of a cut document begins with the last ``overlap``
    tokens of the part before it, less than ``width``; with ``truncate``, nothing is cut, and what does not fit is lost.
    """

    width: int
    seed: int
    buffer: int
    overlap: int = 0
    truncate: bool = False

    def __post_init__(self) -> None:
        """Raise `UsageError` for sizes that do not go together."""
        if self.width > MAX_WINDOW:
            raise UsageError(f"max_length {self.width - 1}: rows of whole documents take at most {MAX_WINDOW - 1}")
        if self.overlap >= self.width:
            raise UsageError(f"overlap {self.overlap}: must be at most max_length, which is {self.width - 1}")


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Rows: ``counts`` (rows,) is how many parts each has, ``starts`` and ``lengths`` (parts,) are these, in order.

    Runs that are in no row have ``lost_starts`` and ``lost_lengths``. All are int64, and each length is 1 or more.
    """

    counts: Numbers
    starts: Numbers
    lengths: Numbers
    lost_starts: Numbers
    lost_lengths: Numbers


def count_chunks(n_documents: int, buffer: int) -> tuple[int, int, int]:
    """Return how many documents a chunk has, how many chunks there are, and how many blocks.

    >>> count_chunks(1_000_000, buffer=65_536)
    (1024, 977, 16)
    """
    chunk = min(CHUNK, max(1, buffer // 64))
    n_chunks = -(-n_documents // chunk)
    return chunk, n_chunks, -(-n_chunks // (buffer // chunk))


def list_chunks(n_documents: int, number: int, rule: Rule) -> list[tuple[int, int]]:
    """Return the chunks of a block, each (first document, end): all blocks together have each document once."""
    chunk, n_chunks, n_blocks = count_chunks(n_documents, rule.buffer)
    places = np.arange(number * n_chunks // n_blocks, (number + 1) * n_chunks // n_blocks, dtype=np.int64)
    firsts = Permutation(n_chunks, rule.seed, 0)[places] * chunk
    return [(first, min(first + chunk, n_documents)) for first in firsts.tolist()]


def pack_block(starts: Numbers, lengths: Numbers, number: int, rule: Rule) -> Iterator[Packed]:
    """Yield the rows of a block of documents, so many at a time that memory does not grow with their lengths.

    ``starts`` and ``lengths`` (n,) int64 are where the documents begin in the stream, and how many tokens they have;
    those without tokens are in no row. ``number`` is the block's.
    """
    order = Permutation(len(lengths), rule.seed, number + 1)[np.arange(len(lengths), dtype=np.int64)]
    order = order[lengths[order] > 0]
    if not len(order):
        return
    starts, lengths = starts[order], lengths[order]
    cut = _cut(starts, lengths, rule)
    yield Packed(NOTHING, NOTHING, NOTHING, cut.lost_starts, cut.lost_lengths)
    rows, n_rows = fit_best(cut.rest_lengths, rule.width)
    placed = _Placed(np.argsort(rows, kind="stable"), np.append(0, np.cumsum(np.bincount(rows, minlength=n_rows))))
    n_all = int(cut.full_ends[-1]) + n_rows
    shuffled = Permutation(n_all, rule.seed, number + 1)
    for first in range(0, n_all, ROWS_AT_ONCE):
        taken = shuffled[np.arange(first, min(first + ROWS_AT_ONCE, n_all), dtype=np.int64)]
        yield _take_rows(taken, starts, cut, placed)


NOTHING: Numbers = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """Documents cut: the full rows of document k end with number ``full_ends[k]``, and then comes its rest.

    Parts of one document begin ``step`` tokens after each other, and full ones have ``width``.
    """

    full_ends: Numbers
    rest_starts: Numbers
    rest_lengths: Numbers
    lost_starts: Numbers
    lost_lengths: Numbers
    width: int
    step: int


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """The rests by row: those of row k are ``numbers[bounds[k] : bounds[k + 1]]``."""

    numbers: Numbers
    bounds: Numbers


def _cut(starts: Numbers, lengths: Numbers, rule: Rule) -> _Cut:
    width, step = rule.width, rule.width - rule.overlap
    long = np.flatnonzero(lengths > width)
    if rule.truncate:
        none, kept = np.zeros(len(lengths), np.int64), np.minimum(lengths, width)
        return _Cut(none, starts, kept, starts[long] + width, lengths[long] - width, width, step)
    n_full = np.zeros(len(lengths), np.int64)
    n_full[long] = (lengths[long] - rule.overlap - 1) // step
    return _Cut(np.cumsum(n_full), starts + n_full * step, lengths - n_full * step, NOTHING, NOTHING, width, step)


def _take_rows(taken: Numbers, starts: Numbers, cut: _Cut, placed: _Placed) -> Packed:
    """Return rows by their numbers: first the full rows of cut documents, then those that rests were placed in."""
    n_full = int(cut.full_ends[-1])
    fitted = np.maximum(taken - n_full, 0)
    counts = np.where(taken < n_full, 1, placed.bounds[fitted + 1] - placed.bounds[fitted])
    ends = np.cumsum(counts)
    within = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
    rests = placed.numbers[np.repeat(placed.bounds[fitted], counts) + within]
    part_starts, part_lengths = cut.rest_starts[rests], cut.rest_lengths[rests]
    full = np.flatnonzero(taken < n_full)
    at, numbers = ends[full] - 1, taken[full]
    documents = np.searchsorted(cut.full_ends, numbers, "right")
    first = np.append(0, cut.full_ends)[documents]
    part_starts[at], part_lengths[at] = starts[documents] + (numbers - first) * cut.step, cut.width
    return Packed(counts, part_starts, part_lengths, NOTHING, NOTHING)
