"""Ids -> growing contexts, each with the token that comes next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from llmprep.errors import plural
from llmprep.windows.views import Ids

BLOCK_IDS = 1 << 17
"""How many numbers the blocks of a file have: 1 MiB of int64."""


class Parts(Protocol):
    """Ids (n,), an array or what lies elsewhere, that are taken a part at a time."""

    def __getitem__(self, part: slice, /) -> Any:
        """Return the ids of a part, an array (n,)."""


@dataclass(frozen=True, slots=True, repr=False)
class Pairs:
    """n_windows * context_size pairs: for each window in turn, its contexts of 1 to context_size tokens, with targets.

    ``ids`` hold n_windows * context_size + 1 tokens; window k begins at k * context_size. Nothing is grown until it is
    asked for, and then in parts: all together take context_size times the memory of the ids.

    >>> pairs = Pairs(np.array([290, 4920, 2241]), context_size=2)
    >>> list(pairs)
    [([290], 4920), ([290, 4920], 2241)]
    >>> pairs
    Pairs(2 pairs, contexts of up to 2 tokens, 1 window)
    """

    ids: Parts
    context_size: int
    n_windows: int = 1
    pad_id: int = 0

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self.n_windows * self.context_size

    def __repr__(self) -> str:
        pairs, windows = plural(len(self), "pair"), plural(self.n_windows, "window")
        return f"Pairs({pairs}, contexts of up to {plural(self.context_size, 'token')}, {windows})"

    def __iter__(self) -> Iterator[tuple[list[int], int]]:
        """Yield each context without padding, and its target."""
        size = self.context_size
        step = max(1, BLOCK_IDS // size) * size
        for first in range(0, len(self), step):
            ids = self.ids[first : min(first + step, len(self)) + 1].tolist()
            for start in range(0, len(ids) - 1, size):
                for end in range(start + 1, start + size + 1):
                    yield ids[start:end], ids[end]

    def contexts(self, block_ids: int = BLOCK_IDS) -> Iterator[Ids]:
        """Yield the contexts, (n, context_size) int64, each padded with ``pad_id`` on the right, in flat blocks."""
        size = self.context_size
        for numbers in self._numbers(max(1, block_ids // size)):
            lengths = numbers % size + 1
            starts = numbers + 1 - lengths
            for left in range(0, size, block_ids):  # a row of more than a block is several
                columns = np.arange(left, min(left + block_ids, size))
                first = int(starts[0]) + left
                part = self.ids[first : int(starts[-1]) + left + len(columns)]
                taken = part[(starts - first)[:, None] + columns].astype(np.int64)
                yield np.where(columns < lengths[:, None], taken, np.int64(self.pad_id)).reshape(-1)

    def lengths(self, block_ids: int = BLOCK_IDS) -> Iterator[Ids]:
        """Yield the lengths of the contexts, (n,) int64, in blocks."""
        return (numbers % self.context_size + 1 for numbers in self._numbers(block_ids))

    def targets(self, block_ids: int = BLOCK_IDS) -> Iterator[Ids]:
        """Yield the targets, (n,) int64, in blocks: as windows touch, they are the ids from the second on."""
        for start in range(1, len(self) + 1, block_ids):
            yield self.ids[start : min(start + block_ids, len(self) + 1)].astype(np.int64)

    def _numbers(self, step: int) -> Iterator[Ids]:
        """Yield the numbers of the pairs, ``step`` at a time."""
        return (np.arange(k, min(k + step, len(self)), dtype=np.int64) for k in range(0, len(self), step))
