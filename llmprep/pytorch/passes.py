"""Passes over an order, and where each of them begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from llmprep.pytorch.shares import Place, Share

PLACES_AT_ONCE = 4096
"""Places of the order that are worked out at once."""


class Order(Protocol):
    """An order of windows, of which any part can be had."""

    def __getitem__(self, places: npt.NDArray[np.int64], /) -> npt.NDArray[np.int64]:
        """Return the numbers of the windows at these places, (n,) int64 for (n,) int64."""


class Ordered(Protocol):
    """What a `Pass` goes over: an order of windows for each epoch, a rank's share of it, and states that tell a place.

    A `WindowSampler` is one. Its states are plain values; `Share.describe` and `Share.find` write and read the part of
    them that is a place.
    """

    @property
    def share(self) -> Share:
        """The rank's share, the same in each epoch."""

    def order(self, epoch: int) -> Order:
        """Return the order of an epoch's windows, the same for all ranks; called once a pass."""

    def state_at(self, place: Place) -> dict[str, Any]:
        """Return the state of a rank that is at this place."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken: `Turns.give` the place that it tells."""


class Turns:
    """Where the next pass begins, which pass began last, and how a trainer counts epochs.

    A place that was given (when the sampler was made, or with a state) is kept although a trainer counts from 0, until
    the trainer sets the epoch after it. The class `WindowSampler` says how.
    """

    def __init__(self, place: Place) -> None:
        self.upcoming = place
        self.latest: Pass | None = None
        self._number: int | None = None  # the epoch that the trainer set last
        self._number_at = place  # the place at which it did
        self._keeps = place != Place()  # whether a given place is still to be kept
        self._given_number: int | None = None  # the trainer's number for the given epoch
        self._ahead = 0  # an epoch less the trainer's number for it

    @property
    def place(self) -> Place:
        """Where the pass begun last is, or, if there is none that counts, where the next begins."""
        return self.upcoming if self.latest is None else self.latest.place

    @property
    def began(self) -> Place:
        """Where the pass begun last began, or, if there is none that counts, where the next begins."""
        return self.upcoming if self.latest is None else self.latest.began

    def give(self, place: Place) -> None:
        """Let the next pass begin at a place that is to be kept."""
        if self.place != self._number_at:
            self._number = None  # that number was for the windows taken since
        self.upcoming, self.latest, self._number_at = place, None, place
        self._keeps, self._given_number, self._ahead = True, None, 0

    def begin(self, begun: Pass) -> None:
        """Note a pass that is asked for its first window."""
        if self._keeps:
            self._given_number = self._number if self.latest is None else self._given_number
            if self._given_number is not None:
                # A loader that is loaded at its end may begin two passes for one number: the second is meant.
                self._ahead = begun.epoch - self._given_number
            self._keeps = self._given_number is not None or self.latest is None
        self.latest, self.upcoming = begun, Place(begun.epoch + 1)

    def set_number(self, number: int) -> None:
        """Note the number by which a trainer calls the next epoch, or the one under way."""
        here = self.place.epoch
        if self._keeps:
            if self._given_number is None:
                self._ahead = max(0, here - number)
            self._keeps = self.latest is None and number <= here
        epoch = number + self._ahead
        if self.latest is not None and epoch == here and not self.latest.complete:
            self.upcoming = Place(epoch)
        elif self.latest is not None or epoch != here:
            self.latest, self.upcoming = None, Place(epoch)
        self._number, self._number_at = number, self.place


class Pass(Iterator[int]):
    """One pass over a rank's share of an epoch, which begins when its first window is taken.

    Its state is its own, whatever other passes do: a StatefulDataLoader asks for it with each batch it draws, and gives
    it back to a new iterator. One given back at the end of its epoch is at its end, as that loader draws from it, and
    drops it, before it makes the iterator of the next epoch.
    """

    def __init__(self, ordered: Ordered, turns: Turns) -> None:
        self._ordered, self._turns = ordered, turns
        self._order: Order | None = None
        self.began = Place()  # where it did, once it has
        self._resumed = False
        self._read = 0  # windows of the epoch that were worked out, those before the pass included
        self._ready: list[int] = []  # the windows there that were not taken, the last of them first

    @property
    def epoch(self) -> int:
        """The epoch that it is a pass over, once it has begun."""
        return self.began.epoch

    @property
    def place(self) -> Place:
        """Where it is, once it has begun."""
        return replace(self.began, start=self._read - len(self._ready))

    @property
    def complete(self) -> bool:
        """Whether its epoch's last window was taken."""
        return self._ordered.share.is_over(self.place)

    def __next__(self) -> int:
        if not self._ready:
            self._read_on()
        return self._ready.pop()

    def _read_on(self) -> None:
        order, share = self._order or self._begin(), self._ordered.share
        shift = self.began.shift
        turns = np.arange(self._read, min(self._read + PLACES_AT_ONCE, share.count(shift)))
        if not len(turns):
            raise StopIteration
        self._ready = order[turns * share.world_size + (shift + share.rank)].tolist()[::-1]
        self._read += len(turns)

    def _begin(self) -> Order:
        self.began = self._first()
        self._read = self.began.start
        self._order = self._ordered.order(self.epoch)
        self._turns.begin(self)
        return self._order

    def _first(self) -> Place:
        """Return where it begins, if it begins now."""
        latest = self._turns.latest
        place = self._turns.place if latest is not None and latest.complete else self._turns.upcoming
        return place if self._resumed else self._ordered.share.settle(place)

    def state_dict(self) -> dict[str, Any]:
        """Return where this pass is, or, where it has not begun, where it would."""
        return self._ordered.state_at(self._first() if self._order is None else self.place)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin where another pass was. Raises as `WindowSampler.load_state_dict` does."""
        self._ordered.load_state_dict(state)
        self._resumed = True
