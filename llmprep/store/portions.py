"""A stream with documents in it -> portions of it, in order, each with the documents that lie there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmprep.formats.ids import Array

Numbers = npt.NDArray[np.int64]
Spans = Callable[[int, int], tuple[Numbers, Numbers]]
"""The number of a document, and how many -> their starts and ends, each (count,) int64."""

NONE: Numbers = np.empty(0, np.int64)

PORTION = 1 << 18
"""Tokens of a portion: enough to make light of what is done once for each, few enough to stay near the processor."""
FETCHED = 1 << 16
"""Documents whose spans are asked for at once."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """``n_tokens`` ids of a vocabulary of ``n_vocab``, which ``read(first, count)`` returns, and their documents.

    ``n_documents`` is None where it is not known where documents begin. They are in order and do not overlap; there may
    be tokens between them, and documents without any. ``name`` is for messages.
    """

    name: str
    n_tokens: int
    n_vocab: int
    read: Callable[[int, int], Array]
    n_documents: int | None = None
    spans: Spans = lambda *_: (NONE, NONE)

    def spans_of(self, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """Return starts and ends of documents, whatever the order of their ``numbers``: (k,) each."""
        starts, ends = np.empty(len(numbers), np.int64), np.empty(len(numbers), np.int64)
        order = np.argsort(numbers, kind="stable")
        windows = numbers[order] // FETCHED
        for part in np.split(order, np.flatnonzero(np.diff(windows)) + 1) if len(order) else ():
            first, last = int(numbers[part[0]]), int(numbers[part[-1]])
            some_starts, some_ends = self.spans(first, last - first + 1)
            starts[part], ends[part] = some_starts[numbers[part] - first], some_ends[numbers[part] - first]
        return starts, ends


@dataclass(frozen=True, slots=True)
class Portion:
    """Tokens ``first`` to ``end`` of a stream: their ``ids``, and ``starts`` and ``ends`` of the documents among them.

    The first of these may begin before, the last may end after. A document without tokens is in one portion.
    """

    first: int
    end: int
    ids: Array
    starts: Numbers
    ends: Numbers

    @property
    def n_done(self) -> int:
        """How many of the documents end here: all, or all but the last."""
        return int(np.searchsorted(self.ends, self.end, "right"))

    @property
    def is_continued(self) -> bool:
        """Whether the first of the documents began before."""
        return len(self.starts) > 0 and bool(self.starts[0] < self.first)


def portions(corpus: Corpus, size: int = PORTION) -> Iterator[Portion]:
    """Yield the whole stream in portions of ``size`` tokens; of documents, no more are held than lie in one."""
    starts = ends = NONE
    n_fetched, n_documents = 0, corpus.n_documents or 0
    for first in range(0, max(1, corpus.n_tokens), size):
        end = min(first + size, corpus.n_tokens)
        is_last = end == corpus.n_tokens
        while n_fetched < n_documents and (is_last or not len(starts) or starts[-1] < end):
            more = corpus.spans(n_fetched, min(FETCHED, n_documents - n_fetched))
            starts, ends = np.concatenate([starts, more[0]]), np.concatenate([ends, more[1]])
            n_fetched += len(more[0])
        n_here = len(starts) if is_last else int(np.searchsorted(starts, end))
        portion = Portion(first, end, corpus.read(first, end - first), starts[:n_here], ends[:n_here])
        yield portion
        starts, ends = starts[portion.n_done :], ends[portion.n_done :]
