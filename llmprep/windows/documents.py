"""Rows of tokens -> the parts of documents in them: where each begins, how long it is, what is predicted across.

A row is one token longer than a window, so it holds the inputs and the targets. A part is a run of tokens of one
document in a row; a row's first part begins at its first token, also where the document began in an earlier row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]

NO_TARGET = -100
"""The target of what is not to be predicted: cross_entropy's ``ignore_index``, and every trainer's."""


class Starts(Protocol):
    """Where documents begin in a stream of tokens."""

    def within(self, firsts: Places, width: int) -> tuple[Places, Places]:
        """Return where documents begin within rows of ``width`` tokens from each of ``firsts`` (B,) on.

        The first value has the places in the row, 1 to width - 1, in order and row after row; several may be equal. The
        second, (B,), says how many each row has.
        """


@dataclass(frozen=True, slots=True)
class KnownStarts:
    """The places (n,) at which documents begin, in order, as an array."""

    starts: Places

    def within(self, firsts: Places, width: int) -> tuple[Places, Places]:
        """Return where documents begin within rows, and how many in each."""
        low, high = np.searchsorted(self.starts, firsts + 1), np.searchsorted(self.starts, firsts + width)
        counts = high - low
        before = np.cumsum(counts) - counts
        found = self.starts[np.repeat(low - before, counts) + np.arange(counts.sum())]
        return found - np.repeat(firsts, counts), counts


@dataclass(frozen=True, slots=True)
class DocumentRows:
    """B rows of W tokens each, and the parts of documents in them.

    ``tokens`` are (B, W) int64. ``starts`` (n,) int64 say where in its row each part begins, row after row, each row's
    first at 0 and no two in one place; ``counts`` (B,) int64 how many parts a row has, n in all. ``n_real`` (B,) int64
    are the tokens of a row that are of documents, at least 1: what comes after them only fills the row.
    """

    tokens: Places
    starts: Places
    counts: Places
    n_real: Places

    def parts(self, width: int) -> Parts:
        """Return the parts within the first ``width`` tokens of each row."""
        n_rows, starts, counts = len(self.counts), self.starts, self.counts
        filled = self.n_real < width
        if filled.any():  # what fills a row is its last part, until it is told from the others
            starts, counts = np.insert(starts, np.cumsum(counts)[filled], self.n_real[filled]), counts + filled
        firsts = np.arange(n_rows) * width
        begins = np.minimum(starts, width) + np.repeat(firsts, counts)
        lengths = np.empty_like(begins)
        np.subtract(begins[1:], begins[:-1], out=lengths[:-1])
        lengths[-1:] = n_rows * width - begins[-1:]
        return Parts(width, begins, lengths, counts, filled)

    def targets(self, *, mask_boundaries: bool) -> Places:
        """Return for each token but a row's last the one that follows: (B, W - 1) int64.

        It is `NO_TARGET` where only fill follows and, with ``mask_boundaries``, where another document's token does.
        """
        targets = self.tokens[:, 1:].copy()
        width = self.tokens.shape[1]
        if (self.n_real < width).any():
            targets[np.arange(1, width) >= self.n_real[:, None]] = NO_TARGET
        if mask_boundaries:
            rows, inner = np.repeat(np.arange(len(self.counts)), self.counts), self.starts > 0
            targets[rows[inner], self.starts[inner] - 1] = NO_TARGET
        return targets


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of documents in B rows of ``width`` tokens, as if the rows stood one after the other.

    ``begins`` and ``lengths`` (n,) int64 are of all parts, row after row, of which each row has ``counts`` (B,); the
    last one of a row that is ``filled`` (B,) bool is what fills it. A part that begins after the row's width has a
    length of 0.

    >>> rows = DocumentRows(np.arange(5)[None], np.array([0, 3]), np.array([2]), np.array([5]))
    >>> parts = rows.parts(4)
    >>> parts.document_ids().tolist(), parts.position_ids().tolist(), parts.lists()
    ([[0, 0, 0, 1]], [[0, 1, 2, 0]], [[3, 1]])
    """

    width: int
    begins: Places
    lengths: Places
    counts: Places
    filled: npt.NDArray[np.bool_]

    def lists(self) -> list[list[int]]:
        """Return the lengths of each row's parts; what fills a row is none."""
        ends = np.cumsum(self.counts)
        firsts, lengths = (ends - self.counts).tolist(), self.lengths.tolist()
        rows = [lengths[first:end] for first, end in zip(firsts, (ends - self.filled).tolist(), strict=True)]
        return rows if self.lengths.all() else [list(filter(None, row)) for row in rows]

    def joined(self) -> Places:
        """Return the lengths of all parts in one, (n,) int64, those of what fills rows left out."""
        kept = self.lengths > 0
        kept[(np.cumsum(self.counts) - 1)[self.filled]] = False
        return self.lengths[kept]

    def document_ids(self) -> npt.NDArray[np.int32]:
        """Return the number, in its row, of each token's part: (B, width) int32; -1 for what fills a row."""
        ends = np.cumsum(self.counts)
        numbers = np.arange(len(self.begins), dtype=np.int32)
        numbers -= np.repeat((ends - self.counts).astype(np.int32), self.counts)
        numbers[(ends - 1)[self.filled]] = -1
        return np.repeat(numbers, self.lengths).reshape(-1, self.width)

    def position_ids(self) -> Places:
        """Return the place of each token in its part, (B, width) int64; what fills a row counts from 0 as well."""
        begins = np.repeat(self.begins, self.lengths)
        return np.subtract(np.arange(len(begins)), begins, out=begins).reshape(-1, self.width)


def mark_documents(tokens: Places, firsts: Places, documents: Starts, *, opens: int = 0) -> DocumentRows:
    """Return rows (B, W), cut from a stream at the places ``firsts`` (B,), with the parts of documents in them.

    A part begins ``opens`` tokens before its document: 1 where the separator before a document is the document's.
    """
    n_rows, width = tokens.shape
    found, counts = documents.within(firsts + opens, width)
    starts = np.zeros(len(found) + n_rows, np.int64)
    inner = np.repeat(np.arange(1, n_rows + 1), counts)
    inner += np.arange(len(found))
    starts[inner] = found
    counts = counts + 1
    again = (starts[1:] == starts[:-1]) & (starts[1:] > 0)
    if again.any():  # a document without tokens begins where the next one does
        kept = np.concatenate(([True], ~again))
        counts = np.add.reduceat(kept, np.cumsum(counts) - counts, dtype=np.int64)
        starts = starts[kept]
    return DocumentRows(tokens, starts, counts, np.full(n_rows, width))
