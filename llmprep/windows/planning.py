"""What a run of so many steps, tokens or epochs takes of a stream: windows, epochs, and what is lost."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from llmprep.errors import UsageError
from llmprep.windows.contexts import Contexts, count_contexts
from llmprep.windows.counts import require_windows
from llmprep.windows.coverage import Coverage, cover
from llmprep.windows.schedule import Sampling, Schedule

ID_BYTES = 8
"""A batch is int64."""


@dataclass(frozen=True, slots=True)
class Goal:
    """How long a run is: so many steps, or the least number of them with so many tokens or epochs; else one epoch.

    ``tokens`` counts targets, as trainers do. Raises `UsageError` for two of them, or for one that is not positive.
    """

    steps: int | None = None
    tokens: int | None = None
    epochs: Fraction | int | None = None

    def __post_init__(self) -> None:
        given = {"steps": self.steps, "tokens": self.tokens, "epochs": self.epochs}
        chosen = [name for name, value in given.items() if value is not None]
        if len(chosen) > 1:
            raise UsageError(f"{' and '.join(chosen)}: each says how long a run is; leave out all but one")
        for name in chosen:
            if (given[name] or 0) <= 0:
                raise UsageError(f"{name} {given[name]}: must be larger than 0")

    def steps_of(self, schedule: Schedule, max_length: int) -> int:
        """Return how many steps it takes, with windows of so many targets; an epoch of the schedule has a step."""
        if self.steps is not None:
            return self.steps
        if self.tokens is not None:
            return schedule.steps_for_windows(-(-self.tokens // max_length))
        return schedule.steps_for_epochs(1 if self.epochs is None else self.epochs)


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run of ``n_steps`` over the windows of one stream. Windows and tokens are counted each time they are taken."""

    max_length: int
    stride: int
    coverage: Coverage
    schedule: Schedule
    n_steps: int

    @property
    def n_windows(self) -> int:
        """Windows that the steps take."""
        return self.schedule.windows_in(self.n_steps)

    @property
    def n_tokens(self) -> int:
        """Targets in these windows: the tokens that a model is trained on."""
        return self.n_windows * self.max_length

    @property
    def epochs(self) -> Fraction:
        """How often the steps go through the windows that an epoch takes."""
        return Fraction(self.n_windows, self.schedule.windows_per_epoch)

    def contexts(self) -> list[Contexts]:
        """Return how many targets of one pass over all windows have a context of 1, 2, 3 to 4, 5 to 8, ... tokens."""
        return list(count_contexts(self.coverage.n_tokens, self.max_length, self.stride))


def batch_bytes(batch_size: int, max_length: int) -> int:
    """Return the bytes of a batch of one rank: inputs and targets, (batch_size, max_length) int64 each."""
    return 2 * batch_size * max_length * ID_BYTES


def plan_run(n_tokens: int, sampling: Sampling, goal: Goal, name: str = "ids") -> RunPlan:
    """Plan a run over a stream of ``n_tokens``, which errors call ``name``.

    Raises `DataError` where there is no window, `UsageError` where an epoch has no step.

    >>> planned = plan_run(100_001, Sampling(100, 50, batch_size=8, ranks=2), Goal(epochs=3))
    >>> planned.n_steps, planned.n_windows, planned.schedule.left_out
    (372, 5952, 15)
    """
    max_length, stride = sampling.max_length, sampling.stride
    require_windows(n_tokens, max_length, stride, name)
    schedule = sampling.schedule(n_tokens)
    schedule.require_steps(name)
    n_steps = goal.steps_of(schedule, max_length)
    return RunPlan(max_length, stride, cover(n_tokens, max_length, stride), schedule, n_steps)
