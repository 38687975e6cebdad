"""What a run of so many steps takes of each store of a mixture, and what steps of it saw; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from llmprep.choices import Exhausted
from llmprep.errors import UsageError
from llmprep.pytorch.mixing import Forward, Mixing, Source
from llmprep.pytorch.steps import SeenWindow, Taken, find_table, see_windows, take_steps
from llmprep.pytorch.stretches import lay_stretches
from llmprep.pytorch.weighing import BLOCK, Wanted, weigh
from llmprep.store.reading import TokenStore
from llmprep.windows.counts import require_windows
from llmprep.windows.planning import Goal
from llmprep.windows.schedule import Sampling, Schedule

Weights: TypeAlias = Mapping[str, Fraction | float]


def mix_stores(
    stores: Mapping[str, TokenStore],
    weights: Weights,
    sampling: Sampling,
    exhausted: Exhausted = "repeat",
) -> Mixing:
    """Return the sequence of a `WindowMixture` of these stores, or splits of stores, by their names and weights.

    Raises as that does: `UsageError` for weights that make no sense, and for stores of two vocabularies, `DataError`
    for one without a window.
    """
    names = sorted(stores)
    for one, other in pairwise(names):
        if not (stores[one].refers.is_same(stores[other].refers) or stores[other].refers.is_same(stores[one].refers)):
            raise UsageError(f"{one} and {other}: are of two vocabularies; a mixture has one")
    length, stride = sampling.max_length, sampling.stride
    sizes = {name: require_windows(len(stores[name]), length, stride, str(stores[name].folder)) for name in names}
    terms = weigh(Wanted(weights, (), exhausted), sizes, length)
    sources = [
        Source.of(name, sizes[name], seed=sampling.seed, content=(store.content_sha256, store.first))
        for name, store in stores.items()
    ]
    return Mixing(sources, lay_stretches(terms, sampling.seed))


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What a run takes of one source: windows, each counted as often as it is taken, and how many epochs that is.

    ``share`` is its part of the first block. ``used_up`` is the place of the pass at which it has no more windows and
    the others share its weight, None where that does not come.
    """

    name: str
    share: Fraction
    n_windows: int
    epochs: Fraction
    used_up: int | None


@dataclass(frozen=True, slots=True)
class MixturePlan:
    """A run of ``n_steps`` over a mixture. An epoch of its schedule is a pass over the sequence."""

    max_length: int
    schedule: Schedule
    n_steps: int
    sources: Sequence[SourcePlan]

    @property
    def n_windows(self) -> int:
        """Windows that the steps take."""
        return self.schedule.windows_in(self.n_steps)

    @property
    def n_tokens(self) -> int:
        """Targets in these windows."""
        return self.n_windows * self.max_length

    @property
    def passes(self) -> Fraction:
        """How often the steps go through the windows that a pass takes."""
        return Fraction(self.n_windows, self.schedule.windows_per_epoch)


def plan_mixture(mixing: Mixing, sampling: Sampling, goal: Goal) -> MixturePlan:
    """Plan a run over a mixture. Raises `UsageError` where a pass has no step."""
    schedule = sampling.schedule_of(mixing.length)
    schedule.require_steps("mixture")
    n_steps = goal.steps_of(schedule, sampling.max_length)
    passes, more = divmod(schedule.windows_in(n_steps), schedule.windows_per_epoch)
    of_pass, of_rest = mixing.taken(schedule.windows_per_epoch), mixing.taken(more)
    sources = []
    for number, source in enumerate(mixing.sources):
        taken = passes * of_pass[number] + of_rest[number]
        share = Fraction(mixing.stretches[0].counts[number], BLOCK)
        epochs = Fraction(taken, source.n_windows)
        sources.append(SourcePlan(source.name, share, taken, epochs, _used_up(mixing, number)))
    return MixturePlan(sampling.max_length, schedule, n_steps, sources)


def _used_up(mixing: Mixing, number: int) -> int | None:
    """Return where a source, of which there was some before, is in no further block."""
    later = [stretch for stretch in mixing.stretches if stretch.before[number]]
    return next((stretch.start for stretch in later if not stretch.counts[number]), None)


def take_mixture(mixing: Mixing, sampling: Sampling, steps: tuple[int, int], epoch: int | None = None) -> list[Taken]:
    """Return the windows that steps took, as `take_steps` does; an ``epoch`` is a pass."""
    schedule = sampling.schedule_of(mixing.length)
    schedule.require_steps("mixture")
    taken = list(take_steps(schedule, steps, epoch, lambda number: Forward(number * mixing.length)))
    numbers, windows = mixing.find(np.array([each.window for each in taken], np.int64))
    found = zip(taken, numbers.tolist(), windows.tolist(), strict=True)
    return [each._replace(source=mixing.sources[number].name, window=window) for each, number, window in found]


def see_mixture(
    stores: Mapping[str, TokenStore], taken: Sequence[Taken], sampling: Sampling, table: Mapping[int, bytes] | None
) -> list[SeenWindow]:
    """Return where windows of a mixture are from, in their order, as `see_windows` does for one store."""
    seen: dict[Taken, SeenWindow] = {}
    for name, store in stores.items():
        of_store = [each for each in taken if each.source == name]
        seen |= dict(zip(of_store, see_windows(store, of_store, sampling, table), strict=True))
    return [seen[each] for each in taken]


def trace_mixture(
    stores: Mapping[str, TokenStore],
    weights: Weights,
    sampling: Sampling,
    steps: tuple[int, int],
    *,
    exhausted: Exhausted = "repeat",
    epoch: int | None = None,
) -> list[SeenWindow]:
    """Return what steps of a run over a mixture saw, as `trace_steps` does; an ``epoch`` is a pass over its sequence.

    Stores, or splits of them, and weights are by the names that they had in the `WindowMixture`.
    """
    taken = take_mixture(mix_stores(stores, weights, sampling, exhausted), sampling, steps, epoch)
    return see_mixture(stores, taken, sampling, find_table(next(iter(stores.values()))))
