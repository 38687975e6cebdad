"""Terms -> the stretches of a mixture: where each begins and ends, and what stands in its blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from llmprep.errors import UsageError, plural
from llmprep.pytorch.weighing import BLOCK, Terms, count_block
from llmprep.windows.permutation import Permutation

Slots = npt.NDArray[np.int64]
MAX_LENGTH = 2**50
"""Windows that a mixture may have, and places that it is asked for: their products fit into 64 bits."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The order of a block: which source stands at each place, and how often it came in the block before."""

    sources: npt.NDArray[np.uint16]
    ranks: npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Places ``start`` to ``end`` - 1 of a mixture, where each block of `BLOCK` has the same counts.

    ``counts`` are those of each source in a block, ``before`` its windows before the start, in the order of names.
    What stands at a place does not depend on where the stretch ends.
    """

    start: int
    end: int
    seed: int
    counts: tuple[int, ...]
    before: tuple[int, ...]

    def lay_out(self, block: int) -> Layout:
        """Work the order of a block out, by a permutation that the seed and the block's first place decide."""
        slots = Permutation(BLOCK, self.seed, self.start + block * BLOCK)[np.arange(BLOCK)]
        sources = np.repeat(np.arange(len(self.counts), dtype=np.uint16), self.counts)[slots]
        ranks = np.empty(BLOCK, np.uint16)
        firsts = np.cumsum([0, *self.counts[:-1]])
        ranks[np.argsort(sources, kind="stable")] = np.arange(BLOCK) - np.repeat(firsts, self.counts)
        return Layout(sources, ranks)

    def taken_at(self, place: int) -> tuple[int, ...]:
        """Return how many windows of each source stand before a place of the stretch, or before its end."""
        blocks, rest = divmod(place - self.start, BLOCK)
        begun = self.lay_out(blocks).sources[:rest] if rest else ()
        within = np.bincount(begun, minlength=len(self.counts)).tolist()
        whole = zip(self.before, self.counts, within, strict=True)
        return tuple(before + blocks * count + more for before, count, more in whole)

    def place_of(self, number: int, ordinal: int) -> int:
        """Return where the window of a source with this place in its own order stands, if the stretch goes so far."""
        block, rank = divmod(ordinal - self.before[number], self.counts[number])
        places = np.flatnonzero(self.lay_out(block).sources == number)
        return self.start + block * BLOCK + int(places[rank])

    def places_of(self, ordinals: Mapping[int, int], *, last: bool = False) -> int:
        """Return the first (or ``last``) of the places of several windows, given by the numbers of their sources."""
        blocks = {n: (ordinal - self.before[n]) // self.counts[n] for n, ordinal in ordinals.items()}
        choose = max if last else min
        block = choose(blocks.values())
        return choose(self.place_of(n, ordinal) for n, ordinal in ordinals.items() if blocks[n] == block)


def lay_stretches(terms: Terms, seed: int) -> list[Stretch]:
    """Lay the stretches of one pass, whose blocks ``seed`` orders.

    Raises `UsageError` for a stage, or a length, that is never reached.
    """
    laid: list[Stretch] = []
    start, taken = 0, (0,) * len(terms.sizes)
    goals = {number: terms.limits[number] for number in terms.awaited}
    last = terms.stages[-1][0]
    while start != terms.end and any(shares := _open_shares(terms, start, taken)):
        if terms.exhausted == "repeat" and terms.end is None and not terms.awaited and start == last:
            goals = {n: terms.limits.get(n, taken[n] + terms.sizes[n]) for n, share in enumerate(shares) if share}
        stretch = Stretch(start, MAX_LENGTH, seed, count_block(shares), taken)
        ends = list(_ends(terms, stretch, goals))
        stretch = replace(stretch, end=min([*_changes(terms, stretch), *ends]))
        if stretch.end > MAX_LENGTH:
            raise UsageError(f"target_tokens: the sequence would have more than {MAX_LENGTH:,} windows; shorten it")
        laid.append(stretch)
        start, taken = stretch.end, stretch.taken_at(stretch.end)
        if start in ends:
            break
    _check_reached(terms, start)
    return laid


def _open_shares(terms: Terms, start: int, taken: tuple[int, ...]) -> list[int]:
    """Return the shares from a window on, of the sources that have not reached their limits."""
    shares = next(shares for begin, shares in reversed(terms.stages) if begin <= start)
    return [
        share * (number not in terms.limits or taken[number] < terms.limits[number])
        for number, share in enumerate(shares)
    ]


def _changes(terms: Terms, stretch: Stretch) -> Iterator[int]:
    """Yield where other counts begin, if the stretch goes so far."""
    yield from (begin for begin, _ in terms.stages if begin > stretch.start)
    reached = {n: limit - 1 for n, limit in terms.limits.items() if stretch.counts[n]}
    if reached:
        yield stretch.places_of(reached) + 1


def _ends(terms: Terms, stretch: Stretch, goals: Mapping[int, int]) -> Iterator[int]:
    """Yield where the pass ends, if the stretch goes so far."""
    if terms.end is not None:
        yield terms.end
    stops = {n: size for n, size in terms.stops.items() if stretch.counts[n]}
    if stops:
        yield stretch.places_of(stops)
    left = {n: goal - 1 for n, goal in goals.items() if goal > stretch.before[n]}
    if left:
        yield stretch.places_of(left, last=True) + 1


def _check_reached(terms: Terms, length: int) -> None:
    last = terms.stages[-1][0]
    if last >= length:
        raise UsageError(
            f"stages: window {last:,} is never reached: the sequence ends after {plural(length, 'window')} "
            f"({terms.exhausted!r})"
        )
    if terms.end is not None and length < terms.end:
        raise UsageError(
            f"target_tokens: are {plural(terms.end, 'window')}, and the sources end after {length:,}; "
            f"exhausted='repeat' goes on"
        )
