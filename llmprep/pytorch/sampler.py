"""Window numbers in a seeded order, which any number of ranks share and one integer resumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from dataclasses import replace
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from llmprep.errors import UsageError, plural
from llmprep.pytorch.identity import Identity, compare_identities, compare_values, identify
from llmprep.pytorch.passes import Pass, Turns
from llmprep.pytorch.permutation import Permutation
from llmprep.pytorch.shares import Place, Share

NUMBERS = ("seed", "epoch", "start", "n_windows", "world_size")
"""The whole numbers in a state."""


class WindowSampler(Sampler[int]):
    """Window numbers in a seeded order, in constant memory; the same order for any number of ranks and workers.

    Rank r of w takes places r, r + w, r + 2w, ... of the order that ``seed`` and ``epoch`` decide, so over all ranks
    each window comes exactly once an epoch. ``start`` is how many this rank has taken already: one integer resumes.

    **Passes.** A pass begins when its first window is taken; an iterator that nothing was taken from is none. Each pass
    is the next epoch, from its start, even if the one before was broken off. Passes do not disturb each other, but the
    state is that of the pass begun last: an evaluation in between needs a loader of its own.

    **set_epoch(e)** says which epoch the next pass is. Called in a pass of that epoch it leaves the pass and its state
    alone: when the pass is complete, the next is e + 1; if it is broken off, epoch e begins anew.

    **A given place** (``epoch`` and ``start``, or a state that was loaded) wins over a trainer that counts from 0. The
    number passed to `set_epoch`, the last time before the first window is taken there or else the first time after,
    only says what the trainer calls the given epoch: if that is x, then x + k is the given epoch + k. Only a number
    beyond the given epoch leaves it. A place at the end of an epoch is the start of the next.

    **The state** says what the data set is: a sampler of another data set refuses it, even if that has as many windows.
    A `WindowDataset` says it by `WindowDataset.identity`, a Subset or ConcatDataset by its parts, and a data set of
    your own may have such a method. Of anything else only the number of windows is known: its state says ``None``,
    which a sampler whose data set has an identity refuses.

    **len()** is this rank's windows of a whole epoch, also after a resume, so that ``len(loader)`` is its batches:
    Lightning counts an epoch's batches from its start, those before the resume included, and asks for their number
    once. If it were the number of those left, each later epoch would be cut to it.

    >>> sampler = WindowSampler(range(10), seed=1)
    >>> sorted(sampler) == list(range(10))
    True
    >>> sampler
    WindowSampler(10 windows, seed 1, epoch 1, start 0, rank 0 of 1)
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
        numbers = {"seed": seed, "epoch": epoch, "rank": rank, "world_size": world_size, "start": start}
        for name, value in numbers.items():
            if not _is_whole(value):
                raise UsageError(f"{name} {value!r:.40}: must be a whole number")
        seed, epoch, rank, world_size, start = map(int, numbers.values())  # what numpy counted cannot go into JSON
        if not 0 <= rank < world_size:
            raise UsageError(f"rank {rank}: must be from 0 to world_size - 1 ({world_size - 1})")
        self.n_windows = len(dataset)
        self._dataset: Sized | None = dataset
        self._identity: Identity | None = None
        self.seed = seed
        self.share = Share(self.n_windows, rank, world_size)
        self._turns = Turns(Place(epoch, self._checked(start)))

    def __repr__(self) -> str:
        place = f"epoch {self.epoch}, start {self.start:,}, rank {self.rank} of {self.world_size}"
        return f"{type(self).__name__}({plural(self.n_windows, 'window')}, seed {self.seed}, {place})"

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]  # torch's classes add noise

    def __len__(self) -> int:
        return len(self.share)

    def __iter__(self) -> Iterator[int]:
        return Pass(self, self._turns)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle what the data set is, and not the data set."""
        return {**self.__dict__, "_identity": self.identity, "_dataset": None}

    @property
    def rank(self) -> int:
        """Which of the ranks this one is, from 0 on."""
        return self.share.rank

    @property
    def world_size(self) -> int:
        """How many ranks share an epoch out."""
        return self.share.world_size

    @property
    def identity(self) -> Identity | None:
        """What the data set is, or None where it does not tell; worked out when first asked for."""
        if self._dataset is not None:
            self._identity, self._dataset = identify(self._dataset), None
        return self._identity

    @property
    def epoch(self) -> int:
        """The epoch of the pass begun last, or, if that is complete, of the next."""
        return self.share.settle(self._turns.place).epoch

    @property
    def start(self) -> int:
        """How many windows of that epoch this rank has taken."""
        return self.share.settle(self._turns.place).start

    def _checked(self, start: int) -> int:
        if not 0 <= start <= len(self):
            raise UsageError(f"start {start}: this rank takes {len(self)} windows an epoch")
        return int(start)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next pass is, or what a trainer calls the epoch that was given; see the class."""
        self._turns.set_number(epoch)

    def state_dict(self, consumed: int | None = None) -> dict[str, Any]:
        """Return where this rank is, in plain values, to go on from.

        A DataLoader with workers reads ahead: pass how many windows of this epoch were really ``consumed``, those
        before a resume included. Raises `UsageError` if the rank does not take that many. (torchdata's
        StatefulDataLoader keeps count itself: take the state from the loader.)
        """
        place = self._turns.place
        if consumed is not None:
            place = replace(place, start=self._checked(consumed))
        return self.state_at(self.share.settle(place))

    def state_at(self, place: Place) -> dict[str, Any]:
        """Return the state of this rank at a place."""
        where = self.share.describe(place)
        return {"seed": self.seed, **where, "n_windows": self.n_windows, "dataset": self.identity}

    def order(self, epoch: int) -> Permutation:
        """Return the order of an epoch, of which the ranks take their shares."""
        return Permutation(self.n_windows, self.seed, epoch)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises `UsageError` for a state of another data set, of another number of windows or of another world.
        """
        for key in NUMBERS:
            if not _is_whole(state.get(key)):
                raise UsageError(f"state: {key} is missing or no whole number; it is not the state of a WindowSampler")
        for key in ("n_windows", "world_size"):
            compare_values(key, state[key], getattr(self, key))
        compare_identities(state.get("dataset"), self.identity)
        place = self.share.find(state)
        self.seed = int(state["seed"])
        self._turns.give(place)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
