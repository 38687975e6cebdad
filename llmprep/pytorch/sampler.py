"""Window numbers in a seeded order, which any number of ranks share and one integer resumes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sized
from dataclasses import replace
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from llmprep.errors import UsageError, plural
from llmprep.pytorch.identity import Identity, compare_identities, compare_values, identify
from llmprep.pytorch.passes import Pass, Turns
from llmprep.pytorch.shares import Place, Share
from llmprep.pytorch.sharing import refuse_second_sharing
from llmprep.windows.permutation import Permutation

NUMBERS = ("seed", "epoch", "start", "n_windows", "world_size", "place")
"""The whole numbers in a state; ``place`` may be missing, as it was in the first of them."""


class WindowSampler(Sampler[int]):
    """Window numbers in a seeded order, in constant memory; the same order for any number of ranks and workers.

    Rank r of w takes places r, r + w, r + 2w, ... of the order that ``seed`` and ``epoch`` decide, so over all ranks
    each window comes once an epoch, but for those `left_out`. ``start`` is how many this rank has taken already: one
    integer resumes.

    **Even shares.** Where one rank has a batch more than the others, it waits for them for ever. ``even``, the default
    where ``world_size > 1``, gives each rank as many windows: an epoch ends with the last batch of ``batch_size``, that
    of one rank's loader, that is whole for all ranks. So it leaves out the last of its order, at most
    ``world_size * batch_size - 1`` windows, which is warned of once, in rank 0. Give the ``batch_size``, and a loader's
    drop_last has nothing to drop. Without it at most ``world_size - 1`` are left out, the last batch is smaller, for
    each rank alike, and drop_last drops it from each, uncounted. ``even=False`` leaves out none.

    **Another number of ranks** goes on from the same state: it tells how far the order was taken, if all ranks have
    taken as many windows, as they have between two batches. Load one rank's state, rank 0's, in all of them. The places
    from there on are shared out anew, in this epoch and those to come, so no window comes twice and none is lost but
    those that either share leaves out. ``start`` then counts on from what each of the old ranks had taken. With another
    ``batch_size``, too, the last batch of that one epoch may be smaller, for all ranks alike.

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

    def __init__(  # noqa: PLR0913 - the numbers that trainers have, each by its name
        self,
        dataset: Sized,
        *,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
        batch_size: int = 1,
        even: bool | None = None,
    ) -> None:
        numbers = {"seed": seed, "epoch": epoch, "rank": rank, "world_size": world_size, "start": start}
        numbers["batch_size"] = batch_size
        for name, value in numbers.items():
            if not _is_whole(value):
                raise UsageError(f"{name} {value!r:.40}: must be a whole number")
        if even not in (True, False, None):
            raise UsageError(f"even {even!r:.40}: must be True, False or None")
        # What numpy counted cannot go into JSON.
        self.seed, epoch, rank, world_size, start, batch_size = map(int, numbers.values())
        self.n_windows = len(dataset)
        self._dataset: Sized | None = dataset
        self._identity: Identity | None = None
        self.share = Share(self.n_windows, rank, world_size, batch_size, world_size > 1 if even is None else even)
        self._turns = Turns(Place(epoch, self.share.check(start)))
        if rank == 0 and self.left_out:
            warnings.warn(_say_left_out(self.share), stacklevel=2)

    def __repr__(self) -> str:
        place = f"epoch {self.epoch}, start {self.start:,}, rank {self.rank} of {self.world_size}"
        return f"{type(self).__name__}({plural(self.n_windows, 'window')}, seed {self.seed}, {place})"

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]  # torch's classes add noise

    def __len__(self) -> int:
        return len(self.share)

    def __iter__(self) -> Iterator[int]:
        if self.world_size > 1:
            refuse_second_sharing(self.world_size)
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
    def left_out(self) -> int:
        """How many windows at the end of each epoch's order no rank takes, so that all have as many batches."""
        return self.n_windows - self.share.end()

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
            place = replace(place, start=self.share.check(consumed, self._turns.began))
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

        The state may be of another number of ranks; see the class. Raises `UsageError` for one of another data set or
        of another number of windows.
        """
        if not isinstance(state, Mapping):
            raise UsageError(f"state: {state!r:.40} is not the state of a WindowSampler")
        for key in NUMBERS:
            if not _is_whole(state.get(key, 0 if key == "place" else None)):
                raise UsageError(f"state: {key} is missing or no whole number; it is not the state of a WindowSampler")
        compare_values("n_windows", state["n_windows"], self.n_windows)
        compare_identities(state.get("dataset"), self.identity)
        place = self.share.find(state)
        self.seed = int(state["seed"])
        self._turns.give(place)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _say_left_out(share: Share) -> str:
    ranks, windows = plural(share.world_size, "rank"), plural(share.n_windows, "window")
    batches = f"batches of {share.batch_size}" if share.batch_size > 1 else "windows"
    if not share.end():
        each = f" with {batches}" if share.batch_size > 1 else ""
        return f"no batch: {ranks}{each} need more than {windows}; even=False shares them out unevenly"
    n_left = share.n_windows - share.end()
    are = "is" if n_left == 1 else "are"
    why = f"{ranks} get as many {batches}" if share.world_size > 1 else f"each batch has {share.batch_size}"
    return f"the last {n_left} of an epoch's {windows} {are} left out, so that {why}; even=False keeps them"
