"""Ids -> growing contexts, each with the token that comes next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from llmprep.windows.views import Ids


@dataclass(frozen=True, slots=True)
class Pairs:
    """Growing contexts, and the token that comes next after each.

    ``contexts`` (n, context_size) padded on the right, ``lengths`` (n,), ``targets`` (n,), all int64.
    """

    contexts: Ids
    lengths: Ids
    targets: Ids

    def __iter__(self) -> Iterator[tuple[list[int], int]]:
        """Yield each context without its padding, and its target."""
        for context, length, target in zip(self.contexts, self.lengths, self.targets, strict=True):
            yield context[:length].tolist(), int(target)


def grow_pairs(ids: Ids, context_size: int, *, n_windows: int = 1, pad_id: int = 0) -> Pairs:
    """Return n_windows * context_size pairs: for each window in turn, its contexts of 1 to context_size tokens.

    ``ids`` must hold n_windows * context_size + 1 tokens; window k begins at k * context_size. ``pad_id`` fills
    the contexts up to context_size.

    >>> list(grow_pairs(np.array([290, 4920, 2241]), context_size=2))
    [([290], 4920), ([290, 4920], 2241)]
    """
    starts = np.repeat(np.arange(n_windows, dtype=np.int64) * context_size, context_size)
    lengths = np.tile(np.arange(1, context_size + 1, dtype=np.int64), n_windows)
    columns = np.arange(context_size)
    taken = ids[starts[:, None] + columns].astype(np.int64)
    contexts = np.where(columns < lengths[:, None], taken, np.int64(pad_id))
    return Pairs(contexts, lengths, ids[starts + lengths].astype(np.int64))
