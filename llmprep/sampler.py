"""Window numbers in a seeded order, which any number of ranks share and one integer resumes. Imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
from torch.utils.data import Sampler

from llmprep.errors import UsageError
from llmprep.permutation import Permutation

CHUNK = 4096
"""Places of the order that are worked out at once."""


class WindowSampler(Sampler[int]):
    """Window numbers in a seeded order, in constant memory; the same order for any number of ranks and workers.

    Rank r of w takes places r, r + w, r + 2w, ... of the order that ``seed`` and ``epoch`` decide, so over all ranks
    each window comes exactly once an epoch. ``start`` is how many this rank has taken already: one integer resumes.

    Each iteration is a pass of its own, whatever others do meanwhile: the first begins at ``epoch`` and ``start``, each
    later one at the start of the next epoch, also where the one before was broken off. State is that of the pass begun
    last, so what is evaluated in between needs a loader of its own.
    """

    def __init__(
        self,
        dataset: Sized,
        *,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
    ) -> None:
        if not 0 <= rank < world_size:
            raise UsageError(f"rank {rank}: must be from 0 to world_size - 1 ({world_size - 1})")
        self.n_windows = len(dataset)
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self._passes = 0
        self._place(epoch, self._checked(start))

    def _place(self, epoch: int, start: int) -> None:
        """Let the next pass begin here; passes under way no longer count for the state."""
        self._passes += 1
        self._begun = False
        self._epoch, self._first, self._taken = epoch, start, start

    @property
    def _share(self) -> int:
        return len(range(self.rank, self.n_windows, self.world_size))

    @property
    def _complete(self) -> bool:
        return self._begun and self._taken == self._share

    @property
    def epoch(self) -> int:
        """The epoch of the pass begun last, or, if that is complete, of the next."""
        return self._epoch + self._complete

    @property
    def start(self) -> int:
        """How many windows of that epoch this rank has taken."""
        return 0 if self._complete else self._taken

    def _checked(self, start: int) -> int:
        if not 0 <= start <= self._share:
            raise UsageError(f"start {start}: this rank takes {self._share} windows an epoch")
        return start

    def __len__(self) -> int:
        """Windows of the pass begun last; before and after it, of the next. It does not shrink on the way."""
        return self._share - (0 if self._complete else self._first)

    def __iter__(self) -> Iterator[int]:
        if self._begun:
            self._place(self._epoch + 1, 0)
        self._begun = True
        return self._walk(self._passes, self._epoch, self._first)

    def _walk(self, number: int, epoch: int, taken: int) -> Iterator[int]:
        order = Permutation(self.n_windows, self.seed, epoch)
        for first in range(taken, self._share, CHUNK):
            places = np.arange(first, min(first + CHUNK, self._share))
            for window in order[places * self.world_size + self.rank].tolist():
                taken += 1
                if number == self._passes:
                    self._taken = taken
                yield window

    def set_epoch(self, epoch: int) -> None:
        """Begin at the start of an epoch, as torch's DistributedSampler does; a place loaded in that epoch is kept."""
        if self._begun or epoch != self._epoch:
            self._place(epoch, 0)

    def state_dict(self, consumed: int | None = None) -> dict[str, int]:
        """Return where this rank is, to go on from.

        A DataLoader with workers asks ahead: pass how many windows of this epoch were really ``consumed``, those before
        a resume included. Raises `UsageError` if the rank does not take so many.
        """
        epoch, start = self.epoch, self.start
        if consumed is not None:
            epoch, start = self._epoch, self._checked(consumed)
            if start == self._share:
                epoch, start = epoch + 1, 0
        whose = {"n_windows": self.n_windows, "world_size": self.world_size}
        return {"seed": self.seed, "epoch": epoch, "start": start, **whose}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where `state_dict` was taken. Raises `UsageError` for a state of other windows or another world."""
        for key in ("n_windows", "world_size"):
            if state[key] != getattr(self, key):
                raise UsageError(f"{key} {state[key]}: this sampler has {getattr(self, key)}; the state is another's")
        start = self._checked(state["start"])
        self.seed = state["seed"]
        self._place(state["epoch"], start)
