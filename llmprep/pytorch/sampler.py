"""Window numbers in a seeded order, which any number of ranks share and one integer resumes. Imports torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sized
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset, Sampler, Subset

from llmprep.errors import UsageError, shorten
from llmprep.pytorch.permutation import Permutation

CHUNK = 4096
"""Places of the order that are worked out at once."""
Place = tuple[int, int]
"""An epoch, and how many of its windows a rank has taken."""
Identity = dict[str, Any]
"""What a data set is, in plain values: equal only where its windows are."""
NUMBERS = ("seed", "epoch", "start", "n_windows", "world_size")


class WindowSampler(Sampler[int]):
    """Window numbers in a seeded order, in constant memory; the same order for any number of ranks and workers.

    Rank r of w takes places r, r + w, r + 2w, ... of the order that ``seed`` and ``epoch`` decide, so over all ranks
    each window comes exactly once an epoch. ``start`` is how many this rank has taken already: one integer resumes.

    **Passes.** A pass begins when its first window is taken; an iterator that nothing was taken from is none. Each pass
    is the next epoch, from its start, also where the one before was broken off. Passes do not disturb each other, but
    the state is that of the pass begun last: what is evaluated in between needs a loader of its own.

    **set_epoch(e)** says which epoch the next pass is. Called in a pass of that epoch it leaves the pass and its state
    alone: when the pass is through, the next is e + 1; if it is broken off, epoch e begins anew.

    **A given place** (``epoch`` and ``start``, or a state that was loaded) wins over a trainer that counts from 0. The
    number that `set_epoch` is told next to it, before its first window is taken or else first after that, only says
    what the trainer calls the given epoch: x + k is then the given epoch + k. Only a number beyond the given epoch
    leaves it. A place at the end of an epoch is the start of the next.

    **The state** tells what the data set is, and is refused by a sampler of another one, also of one that has as many
    windows. A `WindowDataset` tells it by `WindowDataset.identity`, a Subset or ConcatDataset of some does too, and a
    data set of your own may have such a method. Of anything else only the number of windows is known: its state tells
    ``None``, which a sampler of a data set that does tell refuses.

    **len()** is this rank's windows of a whole epoch, so that ``len(loader)`` is its batches, also after a resume:
    Lightning counts an epoch's batches from its start, those before the resume included, and asks for their number
    once. If it were that of the rest, each later epoch would be cut to it.
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
        if not 0 <= rank < world_size:
            raise UsageError(f"rank {rank}: must be from 0 to world_size - 1 ({world_size - 1})")
        self.n_windows = len(dataset)
        self._dataset: Sized | None = dataset
        self._identity: Identity | None = None
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self._turns = _Turns((epoch, self._checked(start)))

    def __len__(self) -> int:
        return len(range(self.rank, self.n_windows, self.world_size))

    def __iter__(self) -> Iterator[int]:
        return _Pass(self, self._turns)

    def __getstate__(self) -> dict[str, Any]:
        """Travel with what the data set is, and without it."""
        return {**self.__dict__, "_identity": self.identity, "_dataset": None}

    @property
    def identity(self) -> Identity | None:
        """What the data set is, or None where it does not tell; worked out when first asked for."""
        if self._dataset is not None:
            self._identity, self._dataset = _identify(self._dataset), None
        return self._identity

    @property
    def epoch(self) -> int:
        """The epoch of the pass begun last, or, if that is complete, of the next."""
        return _settled(self._turns.place, len(self))[0]

    @property
    def start(self) -> int:
        """How many windows of that epoch this rank has taken."""
        return _settled(self._turns.place, len(self))[1]

    def _checked(self, start: int) -> int:
        if not 0 <= start <= len(self):
            raise UsageError(f"start {start}: this rank takes {len(self)} windows an epoch")
        return start

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next pass is, or what a trainer calls the epoch that was given; see the class."""
        self._turns.call(epoch)

    def state_dict(self, consumed: int | None = None) -> dict[str, Any]:
        """Return where this rank is, to go on from.

        A DataLoader with workers asks ahead: pass how many windows of this epoch were really ``consumed``, those before
        a resume included. Raises `UsageError` if the rank does not take so many. (torchdata's StatefulDataLoader keeps
        count itself: take the state from the loader.)
        """
        epoch, start = self._turns.place
        if consumed is not None:
            start = self._checked(consumed)
        return _state(self, _settled((epoch, start), len(self)))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises `UsageError` for a state of another data set, of another number of windows or of another world.
        """
        for key in NUMBERS:
            if not _is_whole(state.get(key)):
                raise UsageError(f"state: {key} is missing or no whole number; it is no state of a WindowSampler")
        for key in ("n_windows", "world_size"):
            _compare(key, state[key], getattr(self, key))
        _compare_identities(state.get("dataset"), self.identity)
        start = self._checked(state["start"])
        self.seed = state["seed"]
        self._turns.give((state["epoch"], start))


def _identify(dataset: object) -> Identity | None:
    if isinstance(dataset, Subset):
        indices = np.asarray(dataset.indices, "<i8")
        return {"subset_sha256": hashlib.sha256(indices.data).hexdigest(), "of": _identify(dataset.dataset)}
    if isinstance(dataset, ConcatDataset):
        return {"parts": [_identify(part) for part in dataset.datasets]}
    tell = getattr(dataset, "identity", None)
    return dict(tell()) if callable(tell) else None


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _compare(what: str, stated: object, own: object) -> None:
    if stated != own:
        told = f"{what} {shorten(str(stated))}: this sampler has {shorten(str(own))}"
        raise UsageError(f"{told}; the state is another's")


def _compare_identities(stated: object, own: Identity | None) -> None:
    """Raise `UsageError` that names the first thing in which two data sets differ."""
    if stated is None and own is not None:
        raise UsageError(
            "state: does not tell which data set it is of; if it is of this sampler's, put what that is under its key "
            "'dataset': dataset.identity()"
        )
    if isinstance(stated, Mapping) and own is not None:
        for key, value in own.items():
            _compare(key, stated.get(key), value)
    _compare("dataset", stated, own)


def _settled(place: Place, share: int) -> Place:
    """The place itself, or the start of the next epoch for one at the end of an epoch."""
    epoch, start = place
    return (epoch + 1, 0) if start == share > 0 else place


def _state(sampler: WindowSampler, place: Place) -> dict[str, Any]:
    whose = {"n_windows": sampler.n_windows, "world_size": sampler.world_size, "dataset": sampler.identity}
    return {"seed": sampler.seed, "epoch": place[0], "start": place[1], **whose}


class _Turns:
    """Whose turn it is: where the next pass begins, which pass began last, and how a trainer counts epochs."""

    def __init__(self, place: Place) -> None:
        self.upcoming = place
        self.latest: _Pass | None = None
        self._called: int | None = None  # the number that the trainer told last
        self._called_at = place  # where that was
        self._given = place != (0, 0)  # a place is to be kept, until the trainer tells the epoch after it
        self._name: int | None = None  # what the trainer calls the given epoch
        self._ahead = 0  # an epoch less the trainer's number for it

    @property
    def place(self) -> Place:
        """Where the pass begun last is, or, if there is none that counts, where the next begins."""
        return self.upcoming if self.latest is None else (self.latest.epoch, self.latest.taken)

    def give(self, place: Place) -> None:
        """Let the next pass begin at a place that is to be kept."""
        if self.place != self._called_at:
            self._called = None  # that number was for the windows taken since
        self.upcoming, self.latest, self._called_at = place, None, place
        self._given, self._name, self._ahead = True, None, 0

    def begin(self, this: _Pass) -> None:
        """A pass is asked for its first window."""
        if self._given:
            self._name = self._called if self.latest is None else self._name
            if self._name is not None:
                # A loader that is loaded at its end may begin two passes for one number: the second is meant.
                self._ahead = this.epoch - self._name
            self._given = self._name is not None or self.latest is None
        self.latest, self.upcoming = this, (this.epoch + 1, 0)

    def call(self, number: int) -> None:
        """A trainer tells its number of the epoch."""
        here = self.place[0]
        if self._given:
            if self._name is None:
                self._ahead = max(0, here - number)
            self._given = self.latest is None and number <= here
        epoch = number + self._ahead
        if self.latest is not None and epoch == here and not self.latest.complete:
            self.upcoming = (epoch, 0)
        elif self.latest is not None or epoch != here:
            self.latest, self.upcoming = None, (epoch, 0)
        self._called, self._called_at = number, self.place


class _Pass(Iterator[int]):
    """One pass over a rank's part of an epoch, which begins when its first window is taken.

    Its state is its own, whatever other passes do: a StatefulDataLoader asks for it with each batch it draws, and gives
    it back to a new iterator. One given back at the end of its epoch is at its end, as that loader draws from it, and
    drops it, before it makes the iterator of the next epoch.
    """

    def __init__(self, sampler: WindowSampler, turns: _Turns) -> None:
        self._sampler, self._turns = sampler, turns
        self._order: Permutation | None = None
        self._resumed = False
        self._read = 0  # places of the order that were worked out, those before the pass included
        self._ready: list[int] = []  # the windows there that were not taken, the last of them first

    @property
    def taken(self) -> int:
        """How many windows of its epoch are taken, those before a resume included."""
        return self._read - len(self._ready)

    @property
    def complete(self) -> bool:
        """Whether its epoch's last window was taken."""
        return self.taken == len(self._sampler)

    def __next__(self) -> int:
        if not self._ready:
            self._read_on()
        return self._ready.pop()

    def _read_on(self) -> None:
        order = self._order or self._begin()
        of = self._sampler
        places = np.arange(self._read, min(self._read + CHUNK, len(of)))
        if not len(places):
            raise StopIteration
        self._ready = order[places * of.world_size + of.rank].tolist()[::-1]
        self._read += len(places)

    def _begin(self) -> Permutation:
        self.epoch, self._read = self._first()
        self._order = Permutation(self._sampler.n_windows, self._sampler.seed, self.epoch)
        self._turns.begin(self)
        return self._order

    def _first(self) -> Place:
        """Where it begins, if it begins now."""
        latest = self._turns.latest
        place = self._turns.place if latest is not None and latest.complete else self._turns.upcoming
        return place if self._resumed else _settled(place, len(self._sampler))

    def state_dict(self) -> dict[str, Any]:
        """Return where this pass is, or, where it has not begun, where it would."""
        return _state(self._sampler, self._first() if self._order is None else (self.epoch, self.taken))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin where another pass was. Raises as `WindowSampler.load_state_dict` does."""
        self._sampler.load_state_dict(state)
        self._resumed = True
