"""The places of a mixture in order, which any number of ranks share and one integer resumes."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from torch.utils.data import Sampler

from llmprep.errors import UsageError, plural, visible_name
from llmprep.pytorch.identity import compare_values
from llmprep.pytorch.mixing import Forward
from llmprep.pytorch.passes import Pass, Turns
from llmprep.pytorch.shares import Place, Share
from llmprep.pytorch.sharing import refuse_second_sharing
from llmprep.pytorch.weighing import BLOCK, whole_number

WHOLE = ("place", "epoch", "start", "world_size", "n_windows", "seed")
"""The whole numbers in a state."""
Stage = tuple[int, dict[str, int]]
"""From which window on each source has how many windows of a block."""


class Mixed(Protocol):
    """What is sampled: a `WindowMixture`, known by its `identity`."""

    def identity(self) -> dict[str, Any]:
        """Return what the sequence is, in plain values."""

    def __len__(self) -> int: ...


class MixtureSampler(Sampler[int]):
    """The places of a mixture, one after the other, in constant memory; the same sequence for any ranks and workers.

    Rank r of w takes places r, r + w, r + 2w, ... of each pass. Where there are several ranks, all take as many: a pass
    ends with the last whole batch of ``batch_size`` for all of them, and the last ``world_size * batch_size - 1``
    windows of it, or fewer, are left out (`left_out` of them), unless ``even=False``.

    **Passes** and ``set_epoch`` are as those of a `WindowSampler`; pass e takes the places from ``e * len(mixture)``
    on, so that each source goes on in its own order.

    **The state** has one number that matters, ``place``: the first place of the sequence that no rank has taken. With
    it go what the sources are, the seed, and which source had how many windows of each block up to there. A mixture of
    which any of these is not the same is refused; what comes after the place may be another, as weights, stages, the
    length, or sources that are new. Another number of ranks goes on from the place.
    """

    def __init__(
        self,
        mixture: Mixed,
        *,
        rank: int = 0,
        world_size: int = 1,
        batch_size: int = 1,
        even: bool | None = None,
    ) -> None:
        numbers = {"rank": rank, "world_size": world_size, "batch_size": batch_size}
        rank, world_size, batch_size = (whole_number(name, value) for name, value in numbers.items())
        self.identity = mixture.identity()
        self.n_windows = len(mixture)
        self.share = Share(self.n_windows, rank, world_size, batch_size, world_size > 1 if even is None else even)
        self._turns = Turns(Place())
        if rank == 0 and self.left_out:
            warnings.warn(
                f"the last {self.left_out} of a pass of {plural(self.n_windows, 'window')} are left out, so that "
                f"{world_size} ranks get as many whole batches of {batch_size}; even=False keeps them",
                stacklevel=3,
            )

    def __repr__(self) -> str:
        share = self.share
        where = f"place {self.place:,}, rank {share.rank} of {share.world_size}"
        return f"{type(self).__name__}({plural(self.n_windows, 'window')}, {where})"

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]  # torch's classes add noise

    def __len__(self) -> int:
        return len(self.share)

    def __iter__(self) -> Iterator[int]:
        if self.share.world_size > 1:
            refuse_second_sharing(self.share.world_size)
        return Pass(self, self._turns)

    @property
    def place(self) -> int:
        """The first place of the sequence that no rank has taken, where all have taken as many windows as this one."""
        return int(self.state_dict()["place"])

    @property
    def epoch(self) -> int:
        """The pass begun last, or, if that is complete, the next."""
        return self.share.settle(self._turns.place).epoch

    @property
    def left_out(self) -> int:
        """Windows at the end of a pass that no rank takes, so that all take as many."""
        return self.n_windows - self.share.end()

    def set_epoch(self, epoch: int) -> None:
        """Say which pass the next one is, as `WindowSampler.set_epoch` does."""
        self._turns.set_number(epoch)

    def order(self, epoch: int) -> Forward:
        """Return the order of a pass, of which the ranks take their shares."""
        return Forward(epoch * self.n_windows)

    def state_dict(self, consumed: int | None = None) -> dict[str, Any]:
        """Return where this rank is, in plain values, to go on from.

        A DataLoader with workers reads ahead: pass how many windows of this pass were really ``consumed`` by this rank,
        those before a resume included. Raises `UsageError` if the rank does not take that many. (torchdata's
        StatefulDataLoader keeps count itself: take the state from the loader.)
        """
        place = self._turns.place
        if consumed is not None:
            place = replace(place, start=self.share.check(consumed, self._turns.began))
        return self.state_at(self.share.settle(place))

    def state_at(self, place: Place) -> dict[str, Any]:
        """Return the state of this rank at a place."""
        where = self.share.describe(place)
        within = where["place"]
        before = within if place.epoch == 0 else self.n_windows
        return {
            "place": place.epoch * self.n_windows + within,
            "epoch": place.epoch,
            "start": place.start,
            "world_size": self.share.world_size,
            "n_windows": self.n_windows,
            "seed": self.identity["seed"],
            "sources": self.identity["sources"],
            "stages": [stage for stage in self.identity["stages"] if stage[0] < before],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, also with another number of ranks.

        Raises `UsageError` for a state of a mixture that is another one before that place.
        """
        numbers = {key: whole_number(f"state of a mixture: {key}", state.get(key)) for key in WHOLE}
        if not isinstance(state.get("sources"), Mapping):
            raise UsageError("state: does not tell its sources; it is not the state of a mixture")
        place, n_windows = numbers["place"], numbers["n_windows"]
        if n_windows != self.n_windows and place <= n_windows:  # a first pass, which goes on if it is longer now
            numbers |= {"epoch": 0, "start": place // max(1, numbers["world_size"])}
        within = place - numbers["epoch"] * self.n_windows
        if not 0 <= within <= self.n_windows or (n_windows != self.n_windows and place > n_windows):
            raise UsageError(
                f"state: is at window {place:,} of a mixture of {plural(n_windows, 'window')}, and this one has "
                f"{self.n_windows:,}; it must have as many, or more than were taken in a first pass"
            )
        compare_values("seed", numbers["seed"], self.identity["seed"])
        before = self.n_windows if numbers["epoch"] else within
        own = [(start, counts) for start, counts in self.identity["stages"] if start < before]
        _compare_stages(state.get("stages"), own)
        _compare_sources(state.get("sources"), self.identity["sources"], {name for _, held in own for name in held})
        self._turns.give(self.share.find({**numbers, "place": within}))


def _compare_stages(stated: object, own: list[Stage]) -> None:
    """Raise `UsageError` that names the first stage before the state's place in which two mixtures differ."""
    listed = stated if isinstance(stated, list) else []
    theirs = [tuple(stage) if isinstance(stage, list | tuple) else stage for stage in listed]
    for one, other in itertools.zip_longest(theirs, own):
        if one != other:
            raise UsageError(
                f"state: has {_shown(one)}; this mixture has {_shown(other)}; "
                f"what is before the state's place must stay as it was"
            )


def _compare_sources(stated: object, own: Mapping[str, Any], taken: set[str]) -> None:
    """Raise `UsageError` that names the first source, of those that windows were taken of, that is another."""
    for name in sorted(taken):
        theirs = stated.get(name) if isinstance(stated, Mapping) else None
        if not isinstance(theirs, Mapping):
            raise UsageError(f"state: does not tell what source {visible_name(name)} is; it is not of this mixture")
        for key, value in own[name].items():
            if theirs.get(key) != value:
                raise UsageError(
                    f"state: source {visible_name(name)}: {key} {visible_name(str(theirs.get(key)))}: this mixture has "
                    f"{visible_name(str(value))}; the state is of another source"
                )


def _shown(stage: Any) -> str:
    """Return what a message says of a stage, also of one that is none."""
    if not isinstance(stage, tuple) or len(stage) != 2 or not isinstance(stage[1], Mapping):
        return "no such stage"
    shares = ", ".join(f"{visible_name(str(name))} {count}" for name, count in itertools.islice(stage[1].items(), 8))
    return f"from window {stage[0]} on {shares} of {BLOCK}"
