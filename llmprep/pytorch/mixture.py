"""Several data sets -> one, in which each has its share of the windows."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from llmprep.errors import plural, visible_name
from llmprep.pytorch.batches import WindowBatch
from llmprep.pytorch.documents import DocumentBatch
from llmprep.pytorch.mixing import Mixing
from llmprep.pytorch.mixture_rows import MixedRows
from llmprep.pytorch.mixture_sampler import MixtureSampler
from llmprep.pytorch.mixture_sources import open_sources, read_sources, source_of
from llmprep.pytorch.rows import Places
from llmprep.pytorch.shares import Share
from llmprep.pytorch.stretches import MAX_LENGTH, lay_stretches
from llmprep.pytorch.weighing import BLOCK, Wanted, weigh, whole_number


class WindowMixture(Dataset[Any]):
    """Windows of several sources in one sequence, each source with its share of them; item k is that of place k.

    An item is (input, target), each (max_length,) int64, or with ``documents=True`` a dict, as of a `WindowDataset`;
    `WindowMixture.sampler` gives the places in order, to any number of ranks. All is arithmetic: no list of windows is
    made, so a mixture of 10**12 windows opens at once, and goes on at any place at once.

    ``sources`` names each source: ``{"web": (source, 0.7), "code": (source, 0.3)}``. A source is what `WindowDataset`
    takes, which is opened with ``max_length``, ``stride`` and further ``choices`` of that class, such as
    ``split="train"``; a `TokenStore`, or a split of one; or a `WindowDataset`. All windows are of one length, so shares
    of windows are shares of tokens, and of one vocabulary.

    **Weights** are proportions. In each block of 4,096 windows every source has its exact share of them, rounded by
    largest remainder, in an order that ``seed`` and the place of the block decide. So shares are multiples of 1/4096,
    as `stages` tells them, and a smaller one is refused. A source's own windows come in an order that ``seed``, its
    name and its content decide, another in each of its epochs: it is the same whatever the other sources are.

    **stages** are ``[(from_window, {name: weight}), ...]``: other weights from a window on, 0 for a name that is left
    out. Each source goes on where it was.

    **exhausted** says what comes where a source's windows are all taken. "repeat" begins its next epoch, so the weights
    hold everywhere and no window is left out; `epochs` tells how often each source is gone through. "stop" ends the
    sequence before the first window that would be a source's second time. "drop" goes on with the others, which share
    its weight, to the end of the last: each window comes once.

    **target_tokens** as a number is the length of the whole. As ``{name: tokens}`` it is a budget: a source that has
    one beside its weight is taken by weight until its budget is reached, in as many epochs as it takes; then, whatever
    ``exhausted`` says, the others share its weight. A source with a budget alone needs no weight, ``{"code": source}``.
    Those share, in proportion to their budgets, what the weights of the others, as shares of the whole, leave; the
    sequence ends when all of these budgets are reached. Tokens are those of inputs, rounded up to whole windows.

    **len()** is that of one pass: up to its target where it has one. Else with "repeat" the last stage goes on until
    each of its sources was gone through in it or has reached its budget; with the others, until they end. A place
    beyond the length is one of the next pass: the same stages again, each source going on in its own order.

    Pickles as a `WindowDataset` does. Raises `UsageError` for what makes no sense, as a stage that is never reached.

    >>> web, code = np.arange(5000), np.arange(3000)
    >>> mixture = WindowMixture({"web": (web, 0.7), "code": (code, 0.3)}, max_length=4)
    >>> mixture
    WindowMixture(code 0.3, web 0.7: 2,573 windows of 4, seed 0, 'repeat')
    >>> mixture.locate([0, 1, 2])
    [('code', 137), ('web', 1236), ('web', 708)]
    """

    def __init__(  # noqa: PLR0913 - what a mixture is, in words that its callers name
        self,
        sources: Mapping[str, Any],
        max_length: int | None = None,
        stride: int | None = None,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        exhausted: str = "repeat",
        stages: Sequence[tuple[int, Mapping[str, Any]]] = (),
        target_tokens: float | Mapping[str, float] | None = None,
        **choices: Any,
    ) -> None:
        found, weights = read_sources(sources)
        self.seed = whole_number("seed", seed)
        self.rank, self.world_size = whole_number("rank", rank), whole_number("world_size", world_size)
        Share(0, self.rank, self.world_size)  # which refuses a rank that there is not
        self.sources = open_sources(found, max_length, stride, choices)
        self.wanted = Wanted(weights, stages, exhausted, target_tokens)
        self._blend()

    def _blend(self) -> None:
        """Lay the sequence out, by what was asked for."""
        sizes = {name: len(dataset) for name, dataset in self.sources.items()}
        terms = weigh(self.wanted, sizes, self.max_length)
        self._mixing = Mixing(
            (source_of(name, dataset, self.seed) for name, dataset in self.sources.items()),
            lay_stretches(terms, self.seed),
        )
        self._rows = MixedRows(list(self.sources.values()))

    @property
    def max_length(self) -> int:
        """Tokens of an input, and of a target."""
        return next(iter(self.sources.values())).max_length

    @property
    def n_windows(self) -> int:
        """How many windows a pass has: the length."""
        return self._mixing.length

    @property
    def exhausted(self) -> str:
        """What comes where a source's windows are all taken: ``repeat``, ``stop`` or ``drop``."""
        return self.wanted.exhausted

    @property
    def stages(self) -> list[tuple[int, dict[str, int]]]:
        """From which window on each source has how many of 4,096: what was asked for, and what follows from it."""
        return [
            (stretch.start, {name: count for name, count in zip(self.sources, stretch.counts, strict=True) if count})
            for stretch in self._mixing.stretches
        ]

    def epochs(self, place: int | None = None) -> dict[str, float]:
        """Return how often each source is gone through before a place, or in a whole pass: 1.5 is one and a half."""
        taken = self._mixing.taken(self.n_windows if place is None else int(self._checked([place])[0]))
        return {name: n / len(self.sources[name]) for name, n in zip(self.sources, taken, strict=True)}

    def locate(self, places: Sequence[int]) -> list[tuple[str, int]]:
        """Return for each place its source, and the number of the window in that: ``mixture.sources[name][number]``."""
        names = list(self.sources)
        numbers, windows = self._mixing.find(self._checked(places))
        return [(names[number], window) for number, window in zip(numbers.tolist(), windows.tolist(), strict=True)]

    def sampler(
        self,
        *,
        rank: int | None = None,
        world_size: int | None = None,
        batch_size: int = 1,
        even: bool | None = None,
    ) -> MixtureSampler:
        """Return the places of this rank in order, for a DataLoader; rank and world_size are the mixture's own if None.

        With several ranks, ``batch_size`` is that of the loader: all ranks get as many whole batches.
        """
        rank, world_size = self.rank if rank is None else rank, self.world_size if world_size is None else world_size
        return MixtureSampler(self, rank=rank, world_size=world_size, batch_size=batch_size, even=even)

    def identity(self) -> dict[str, Any]:
        """Return what this sequence is, in plain values: those of two mixtures are equal only where this is."""
        sources = {name: dataset.identity() for name, dataset in self.sources.items()}
        stages = [[start, counts] for start, counts in self.stages]
        return {"seed": self.seed, "n_windows": self.n_windows, "sources": sources, "stages": stages}

    def __repr__(self) -> str:
        counts = self._mixing.stretches[0].counts
        shares = [f"{visible_name(name)} {n / BLOCK:.3g}" for name, n in zip(self.sources, counts, strict=True)]
        what = f"{plural(len(self), 'window')} of {self.max_length}, seed {self.seed}, {self.exhausted!r}"
        later = f", {plural(len(self.stages), 'stage')}" if len(self.stages) > 1 else ""
        return f"{type(self).__name__}({', '.join(shares)}: {what}{later})"

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_mixing", "_rows")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._blend()

    def __len__(self) -> int:
        return self.n_windows

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]  # torch's classes add noise

    def __iter__(self) -> Iterator[Any]:
        """Yield the windows of a pass."""
        return (self[place] for place in range(len(self)))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            batch = self.__getitems__(range(*index.indices(len(self))))
            return batch.collated() if isinstance(batch, DocumentBatch) else (batch.inputs, batch.targets)
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> WindowBatch | DocumentBatch:
        """Gather a whole batch; torch's fetcher calls this where it exists."""
        return self._rows.gather(*self._mixing.find(self._checked(indices)))

    def _checked(self, indices: Iterable[Any]) -> Places:
        """Return the places; negative ones count from the end of the first pass. Raises IndexError for none."""
        length, numbers = len(self), [operator.index(index) for index in indices]
        wrong = next((number for number in numbers if not -length <= number < MAX_LENGTH), None)
        if wrong is not None:
            raise IndexError(f"window {wrong} of {length}")
        return np.array([number + length if number < 0 else number for number in numbers], np.int64)
