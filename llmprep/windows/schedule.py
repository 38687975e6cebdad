"""Steps and epochs: which places of an epoch's order each step takes, and which windows are in none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from llmprep.errors import UsageError, plural
from llmprep.windows.counts import check_size, check_window, count_windows


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which windows a training run takes, as its data set, its sampler and its loader were told.

    ``max_length`` and ``stride`` cut the windows, of which each of ``ranks`` takes ``batch_size`` a step, in the order
    of a `WindowSampler` of this ``seed``. More than one rank share evenly, in whole steps only; one rank does where
    ``drop_last`` says so. Raises `UsageError` for a size that is not allowed.
    """

    max_length: int
    stride: int
    batch_size: int = 1
    ranks: int = 1
    drop_last: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_window(self.max_length, self.stride)
        check_size("batch_size", self.batch_size)
        check_size("ranks", self.ranks)

    def schedule(self, n_tokens: int) -> Schedule:
        """Return how many of the windows of so many tokens a step takes, and an epoch."""
        return self.schedule_of(count_windows(n_tokens, self.max_length, self.stride))

    def schedule_of(self, n_windows: int) -> Schedule:
        """Return the same for so many windows."""
        return Schedule(n_windows, self.batch_size, self.ranks, self.drop_last or self.ranks > 1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How ``ranks`` ranks take ``n_windows`` windows an epoch, each ``batch_size`` of them a step.

    Rank r takes places r, r + ranks, r + 2 ranks, ... of an epoch's order, so step k of all ranks (from 0 on, within
    its epoch) takes the places from k * windows_per_step on. With ``whole`` steps, the windows that are too few for one
    are left out at the end of the epoch, as even shares of ranks leave them out; else they are a smaller last step.

    >>> even = Schedule(17, batch_size=2, ranks=4)
    >>> even.windows_per_step, even.steps_per_epoch, even.left_out
    (8, 2, 1)
    """

    n_windows: int
    batch_size: int
    ranks: int = 1
    whole: bool = True

    @property
    def windows_per_step(self) -> int:
        """Windows that all ranks together take a step."""
        return self.batch_size * self.ranks

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""
        return self.windows_per_epoch // self.windows_per_step + (self.last_windows < self.windows_per_step)

    @property
    def windows_per_epoch(self) -> int:
        """Windows that an epoch takes."""
        return self.n_windows - self.left_out

    @property
    def left_out(self) -> int:
        """Windows that are in no step of an epoch: less than `windows_per_step`, other ones in each epoch's order."""
        return self.n_windows % self.windows_per_step if self.whole else 0

    @property
    def last_windows(self) -> int:
        """Windows of an epoch's last step."""
        return self.windows_per_epoch % self.windows_per_step or self.windows_per_step

    def require_steps(self, name: str) -> None:
        """Raise `UsageError`, which says how many windows ``name`` has, unless an epoch has a step."""
        if not self.steps_per_epoch:
            each = f"{plural(self.ranks, 'rank')} with batches of {self.batch_size:,}"
            raise UsageError(
                f"{name}: {plural(self.n_windows, 'window')}; {each} take {self.windows_per_step:,} a step, so an "
                f"epoch has no whole step"
            )

    def span(self, step: int) -> tuple[int, int, int]:
        """Return the epoch of a step, counted from 0 over all epochs, and the places it takes: the first, and the end.

        >>> Schedule(10, batch_size=4, whole=False).span(5)
        (1, 8, 10)
        """
        epoch, at = divmod(step, self.steps_per_epoch)
        first = at * self.windows_per_step
        return epoch, first, min(first + self.windows_per_step, self.windows_per_epoch)

    def windows_in(self, n_steps: int) -> int:
        """Return how many windows the first steps take, each counted as often as it is taken."""
        epochs, more = divmod(n_steps, self.steps_per_epoch)
        return epochs * self.windows_per_epoch + more * self.windows_per_step

    def steps_for_windows(self, n_windows: int) -> int:
        """Return the least number of steps that take so many windows, or more."""
        epochs, more = divmod(n_windows, self.windows_per_epoch)
        return epochs * self.steps_per_epoch + -(-more // self.windows_per_step)

    def steps_for_epochs(self, epochs: Fraction | int) -> int:
        """Return the least number of steps that are so many epochs, or more.

        >>> Schedule(10, batch_size=3).steps_for_epochs(Fraction("1.5"))
        5
        """
        return self.steps_for_windows(math.ceil(epochs * self.windows_per_epoch))
