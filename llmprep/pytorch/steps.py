"""Steps of a training run -> the windows that they saw, and the files, documents and bytes that these are from.

Nothing here needs torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from llmprep.errors import UsageError, plural
from llmprep.pytorch.passes import Order
from llmprep.store.provenance import Place
from llmprep.store.reading import TokenStore
from llmprep.store.tracing import trace_runs
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.windows.counts import require_windows
from llmprep.windows.permutation import Permutation
from llmprep.windows.schedule import Sampling, Schedule

MOST_WINDOWS = 250_000
"""Windows that are looked back at in one go; a minute's work and some 200 MB."""


class Taken(NamedTuple):
    """A window that a step took, as row ``row`` of the batch of rank ``rank``; of ``source`` in a mixture, else None.

    Steps count from 1, as most trainers print them, as they were asked for: over all epochs, or within one. Epochs,
    ranks, rows and windows count from 0.
    """

    step: int
    epoch: int
    rank: int
    row: int
    source: str | None
    window: int


@dataclass(frozen=True, slots=True)
class SeenWindow:
    """A window that a step took, as `Taken` says, and where its tokens are from, the last target included.

    ``first`` is its first token in the store, or in the split that was trained on.
    """

    step: int
    epoch: int
    rank: int
    row: int
    source: str | None
    window: int
    first: int
    places: Sequence[Place]


def take_steps(
    schedule: Schedule, steps: tuple[int, int], epoch: int | None, order: Callable[[int], Order]
) -> Iterator[Taken]:
    """Yield the windows that the steps from one to another took, both included, step by step and rank by rank.

    ``order`` gives the order of each epoch, from epoch 0 on. Steps count from 1 over all epochs or, with an ``epoch``,
    within it. Raises `UsageError` for steps that there are not, and for more than `MOST_WINDOWS`.
    """
    first, last = steps
    if not 1 <= first <= last:
        raise UsageError(f"steps {first} to {last}: are counted from 1 on, and the first comes first")
    if epoch is not None and (epoch < 0 or last > schedule.steps_per_epoch):
        raise UsageError(f"epoch {epoch}, step {last}: an epoch has {plural(schedule.steps_per_epoch, 'step')}")
    before = (epoch or 0) * schedule.steps_per_epoch
    n_windows = schedule.windows_in(before + last) - schedule.windows_in(before + first - 1)
    if n_windows > MOST_WINDOWS:
        raise UsageError(f"steps {first} to {last}: {n_windows:,} windows; ask for {MOST_WINDOWS:,} or fewer at a time")
    for step in range(first, last + 1):
        of_epoch, begin, end = schedule.span(before + step - 1)
        windows = order(of_epoch)[np.arange(begin, end)].tolist()
        for rank in range(schedule.ranks):
            for row, window in enumerate(windows[rank :: schedule.ranks]):
                yield Taken(step, of_epoch, rank, row, None, window)


def take_windows(
    store: TokenStore, sampling: Sampling, steps: tuple[int, int], epoch: int | None = None
) -> list[Taken]:
    """Return the windows of a store, or of a split of it, that steps took, in the order of a `WindowSampler`.

    Raises as `trace_steps` does.
    """
    name = str(store.folder)
    require_windows(len(store), sampling.max_length, sampling.stride, name)
    schedule = sampling.schedule(len(store))
    schedule.require_steps(name)
    return list(
        take_steps(schedule, steps, epoch, lambda number: Permutation(schedule.n_windows, sampling.seed, number))
    )


def see_windows(
    store: TokenStore, taken: Sequence[Taken], sampling: Sampling, table: Mapping[int, bytes] | None
) -> list[SeenWindow]:
    """Return where windows of a store, or of a split of it, are from; bytes only with the ``table`` of each id's."""
    whole = store if store.split is None else TokenStore(store.folder, check=False)
    firsts = [each.window * sampling.stride for each in taken]
    runs = trace_runs(whole, [store.first + first for first in firsts], sampling.max_length + 1, table)
    return [SeenWindow(*each, first, places) for each, first, places in zip(taken, firsts, runs, strict=True)]


def trace_steps(
    store: TokenStore,
    sampling: Sampling,
    steps: tuple[int, int],
    *,
    epoch: int | None = None,
    vocab_dir: str | os.PathLike[str] | None = None,
) -> list[SeenWindow]:
    """Return what the steps from one to another saw, both included: each window of each rank, and where it is from.

    ``store`` is the store, or the split of it, that was trained on. Steps count from 1 over all epochs, from epoch 0
    on, or within an ``epoch``. Raises `UsageError` for steps that there are not, `DataError` where there is no window,
    and `VocabularyError` where the vocabulary that tells the bytes of the ids is not at hand.
    """
    taken = take_windows(store, sampling, steps, epoch)
    return see_windows(store, taken, sampling, find_table(store, vocab_dir))


def find_table(store: TokenStore, vocab_dir: str | os.PathLike[str] | None = None) -> dict[int, bytes] | None:
    """Return the bytes of each id of a store, None where they do not tell those of a text.

    Raises `VocabularyError` where the vocabulary is not at hand.
    """
    vocabulary = load_vocabulary(store.refers, vocab_dir)
    return vocabulary.token_table() if vocabulary.loses == "nothing" else None
