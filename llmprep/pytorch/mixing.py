"""Which source, and which of its windows, stands at a place of a mixture: arithmetic, in constant memory.

The sequence is cut into *stretches*: one begins where a stage does, and where a source runs out whose weight the others
share from there on. A stretch is a row of blocks of `BLOCK` windows, the last of them cut where the stretch ends. In
each block every source has the same count; the order of the block is a keyed permutation of the block's slots, of which
a source's follow each other. The windows of a source are taken in an order of its own, whatever the others do, so that
item k is found by its stretch, its block, and how often its source came before it.
"""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from llmprep.pytorch.stretches import Layout, Stretch
from llmprep.pytorch.weighing import BLOCK
from llmprep.windows.permutation import Permutation, find_things

Places: TypeAlias = npt.NDArray[np.int64]
Found: TypeAlias = tuple[Places, Places]
"""Sources, by their number, and windows of them."""

DENSE = 16
"""Places that are this far apart or nearer are likely to be followed by the others of their block."""
KEPT = 32
"""Blocks that are kept worked out, of 80 KiB each."""


@dataclass(frozen=True, slots=True)
class Source:
    """One of the sources of a mixture: its name, its windows, and the seed of its own order of them."""

    name: str
    n_windows: int
    seed: int

    @classmethod
    def of(cls, name: str, n_windows: int, *, seed: int, content: tuple[str, int]) -> Source:
        """Return a source whose seed follows from the mixture's, its name and what it is.

        ``content`` is the hash of its ids, and its first token in them: that of a split. Neither the other sources nor
        their order change its own order.
        """
        key = json.dumps(["llmprep mixture", seed, name, *content])
        return cls(name, n_windows, int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little"))


@dataclass(frozen=True, slots=True)
class Forward:
    """The order of a pass: its places as they come, counted on from those of the passes before."""

    first: int

    def __getitem__(self, places: Places) -> Places:
        """Return the places in the whole sequence, (n,) int64."""
        return places + self.first


class Mixing:
    """The one sequence of a mixture: its stretches, its sources in the order of their names, and its length.

    A place beyond the length is one of a further pass: the stretches come again in the same order of sources, and each
    source goes on in its own order where the pass before left it.
    """

    def __init__(self, sources: Iterable[Source], stretches: Iterable[Stretch]) -> None:
        self.sources = sorted(sources, key=lambda source: source.name)
        self.stretches = list(stretches)
        self.length = self.stretches[-1].end
        self._starts = [stretch.start for stretch in self.stretches]
        self._totals = self.stretches[-1].taken_at(self.length)
        self._sizes = np.array([source.n_windows for source in self.sources], np.int64)
        self._tables: dict[int, Found] = {}
        self._blocks: dict[int, tuple[Layout, Places]] = {}

    def taken(self, place: int) -> list[int]:
        """Return how many windows of each source stand before a place."""
        passes, within = divmod(place, self.length)
        here = self._stretch(within).taken_at(within)
        return [passes * total + taken for total, taken in zip(self._totals, here, strict=True)]

    def find(self, places: Places) -> Found:
        """Return the numbers of the sources, and the windows of them, that stand at these places, each (B,) int64.

        Of a block from which many places are likely to be asked for, one batch after the other, all are worked out.
        """
        if not len(places):
            return places, places
        low, high = int(places.min()), int(places.max())
        dense = high - low < DENSE * len(places)
        first, end = self._bounds(low)
        if dense and high < end:
            at = places - first
            of_source, windows = self._table(first)
            return of_source[at], windows[at]
        numbers, found = np.empty_like(places), np.empty_like(places)
        for first, here in self._divide(places):
            at = places[here] - first
            if dense:
                of_source, windows = self._table(first)
                numbers[here], found[here] = of_source[at], windows[at]
            else:
                layout, before = self._block(first)
                numbers[here] = layout.sources[at]
                found[here] = before[numbers[here]] + layout.ranks[at]
        return numbers, found if dense else self._windows(numbers, found)

    def _divide(self, places: Places) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
        """Yield the first place of each block that some places are in, and which of them are."""
        rest = places
        while len(rest):
            first, end = self._bounds(int(rest.min()))
            yield first, (places >= first) & (places < end)
            rest = rest[rest >= end]

    def _bounds(self, place: int) -> tuple[int, int]:
        """Return where the block of a place begins and ends."""
        passes, within = divmod(place, self.length)
        stretch = self._stretch(within)
        first = place - (within - stretch.start) % BLOCK
        return first, min(first + BLOCK, passes * self.length + stretch.end)

    def _windows(self, numbers: Places, ordinals: Places) -> Places:
        """Return the windows of sources by their places in each source's own order, another in each of its epochs."""
        sizes = self._sizes[numbers]
        epochs, places = np.divmod(ordinals, sizes)
        keys, which = np.unique(epochs * len(self.sources) + numbers, return_inverse=True)
        orders = []
        for epoch, number in (divmod(key, len(self.sources)) for key in keys.tolist()):
            source = self.sources[number]
            orders.append(Permutation(source.n_windows, source.seed, epoch))
        return find_things(orders, which, places)

    def _block(self, first: int) -> tuple[Layout, Places]:
        """Return the layout of the block that begins at a place, and how many windows of each source come before."""
        held = self._blocks.get(first)
        if held is None:
            stretch = self._stretch(first % self.length)
            layout = stretch.lay_out((first % self.length - stretch.start) // BLOCK)
            held = layout, np.array(self.taken(first), np.int64)
            _keep(self._blocks, first, held)
        return held

    def _table(self, first: int) -> Found:
        """Work a whole block out, or return what is kept of it."""
        held = self._tables.get(first)
        if held is None:
            layout, before = self._block(first)
            numbers = layout.sources.astype(np.int64)
            held = numbers, self._windows(numbers, before[numbers] + layout.ranks)
            _keep(self._tables, first, held)
        return held

    def _stretch(self, within: int) -> Stretch:
        return self.stretches[bisect.bisect_right(self._starts, within) - 1]


def _keep(kept: dict[int, Any], key: int, value: object) -> None:
    """Keep a value with those of the last `KEPT` keys."""
    if len(kept) >= KEPT:
        kept.pop(next(iter(kept)), None)
    kept[key] = value
