"""Documents of exactly the same ids, found in bounded memory.

The price, beside the one pass over all ids that hashes them: 8 bytes a document in a temporary file, which is read once
for every `HELD` documents, and each copy is read again, with its original. 10^9 documents take 8 GB there, read 480
times over: half an hour or so, where to hash 10^12 ids takes some three hours of one core. In memory there are never
more than twice `HELD` documents, in some 100 MB.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from llmprep.store.document_hashes import NO_TOKENS, Hashes
from llmprep.store.portions import PORTION, Corpus, Numbers

Chosen = npt.NDArray[np.int64] | npt.NDArray[np.bool_]

HELD = 1 << 21
"""Documents whose hashes are sorted at once."""
READ = 1 << 18
"""Hashes that are read at once."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Documents that are copies of earlier ones: ``numbers`` (k,), and ``originals``, the first one of the same ids.

    ``starts`` and ``ends`` are those of the copies, ``original_ends`` of the originals.
    """

    numbers: Numbers
    originals: Numbers
    starts: Numbers
    ends: Numbers
    original_ends: Numbers


@dataclass(frozen=True, slots=True)
class _Some:
    """Some documents, by number, and their hashes."""

    numbers: Numbers
    hashes: Hashes

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, chosen: Chosen) -> _Some:
        return _Some(self.numbers[chosen], self.hashes[chosen])

    @classmethod
    def join(cls, parts: Sequence[_Some]) -> _Some:
        numbers = [np.empty(0, np.int64), *(part.numbers for part in parts)]
        return cls(np.concatenate(numbers), np.concatenate([np.empty(0, np.uint64), *(part.hashes for part in parts)]))


def find_copies(hashes: BinaryIO, corpus: Corpus, held: int = HELD) -> Iterator[Copies]:
    """Yield every document with tokens that is a copy of an earlier one, once, in no order.

    ``hashes`` holds one of 64 bits, little-endian, for each document, in order. Any will do: those of equal documents
    must be equal, and the fewer others are, the sooner it is done. They decide nothing: ids are compared with ids.
    """
    n_passes = max(1, -(-(corpus.n_documents or 0) // held))
    edges = [number * (1 << 64) // n_passes for number in range(n_passes + 1)]
    for low, high in pairwise(edges):
        parts: list[_Some] = []
        for some in _between(hashes, low, high - 1):
            parts.append(some)
            if sum(map(len, parts)) > 2 * held:  # as where one document is there very often
                parts = [(yield from _settle(parts, corpus))]
        yield from _settle(parts, corpus)


def _between(hashes: BinaryIO, low: int, high: int) -> Iterator[_Some]:
    """Yield the documents whose hashes are in a range, both ends included."""
    hashes.seek(0)
    first = 0
    while data := hashes.read(8 * READ):
        some = np.frombuffer(data, "<u8")
        chosen = np.flatnonzero((some >= np.uint64(low)) & (some <= np.uint64(high)) & (some != NO_TOKENS))
        yield _Some(chosen + first, some[chosen].astype(np.uint64))
        first += len(some)


def _settle(parts: list[_Some], corpus: Corpus) -> Generator[Copies, None, _Some]:
    """Yield what are copies, and empty ``parts``; return the others, of which no two are equal.

    Documents of one hash are compared with the first of them. What is another document all the same is left for the
    next round, with a first one of its own.
    """
    found, kept = _Some.join(parts), list[_Some]()
    parts.clear()
    while len(found):
        found = found[np.argsort(found.hashes, kind="stable")]  # so that the first one stays the first
        is_first = np.concatenate([[True], found.hashes[1:] != found.hashes[:-1]])
        kept.append(found[is_first])
        originals = kept[-1].numbers[np.cumsum(is_first)[~is_first] - 1]
        found = found[~is_first]
        copies, is_copy = _compare(corpus, found.numbers, originals)
        yield copies
        found = found[~is_copy]
    return _Some.join(kept)


def _compare(corpus: Corpus, numbers: Numbers, originals: Numbers) -> tuple[Copies, npt.NDArray[np.bool_]]:
    """Return which documents have the very ids of others, as `Copies` and as (k,) of bool."""
    (starts, ends), (firsts, lasts) = corpus.spans_of(numbers), corpus.spans_of(originals)
    is_copy = ends - starts == lasts - firsts
    candidates = np.flatnonzero(is_copy)
    candidates = candidates[np.argsort(numbers[candidates])]  # as they lie on the disk
    for number in candidates.tolist():
        is_copy[number] = _are_equal(corpus, int(firsts[number]), int(starts[number]), int(ends[number]))
    copies = Copies(*(values[is_copy] for values in (numbers, originals, starts, ends, lasts)))
    return copies, is_copy


def _are_equal(corpus: Corpus, first: int, start: int, end: int) -> bool:
    """Tell whether the ids from ``first`` on are those from ``start`` to ``end``."""
    for place in range(start, end, PORTION):
        count = min(PORTION, end - place)
        if not np.array_equal(corpus.read(first + place - start, count), corpus.read(place, count)):
            return False
    return True
