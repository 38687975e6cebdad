"""Rows of tokens -> the parts of documents in them: where each begins, how long it is, what is predicted across.

A row is one token longer than a window, so it holds the inputs and the targets. A part is a run of tokens of one
document in a row; a row's first part begins at its first token, also where the document began in an earlier row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]

NO_TARGET = -100
"""The target of what is not to be predicted: cross_entropy's ``ignore_index``, and every trainer's."""


class Starts(Protocol):
    """Where documents begin in a stream of tokens."""

    def starts_between(self, first: int, end: int) -> Places:
        """Return the places, in order, at which documents begin: ``first <= place < end``; several may be equal."""


@dataclass(frozen=True, slots=True)
class KnownStarts:
    """The places (n,) at which documents begin, in order, as an array."""

    starts: Places

    def starts_between(self, first: int, end: int) -> Places:
        """Return those from ``first`` on and before ``end``."""
        low, high = np.searchsorted(self.starts, (first, end)).tolist()
        return self.starts[low:high]


@dataclass(frozen=True, slots=True)
class DocumentRows:
    """B rows of W tokens each, and the parts of documents in them.

    ``tokens`` are (B, W) int64. ``starts`` (n,) int64 say where in its row each part begins, row after row, each row's
    first at 0 and no two in one place; ``counts`` (B,) int64 how many parts a row has, n in all. ``n_real`` (B,) int64
    are the tokens of a row that are of documents, at least 1: what comes after them only fills the row.

    >>> rows = DocumentRows(np.arange(5)[None], np.array([0, 3]), np.array([2]), np.array([5]))
    >>> rows.document_ids(4).tolist(), rows.position_ids(4).tolist(), rows.lists(4)
    ([[0, 0, 0, 1]], [[0, 1, 2, 0]], [[3, 1]])
    """

    tokens: Places
    starts: Places
    counts: Places
    n_real: Places

    def lists(self, width: int) -> list[list[int]]:
        """Return the lengths of the parts within the first ``width`` tokens of each row; what fills a row is none."""
        lengths, ends = self.lengths(width).tolist(), np.cumsum(self.counts).tolist()
        return [list(filter(None, lengths[first:end])) for first, end in zip([0, *ends], ends, strict=False)]

    def document_ids(self, width: int) -> npt.NDArray[np.int32]:
        """Return the number, in its row, of each token's part: (B, width) int32; -1 for what fills a row."""
        ends = np.cumsum(self.counts)
        numbers = np.arange(len(self.starts), dtype=np.int32) - np.repeat(ends - self.counts, self.counts)
        return self._spread(numbers.astype(np.int32), np.full(len(ends), -1, np.int32), width)

    def position_ids(self, width: int) -> Places:
        """Return the place of each token in its part, (B, width) int64; what fills a row counts from 0 as well."""
        return np.arange(width, dtype=np.int64) - self._spread(self.starts, self.n_real, width)

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

    def lengths(self, width: int) -> Places:
        """Return the lengths (n,) of all parts within the first ``width`` tokens of their rows: 0 for a later one."""
        ends = np.empty_like(self.starts)
        ends[:-1] = self.starts[1:]
        ends[np.cumsum(self.counts) - 1] = self.n_real
        return np.minimum(ends, width) - np.minimum(self.starts, width)

    def _spread(self, values: Numbers, fill: Numbers, width: int) -> Numbers:
        """Repeat a value (n,) for each token of its part, and one (B,) for what fills a row: (B, width)."""
        lengths, filled = self.lengths(width), np.maximum(width - self.n_real, 0)
        if filled.any():
            after = np.cumsum(self.counts)
            values, lengths = np.insert(values, after, fill), np.insert(lengths, after, filled)
        return np.repeat(values, lengths).reshape(-1, width)


def mark_documents(tokens: Places, firsts: Places, documents: Starts, *, opens: int = 0) -> DocumentRows:
    """Return rows (B, W), cut from a stream at the places ``firsts`` (B,), with the parts of documents in them.

    A part begins ``opens`` tokens before its document: 1 where the separator before a document is the document's.
    """
    width = tokens.shape[1]
    found = [documents.starts_between(at + 1, at + width) - at for at in (firsts + opens).tolist()]
    counts = np.array([len(starts) + 1 for starts in found], np.int64)
    row_starts = np.cumsum(counts) - counts
    inner = np.ones(counts.sum(), np.bool_)
    inner[row_starts] = False
    starts = np.zeros(len(inner), np.int64)
    starts[inner] = np.concatenate(found) if found else 0
    again = inner[1:] & (starts[1:] == starts[:-1])
    if again.any():  # a document without tokens begins where the next one does
        kept = np.concatenate((inner[:1] | True, ~again))
        starts, counts = starts[kept], np.add.reduceat(kept, row_starts, dtype=np.int64)
    return DocumentRows(tokens, starts, counts, np.full(len(tokens), width))
