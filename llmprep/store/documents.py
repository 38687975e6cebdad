"""The documents of a store: where each begins and ends in the stream, and which record of which input it is."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, overload

import numpy as np
import numpy.typing as npt

from llmprep.store.provenance import Stretch, number_in_source, stretches_of_store

if TYPE_CHECKING:
    from llmprep.store.schema import Manifest

Places = npt.NDArray[np.int64]
BLOCK = 1 << 16
"""Documents whose places are read at once."""


class ShardedStream(Protocol):
    """What is known of a store, or of a split of it, of which ``first`` is the first token; as `TokenStore` has it."""

    manifest: Manifest
    split: str | None
    first: int

    def __len__(self) -> int: ...

    def shard_starts(self, number: int) -> Places:
        """Return where documents begin in one shard, (documents,) int64."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a store, or the part of it that lies in a split: tokens ``start`` to ``end``, separators excluded.

    ``number`` counts from 0 within the store or split. ``source`` is the name of the input that it is from, ``record``
    its number there from 1 on, records without text counted: the line of JSON Lines, the row, 1 for a text. It is None
    where it is not known: of texts that end-of-text tokens divide, and of inputs with very many gaps.
    """

    number: int
    start: int
    end: int
    source: str
    record: int | None


class Documents(Sequence[Document]):
    """The documents of a store or of a split, in order; each is made when it is asked for.

    Of a document that a split cuts, each split has its part. Opening reads nothing of a store's shards, and of a
    split's those at its ends; what is asked for maps the shard that holds it. Memory does not grow with the documents.

    >>> store.documents()[1]  # doctest: +SKIP
    Document(number=1, start=54, end=97, source='corpus.jsonl', record=3)
    """

    def __init__(self, store: ShardedStream) -> None:
        self._store = store
        shards = store.manifest.shards
        self._firsts: list[int] = np.cumsum([0, *(shard.documents for shard in shards)]).tolist()
        self._begins: list[int] = np.cumsum([0, *(shard.tokens for shard in shards)]).tolist()
        self._gap = int(store.manifest.options.get("separator") == "eot")
        self._stretches = stretches_of_store(store.manifest)
        self._held: tuple[int, Stretch] | None = None
        self._first, self._end = store.first, store.first + len(store)
        self._low: int = 0
        self._high: int = self._firsts[-1]
        if store.split is not None:
            self._low, self._high = self._before(self._first), self._before(self._end)
            if self._low and self._ends(self._low - 1, 1)[0] > self._first:
                self._low -= 1  # one that the split cuts

    def __repr__(self) -> str:
        return f"Documents({len(self):,} of {self._store!r})"

    def __len__(self) -> int:
        return self._high - self._low

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> list[Document]: ...
    def __getitem__(self, index: int | slice) -> Document | list[Document]:
        """Return a document, or a list of those of a slice. Raises IndexError for one that is not there."""
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        try:
            number = range(len(self))[index]
        except IndexError as error:
            raise IndexError(f"document {index} of {len(self)}") from error
        (start,), (end,) = self.spans(number, 1)
        return self._document(number, int(start), int(end))

    def __iter__(self) -> Iterator[Document]:
        """Yield the documents in order; `spans` is the quick way."""
        for first in range(0, len(self), BLOCK):
            starts, ends = self.spans(first, min(BLOCK, len(self) - first))
            for at, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
                yield self._document(first + at, start, end)

    def blocks(self) -> Iterator[Places]:
        """Yield the places at which documents begin, in blocks, each (n,) int64."""
        return (self.spans(first, min(BLOCK, len(self) - first))[0] for first in range(0, len(self), BLOCK))

    def spans(self, first: int, count: int) -> tuple[Places, Places]:
        """Return where ``count`` documents from one on begin and end: two arrays (count,) int64.

        Raises IndexError if they are not all there.
        """
        if not 0 <= first <= first + count <= len(self):
            raise IndexError(f"documents {first} to {first + count} of {len(self)}")
        number = self._low + first
        starts, ends = self._starts(number, number + count), self._ends(number, count)
        return np.maximum(starts, self._first) - self._first, np.minimum(ends, self._end) - self._first

    def number_at(self, position: int) -> int:
        """Return the number of the document that a token is of; a separator is of the document before it, if any.

        Raises IndexError for a token that is not there, or stands before the first document.
        """
        place = range(self._first, self._end)[position]
        number = self._before(place + 1) - 1
        if number < self._low:
            raise IndexError(f"token {position} stands before the first document")
        return number - self._low

    # --- of the whole store -----------------------------------------------------------------------

    def _before(self, place: int) -> int:
        """Return how many documents begin before a place of the store."""
        shard = bisect.bisect_left(self._begins, place) - 1
        if shard < 0:
            return 0
        starts = self._store.shard_starts(shard)
        return self._firsts[shard] + int(np.searchsorted(starts, place - self._begins[shard]))

    def _starts(self, low: int, high: int) -> Places:
        """Return where documents from one number to another begin."""
        parts = []
        while low < high:
            shard = bisect.bisect_right(self._firsts, low) - 1
            end = min(high, self._firsts[shard + 1])
            within = slice(low - self._firsts[shard], end - self._firsts[shard])
            parts.append(self._store.shard_starts(shard)[within] + self._begins[shard])
            low = end
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _ends(self, number: int, count: int) -> Places:
        """Return where documents end: before the separator of the next."""
        after = self._starts(number + 1, min(number + count + 1, self._firsts[-1])) - self._gap
        return after if len(after) == count else np.append(after, self._begins[-1])

    def _document(self, number: int, start: int, end: int) -> Document:
        whole = self._low + number
        in_texts = self._store.manifest.options.get("boundaries") == "text"
        at = self._stretches.holding(self._first + start) if in_texts else self._stretches.beginning(whole)
        if self._held is None or self._held[0] != at:
            self._held = at, self._stretches[at]
        stretch = self._held[1]
        nth = _nth_of_one(stretch) if in_texts else whole - int(self._stretches.documents[at]) + 1
        return Document(number, start, end, stretch.name, None if nth is None else number_in_source(stretch, nth))


def _nth_of_one(stretch: Stretch) -> int | None:
    """Return how many documents with text begin in a stretch, if its source has no more than one up to there."""
    return stretch.n_documents if 0 <= stretch.documents_before + stretch.n_documents <= 1 else None
