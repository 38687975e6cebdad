"""Entries and merges -> what merging makes of each entry's own bytes, as the ``tokenizers`` library merges."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

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

    The library merges the pair that stands first in the list, the leftmost of several, until no pair is listed. Entries
    of one length are merged at once: a step is one merge in each of them, so that all are shorter by one part.
    """
    import numpy as np

    table = _tabulate(vocab, merges)
    singles = np.full(256, -1)
    for token, number in ranks.items():
        if len(token) == 1:
            singles[token[0]] = number
    of_bytes = table.find(singles[:, None], singles[None, :])  # (256, 256): half of all that is looked up
    found: list[tuple[Any, ...]] = []
    for length, group in itertools.groupby(sorted((t for t in ranks if len(t) > 1), key=len), len):
        tokens = list(group)
        rows = np.frombuffer(b"".join(tokens), np.uint8).reshape(-1, length)
        ids = np.fromiter((ranks[token] for token in tokens), np.int64, len(tokens))
        found.append((ids, *_merge_rows(singles[rows], of_bytes[rows[:, :-1], rows[:, 1:]], table)))
    if not found:
        none = np.empty(0, np.int64)
        return Merged(none, none, none.reshape(0, 2), none)
    return Merged(*map(np.concatenate, zip(*found, strict=True)))


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


def _merge_rows(parts: Ints, places: Ints, table: _Table) -> tuple[Ints, Ints, Ints]:
    """Merge rows of ids (m, n), whose pairs stand at ``places`` (m, n - 1), to the end.

    Returns how many parts are left (m,), the last two (m, 2), and the last place (m,), as `Merged` has them.
    """
    import numpy as np

    count, width = parts.shape
    left, pairs, last = np.ones(count, np.int64), np.full((count, 2), -1), np.full(count, NEVER)
    rows = np.arange(count)
    while width > 1 and len(rows):
        if width == 2:
            pairs[rows] = parts
        at = places.argmin(axis=1)  # the first of equals
        best = places[np.arange(len(rows)), at]
        goes = best < NEVER
        left[rows[~goes]] = width
        rows, parts, places, at, best = (values[goes] for values in (rows, parts, places, at, best))
        last[rows] = best
        parts, places = _merge_once(parts, places, at, table, table.products[best])
        width -= 1
    return left, pairs, last


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
