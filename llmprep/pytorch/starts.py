"""Where the documents of a store, a file or a stream begin, for many rows at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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

    def within(self, firsts: Places, width: int) -> tuple[Places, Places]:
        """Return where documents begin within rows, and how many in each.

        A document without tokens may stand at the end of the shard before the one that its place is in.
        """
        firsts = firsts + self.store.first
        shards = np.searchsorted(self.begins, firsts, "right") - 1
        n_shards = np.searchsorted(self.begins, firsts + (width - 1), "right") - shards
        rows = np.repeat(np.arange(len(firsts)), n_shards)
        if len(rows) > len(firsts):
            shards = np.arange(len(rows)) - np.repeat(np.cumsum(n_shards) - n_shards - shards, n_shards)
            firsts = firsts[rows]
        firsts -= self.begins[shards]
        found = self._find(shards.tolist(), np.stack((firsts + 1, firsts + width), axis=1))
        counts = np.array([len(places) for places in found], np.int64)
        places = np.concatenate(found) if found else NONE.copy()
        places -= np.repeat(firsts, counts)
        return places, counts if len(rows) == len(n_shards) else np.bincount(rows, counts).astype(np.int64)

    def _find(self, shards: list[int], bounds: Places) -> list[Places]:
        """Return, for each of some shards, where documents begin in it from the one bound on and before the other."""
        asked: dict[int, list[int]] = {}
        for number, shard in enumerate(shards):
            asked.setdefault(shard, []).append(number)
        found: list[Places] = [NONE] * len(shards)
        for shard, numbers in asked.items():
            starts = self.store.shard_starts(shard)
            for number, (first, end) in zip(numbers, starts.searchsorted(bounds[numbers]).tolist(), strict=True):
                found[number] = starts[first:end]
        return found


def hold_starts(blocks: Iterable[Places]) -> KnownStarts:
    """Read where documents begin, in blocks (n,), into an unnamed temporary file, and return it mapped.

    Raises `OutputError` where it has no room.
    """
    with temporary_file() as file:
        size = sum(file.write(np.ascontiguousarray(block, "<i8").data) for block in blocks)
        file.flush()
        return KnownStarts(np.frombuffer(map_file(file), "<i8") if size else NONE)
