"""Where the documents of a store, a file or a stream begin, for many rows at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from llmprep.output.mapping import map_file
from llmprep.output.temporary import temporary_file
from llmprep.store.reading import TokenStore
from llmprep.windows.documents import KnownStarts, Places

NONE: Places = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class StoreStarts:
    """Where documents begin in a store, or in its split; ``begins`` are the first tokens of the store's shards.

    Only the shards are touched that hold the rows which are asked for.
    """

    store: TokenStore
    begins: Places

    @classmethod
    def of(cls, store: TokenStore) -> StoreStarts:
        """Return those of a store; nothing is read."""
        return cls(store, np.cumsum([0, *(shard.tokens for shard in store.manifest.shards[:-1])]))

    def gather(self, firsts: Places, width: int, opens: int) -> tuple[Places, Places, Places]:
        """Return the tokens of rows, (B, width) int64, and where parts begin in them, as `KnownStarts.within` does."""
        low = self._shard_of(firsts)
        if (low != self._shard_of(firsts + (width - 1 + opens))).any():
            return self.store.gather(firsts, width), *self.within(firsts + opens, width)
        return self._take(low, firsts + self.store.first - self.begins[low], width, opens)

    def within(self, firsts: Places, width: int) -> tuple[Places, Places]:
        """Return where documents begin within rows, and how many in each.

        A document without tokens may stand at the end of the shard before the one that its place is in.
        """
        low, high = self._shard_of(firsts), self._shard_of(firsts + (width - 1))
        found = []
        for first, *shards in zip((firsts + self.store.first).tolist(), low.tolist(), high.tolist(), strict=True):
            parts = [NONE]
            for shard in range(shards[0], shards[1] + 1):
                before, starts = first - int(self.begins[shard]), self.store.shard_starts(shard)
                parts.append(starts[slice(*starts.searchsorted((before + 1, before + width)))] - before)
            found.append(np.concatenate(parts))
        return np.concatenate([NONE, *found]), np.array([len(places) for places in found], np.int64)

    def _shard_of(self, places: Places) -> Places:
        """Return the shards that hold some places of the store or split."""
        return self.begins.searchsorted(places + self.store.first, "right") - 1

    def _take(self, shards: Places, firsts: Places, width: int, opens: int) -> tuple[Places, Places, Places]:
        """Return what `gather` does, of rows that lie in one shard each, from ``firsts`` on in it."""
        order = shards.argsort(kind="stable")
        bounds, of, at = (
            (firsts[:, None] + np.array((1 + opens, width + opens)))[order],
            shards.tolist(),
            firsts.tolist(),
        )
        tokens = np.empty((len(of), width), np.int64)
        found: list[Places] = [NONE] * len(of)
        done = 0
        for shard, group in groupby(order.tolist(), of.__getitem__):
            numbers, ids, starts = list(group), self.store.shard(shard), self.store.shard_starts(shard)
            ends = starts.searchsorted(bounds[done : done + len(numbers)]).tolist()
            for number, (first, end) in zip(numbers, ends, strict=True):
                tokens[number] = ids[at[number] : at[number] + width]
                found[number] = starts[first:end]
            done += len(numbers)
        counts = np.array([len(places) for places in found], np.int64)
        return tokens, np.concatenate([NONE, *found]) - (firsts + opens).repeat(counts), counts


def hold_starts(blocks: Iterable[Places]) -> KnownStarts:
    """Read where documents begin, in blocks (n,), into an unnamed temporary file, and return it mapped.

    Raises `OutputError` where it has no room.
    """
    with temporary_file() as file:
        size = sum(file.write(np.ascontiguousarray(block, "<i8").data) for block in blocks)
        file.flush()
        return KnownStarts(np.frombuffer(map_file(file), "<i8") if size else NONE)
