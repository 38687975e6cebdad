"""Which windows of an epoch each rank takes, and where a rank is, also after the number of ranks has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmprep.errors import UsageError


@dataclass(frozen=True, slots=True)
class Place:
    """An epoch, and how many of its windows a rank has taken, those before a resume included.

    The rank's window k stands at place ``k * world_size + shift + rank`` of the epoch's order. ``shift`` is 0 but in an
    epoch in which the number of ranks has changed.
    """

    epoch: int = 0
    start: int = 0
    shift: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """A rank's part of each epoch of ``n_windows``: of each ``world_size`` that stand in a row, the one numbered rank.

    An ``even`` share is as large for each rank, so that all have as many batches. It ends with the last batch of
    ``batch_size`` that is whole for all of them, and so leaves out at most ``world_size * batch_size - 1`` windows, the
    last of the epoch's order. One that is not even leaves out none. Raises `UsageError` for a rank that there is not.

    >>> [len(Share(17, rank, world_size=4)) for rank in range(4)]
    [5, 4, 4, 4]
    >>> [len(Share(39, rank, world_size=4, batch_size=4, even=True)) for rank in range(4)]
    [8, 8, 8, 8]
    """

    n_windows: int
    rank: int = 0
    world_size: int = 1
    batch_size: int = 1
    even: bool = False

    def __post_init__(self) -> None:
        if self.world_size < 1:
            raise UsageError(f"world_size {self.world_size}: must be at least 1")
        if not 0 <= self.rank < self.world_size:
            raise UsageError(f"rank {self.rank}: must be from 0 to world_size - 1 ({self.world_size - 1})")
        if self.batch_size < 1:
            raise UsageError(f"batch_size {self.batch_size}: must be at least 1")

    def __len__(self) -> int:
        return self.count()

    def count(self, shift: int = 0) -> int:
        """Return how many windows of an epoch are the rank's, in one with a shift those before the change included."""
        return len(range(self.rank + shift, self.end(shift), self.world_size))

    def end(self, shift: int = 0) -> int:
        """Return the place of the order at which an epoch ends for all ranks.

        In one with a shift that may be within a batch of ``batch_size``, but is as far on for each rank.
        """
        if not self.even:
            return self.n_windows
        whole = self.n_windows - self.n_windows % (self.world_size * self.batch_size)
        end = whole + (shift - whole) % self.world_size
        return end if end <= self.n_windows else end - self.world_size

    def is_over(self, place: Place) -> bool:
        """Whether the rank has taken all windows of the place's epoch."""
        return place.start >= self.count(place.shift)

    def settle(self, place: Place) -> Place:
        """Return the place itself, or the start of the next epoch for one at the end of an epoch.

        >>> share = Share(10)
        >>> share.settle(Place(2, 9)), share.settle(Place(2, 10))
        (Place(epoch=2, start=9, shift=0), Place(epoch=3, start=0, shift=0))
        """
        return Place(place.epoch + 1) if place.start and self.is_over(place) else place

    def check(self, start: int, began: Place | None = None) -> int:
        """Return a number of windows taken. Raises `UsageError` for one that an epoch that began there cannot have."""
        began = began or Place()
        least, most = began.start if began.shift else 0, self.count(began.shift)
        if not least <= start <= most:
            taken = f" and had taken {least} when the number of ranks changed" if least else ""
            raise UsageError(f"start {start}: this rank takes {most} windows an epoch{taken}")
        return int(start)

    def describe(self, place: Place) -> dict[str, int]:
        """Return a place in plain values, for a state that `find` reads, also for another number of ranks.

        ``place`` is the first in the epoch's order that no rank has taken, if all have taken ``start`` windows, as
        they have between two batches; at the end of an epoch it is ``n_windows``, whatever was left out.
        """
        position = place.start * self.world_size + place.shift
        return {
            "epoch": place.epoch,
            "start": place.start,
            "world_size": self.world_size,
            "place": self.n_windows if place.start and self.is_over(place) else position,
        }

    def find(self, state: Mapping[str, Any]) -> Place:
        """Return where a rank goes on that is given this state, of this number of ranks or another.

        A state without ``place`` has it from ``start`` and ``world_size``. Raises `UsageError` for one that is outside
        the epoch.
        """
        epoch, start, world_size = (int(state[key]) for key in ("epoch", "start", "world_size"))
        position = int(state.get("place", start * world_size))
        if world_size < 1:
            raise UsageError(f"state: world_size {world_size}: must be at least 1")
        if start < 0 or not 0 <= position < self.n_windows + world_size:
            raise UsageError(f"state: start {start}, place {position}: an epoch has {self.n_windows} windows")
        return Place(epoch, start, min(position, self.n_windows) - start * self.world_size)
