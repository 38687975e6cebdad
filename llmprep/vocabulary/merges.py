"""Entries and merges -> what merging makes of each entry's own bytes, as the ``tokenizers`` library merges."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

from llmprep.vocabulary.ranks import Ranks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints: TypeAlias = NDArray[np.int64]

NEVER = 2**62
"""The place of a pair that is not listed."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What merging made of the bytes of each entry of two bytes and more: arrays of one length k.

    ``left`` is how many parts were left, 1 where merging made the entry; ``pairs`` (k, 2) the last two parts, merged or
    not, and -1 where more were left; ``places`` where in the list the last merge stands, `NEVER` where there was none.
    """

    ids: Ints
    left: Ints
    pairs: Ints
    places: Ints

    @classmethod
    def none(cls, ids: list[int]) -> Self:
        """Return what is known before any merge: that one part will be left, which is corrected where it is not so."""
        import numpy as np

        count = len(ids)
        return cls(np.array(ids, np.int64), np.ones(count, np.int64), np.full((count, 2), -1), np.full(count, NEVER))


@dataclass(frozen=True, slots=True)
class _Table:
    """The listed pairs as sorted keys, the place of each, and the product of each place."""

    keys: Ints
    places: Ints
    products: Ints

    def find(self, left: Ints, right: Ints) -> Ints:
        """Return where in the list each pair of ids stands, and `NEVER` for one that does not."""
        import numpy as np

        wanted = left << 32 | right
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[at] == wanted, self.places[at], NEVER)


def merge_alone(ranks: Ranks, vocab: dict[str, int], merges: list[list[str]]) -> Merged:
    """Merge the bytes of each entry, whose single bytes are entries too, and return what became of it.

    The library merges the pair that stands first in the list, the leftmost of several, until no pair is listed. All
    entries are merged at once, the longest first: a step is one merge in each, so that all are as long as the next.
    """
    import numpy as np

    table = _tabulate(vocab, merges)
    singles = np.full(256, -1)
    for token, number in ranks.items():
        if len(token) == 1:
            singles[token[0]] = number
    of_bytes = table.find(singles[:, None], singles[None, :])  # (256, 256): half of all that is looked up
    tokens = sorted((token for token in ranks if len(token) > 1), key=len, reverse=True)
    merged = Merged.none([ranks[token] for token in tokens])
    lengths = {length: b"".join(group) for length, group in itertools.groupby(tokens, len)}
    rows, first = _Rows.none(max(lengths, default=1)), 0
    for width in range(rows.parts.shape[1], 1, -1):
        values = np.frombuffer(lengths.get(width, b""), np.uint8).reshape(-1, width)
        begun = np.arange(first, first + len(values))
        rows = rows.joined(_Rows(begun, singles[values], of_bytes[values[:, :-1], values[:, 1:]]))
        rows = _merge_each(rows, merged, table)
        first += len(values)
    return merged


def _tabulate(vocab: dict[str, int], merges: list[list[str]]) -> _Table:
    """Return the table of the listed pairs. Of a pair that is listed twice the library takes the later place."""
    import numpy as np

    if not merges:
        return _Table(*(np.array([number]) for number in (-1, NEVER, -1)))
    count = len(merges)
    left = np.fromiter((vocab[pair[0]] for pair in merges), np.int64, count)
    right = np.fromiter((vocab[pair[1]] for pair in merges), np.int64, count)
    products = np.fromiter((vocab[pair[0] + pair[1]] for pair in merges), np.int64, count)
    keys, backwards = np.unique((left << 32 | right)[::-1], return_index=True)
    return _Table(keys, count - 1 - backwards, products)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Entries that are being merged: their ``numbers`` (m,), parts (m, n), and the place of each pair (m, n - 1)."""

    numbers: Ints
    parts: Ints
    places: Ints

    @classmethod
    def none(cls, width: int) -> Self:
        """Return no row, of so many parts."""
        import numpy as np

        return cls(np.empty(0, np.int64), np.empty((0, width), np.int64), np.empty((0, width - 1), np.int64))

    def joined(self, more: Self) -> Self:
        """Return these rows and others of the same width."""
        import numpy as np

        pairs = ((getattr(self, name), getattr(more, name)) for name in ("numbers", "parts", "places"))
        return type(self)(*map(np.concatenate, pairs))


def _merge_each(rows: _Rows, merged: Merged, table: _Table) -> _Rows:
    """Make one merge in each row; return those in which one was made, shorter by one part, and note what is known."""
    import numpy as np

    width = rows.parts.shape[1]
    if width == 2:
        merged.pairs[rows.numbers] = rows.parts
    at = rows.places.argmin(axis=1)  # the first of equals
    best = rows.places[np.arange(len(at)), at]
    goes = best < NEVER
    merged.left[rows.numbers[~goes]] = width
    numbers = rows.numbers[goes]
    merged.places[numbers] = best[goes]
    products = table.products[best[goes]]
    return _Rows(numbers, *_merge_once(rows.parts[goes], rows.places[goes], at[goes], table, products))


def _merge_once(parts: Ints, places: Ints, at: Ints, table: _Table, made: Ints) -> tuple[Ints, Ints]:
    """Put what is ``made`` in the place of the parts ``at`` and behind it, in each row, and look its pairs up anew."""
    import numpy as np

    every, width = np.arange(len(parts)), parts.shape[1] - 1
    columns = np.arange(width)
    parts = np.take_along_axis(parts, columns + (columns > at[:, None]), axis=1)
    parts[every, at] = made
    columns = columns[:-1]
    places = np.take_along_axis(places, columns + (columns >= at[:, None]), axis=1)
    before, after = at > 0, at < width - 1
    for some, pair in ((before, at - 1), (after, at)):
        row, column = every[some], pair[some]
        places[row, column] = table.find(parts[row, column], parts[row, column + 1])
    return parts, places
