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
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from llmprep.pytorch.permutation import Permutation
from llmprep.pytorch.stretches import Layout, Stretch
from llmprep.pytorch.weighing import BLOCK

Places: TypeAlias = npt.NDArray[np.int64]
Found: TypeAlias = tuple[Places, Places]
"""Sources, by their number, and windows of them."""

FEW = 16
"""Places of a block that are worth working the whole block out for."""
MAX_TABLES = 64
"""Blocks that are kept worked out, of 40 KiB each."""


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

    def windows(self, ordinals: Places) -> Places:
        """Return its windows by their places in its own order, which is another in each of its epochs."""
        windows = np.empty_like(ordinals)
        epochs = ordinals // self.n_windows
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            windows[here] = Permutation(self.n_windows, self.seed, epoch)[ordinals[here] - epoch * self.n_windows]
        return windows


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
        self._tables: dict[int, Found] = {}

    def __len__(self) -> int:
        return self.length

    def taken(self, place: int) -> list[int]:
        """Return how many windows of each source stand before a place."""
        passes, within = divmod(place, self.length)
        here = self._stretch(within).taken_at(within)
        return [passes * total + taken for total, taken in zip(self._totals, here, strict=True)]

    def find(self, places: Places) -> Found:
        """Return the numbers of the sources, and the windows of them, that stand at these places, each (B,) int64."""
        passes, within = np.divmod(places, self.length)
        starts = np.array(self._starts, np.int64)
        begun = starts[np.searchsorted(starts, within, "right") - 1]
        firsts = places - (within - begun) % BLOCK
        blocks = np.unique(firsts).tolist()
        if len(places) < FEW * len(blocks):
            return self._windows(*self._ordinals(places, firsts))
        numbers, windows = np.empty_like(places), np.empty_like(places)
        for first in blocks:
            here = firsts == first
            table = self._table(first)
            numbers[here], windows[here] = (column[places[here] - first] for column in table)
        return numbers, windows

    def _ordinals(self, places: Places, firsts: Places) -> Found:
        """Return the same by places in each source's own order."""
        numbers, ordinals = np.empty_like(places), np.empty_like(places)
        for first in np.unique(firsts).tolist():
            here = firsts == first
            layout, before = self._block(first)
            at = places[here] - first
            numbers[here] = layout.sources[at]
            ordinals[here] = before[numbers[here]] + layout.ranks[at]
        return numbers, ordinals

    def _windows(self, numbers: Places, ordinals: Places) -> Found:
        windows = np.empty_like(ordinals)
        for number in np.unique(numbers).tolist():
            here = numbers == number
            windows[here] = self.sources[number].windows(ordinals[here])
        return numbers, windows

    def _block(self, first: int) -> tuple[Layout, Places]:
        """Return the layout of the block that begins at a place, and how many windows of each source come before."""
        stretch = self._stretch(first % self.length)
        return stretch.lay_out((first % self.length - stretch.start) // BLOCK), np.array(self.taken(first), np.int64)

    def _table(self, first: int) -> Found:
        """Work a whole block out, or return what is kept of it."""
        held = self._tables.get(first)
        if held is None:
            layout, before = self._block(first)
            numbers = layout.sources.astype(np.int64)
            held = self._windows(numbers, before[numbers] + layout.ranks)
            if len(self._tables) >= MAX_TABLES:
                self._tables.pop(next(iter(self._tables)), None)
            self._tables[first] = held
        return held

    def _stretch(self, within: int) -> Stretch:
        return self.stretches[bisect.bisect_right(self._starts, within) - 1]
