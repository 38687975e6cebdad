"""Rows of tokens -> the parts of documents in them: where each begins, how long it is, what is predicted across.

A row is one token longer than a window, so it holds the inputs and the targets. A part is a run of tokens of one
document in a row; a row's first part begins at its first token, also where the document began in an earlier row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]

NO_TARGET = -100
"""The target of what is not to be predicted: cross_entropy's ``ignore_index``, and every trainer's."""


@dataclass(frozen=True, slots=True)
class KnownStarts:
    """The places (n,) at which documents begin, in order, as an array."""

    starts: Places

    def within(self, firsts: Places, width: int) -> tuple[Places, Places]:
        """Return where documents begin within rows of ``width`` tokens from each of ``firsts`` (B,) on.

        The first value has the places in the row, 1 to width - 1, in order and row after row; several may be equal. The
        second, (B,), says how many each row has.
        """
        low, high = self.starts.searchsorted(firsts + 1), self.starts.searchsorted(firsts + width)
        counts = high - low
        ends = counts.cumsum()
        found = self.starts[(high - ends).repeat(counts) + np.arange(counts.sum())]
        return found - firsts.repeat(counts), counts


@dataclass(frozen=True, slots=True)
class DocumentRows:
    """B rows of W tokens each, and the parts of documents in them.

    ``tokens`` are (B, W) int64. ``starts`` (n,) int64 say where in its row each part begins, row after row, each row's
    first at 0 and two in one place where a document has no tokens; ``counts`` (B,) int64 how many a row has, n in all.
    ``n_real`` (B,) int64 are the tokens of a row that are of documents, at least 1: what comes after them only fills it.
    """

    tokens: Places
    starts: Places
    counts: Places
    n_real: Places

    def parts(self, width: int) -> Parts:
        """Return the parts within the first ``width`` tokens of each row."""
        starts, counts = np.minimum(self.starts, width), self.counts
        filled = self.n_real < width
        if filled.any():  # what fills a row is its last part, until it is told from the others
            starts, counts = np.insert(starts, counts.cumsum()[filled], self.n_real[filled]), counts + filled
        ends = counts.cumsum()
        after = np.empty_like(starts)
        after[:-1] = starts[1:]
        after[ends - 1] = width
        lengths = after - starts
        if not lengths.all():
            kept = lengths > 0
            ends = kept.cumsum()[ends - 1]
            starts, lengths = starts[kept], lengths[kept]
        return Parts(width, starts, lengths, ends, filled)

    def targets(self, *, mask_boundaries: bool) -> Places:
        """Return for each token but a row's last the one that follows: (B, W - 1) int64.

        It is `NO_TARGET` where only fill follows and, with ``mask_boundaries``, where another document's token does.
        """
        targets = self.tokens[:, 1:].copy()
        width = self.tokens.shape[1]
        if (self.n_real < width).any():
            targets[np.arange(1, width) >= self.n_real[:, None]] = NO_TARGET
        if mask_boundaries:
            rows, inner = np.arange(len(self.counts)).repeat(self.counts), self.starts > 0
            targets[rows[inner], self.starts[inner] - 1] = NO_TARGET
        return targets


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of documents in B rows of ``width`` tokens.

    ``starts`` and ``lengths`` (n,) int64, none 0, are of all parts, row after row; ``ends`` (B,) says how many parts
    there are up to a row and with it. The last one of a row that is ``filled`` (B,) bool is what fills it.

    >>> rows = DocumentRows(np.arange(5)[None], np.array([0, 3]), np.array([2]), np.array([5]))
    >>> parts = rows.parts(4)
    >>> parts.document_ids().tolist(), parts.position_ids().tolist(), parts.lists()
    ([[0, 0, 0, 1]], [[0, 1, 2, 0]], [[3, 1]])
    """

    width: int
    starts: Places
    lengths: Places
    ends: Places
    filled: npt.NDArray[np.bool_]

    def lists(self) -> list[list[int]]:
        """Return the lengths of each row's parts; what fills a row is none."""
        lengths, ends = self.lengths.tolist(), self.ends.tolist()
        rows = [lengths[first:end] for first, end in zip([0, *ends], ends, strict=False)]
        return [row[: len(row) - fill] for row, fill in zip(rows, self.filled.tolist(), strict=True)]

    def joined(self) -> Places:
        """Return the lengths of all parts in one, (n,) int64, those of what fills rows left out."""
        return np.delete(self.lengths, self.ends[self.filled] - 1)

    def document_ids(self) -> npt.NDArray[np.int32]:
        """Return the number, in its row, of each token's part: (B, width) int32; -1 for what fills a row."""
        numbers = np.arange(len(self.starts), dtype=np.int32)
        counts = self.ends.copy()
        counts[1:] -= self.ends[:-1]
        numbers -= (self.ends - counts).astype(np.int32).repeat(counts)
        numbers[self.ends[self.filled] - 1] = -1
        return numbers.repeat(self.lengths).reshape(-1, self.width)

    def position_ids(self) -> Places:
        """Return the place of each token in its part, (B, width) int64; what fills a row counts from 0 as well."""
        begins = self.starts.repeat(self.lengths).reshape(-1, self.width)
        return np.subtract(np.arange(self.width), begins, out=begins)


def mark_documents(tokens: Places, found: Places, counts: Places) -> DocumentRows:
    """Return rows (B, W) with the parts that begin in them: at ``found`` (n,), ``counts`` (B,) in each row."""
    n_rows, width = tokens.shape
    starts = np.zeros(len(found) + n_rows, np.int64)
    inner = np.arange(1, n_rows + 1).repeat(counts)
    inner += np.arange(len(found))
    starts[inner] = found
    return DocumentRows(tokens, starts, counts + 1, np.full(n_rows, width))
