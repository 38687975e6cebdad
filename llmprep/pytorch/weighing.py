"""Weights, stages and budgets as they were asked for -> exact shares, and windows of each block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias, get_args

import numpy as np

from llmprep.choices import Exhausted
from llmprep.errors import UsageError, list_names, shorten

Shares: TypeAlias = dict[str, Fraction]
"""The share of each source, by its name; only their proportions count."""

BLOCK = 1 << 12
"""Windows of a block, in which each source has its share."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a mixture was asked for, as it was given: `weigh` checks it.

    ``weights`` has a weight for each source, or None for one that has a budget alone. ``stages`` are weights from a
    window on. ``target_tokens`` is a budget of tokens for some of the sources, or the tokens of the whole run.
    """

    weights: Mapping[str, object]
    stages: Sequence[tuple[int, Mapping[str, object]]] = ()
    exhausted: str = "repeat"
    target_tokens: object = None


@dataclass(frozen=True, slots=True)
class Terms:
    """The same, checked, and in windows; the sources are numbered in the order of their names.

    ``sizes`` are the windows of each source, ``stages`` the shares from a window on. ``limits`` is the most windows
    that are taken of a source, ``stops`` how many of it stop the run where a further one is needed, each for those that
    have such a number. ``awaited`` are sources that end the run when all of them have reached their limits. ``end`` is
    the length of the run, where it was given.
    """

    sizes: tuple[int, ...]
    stages: tuple[tuple[int, tuple[int, ...]], ...]
    exhausted: Exhausted
    limits: dict[int, int]
    stops: dict[int, int]
    awaited: frozenset[int]
    end: int | None


def weigh(wanted: Wanted, sizes: Mapping[str, int], max_length: int) -> Terms:
    """Check what was asked for, of sources of so many windows each. Raises `UsageError` for what makes no sense."""
    exhausted = next((kind for kind in get_args(Exhausted) if kind == wanted.exhausted), None)
    if exhausted is None:
        raise UsageError(f"exhausted {wanted.exhausted!r:.40}: must be 'repeat', 'stop' or 'drop'")
    names = sorted(sizes)
    budgets, end = _read_target(wanted.target_tokens, names, max_length)
    stages = [(0, _first_shares(wanted.weights, budgets)), *_read_stages(wanted.stages, names)]
    alone = [name for name in names if wanted.weights[name] is None]
    _check_together(stages, alone, names)
    for name, budget in budgets.items():
        if exhausted != "repeat" and budget > sizes[name]:
            raise UsageError(
                f"target_tokens of {_shown(name)}: are {budget:,} windows, and it has {sizes[name]:,}; "
                f"exhausted={exhausted!r} takes each once: lower the budget, or choose 'repeat'"
            )
    limits = {**sizes, **budgets} if exhausted == "drop" else budgets
    stops = {name: size for name, size in sizes.items() if exhausted == "stop" and name not in budgets}
    return Terms(
        tuple(sizes[name] for name in names),
        tuple((start, _whole_shares([shares.get(name, Fraction(0)) for name in names])) for start, shares in stages),
        exhausted,
        {names.index(name): limit for name, limit in limits.items()},
        {names.index(name): size for name, size in stops.items()},
        frozenset(map(names.index, alone)),
        end,
    )


def count_block(shares: Sequence[int]) -> tuple[int, ...]:
    """Return how many of `BLOCK` windows each source has: its exact share, rounded by largest remainder.

    Of equal remainders the first in order comes first.

    >>> count_block([3, 7])
    (1229, 2867)
    """
    total = sum(shares)
    counts = [share * BLOCK // total for share in shares]
    by_remainder = sorted(range(len(counts)), key=lambda number: -(shares[number] * BLOCK % total))
    for number in by_remainder[: BLOCK - sum(counts)]:
        counts[number] += 1
    return tuple(counts)


def _whole_shares(shares: Sequence[Fraction]) -> tuple[int, ...]:
    """Return whole numbers in the same proportions."""
    scale = math.lcm(*(share.denominator for share in shares))
    return tuple(int(share * scale) for share in shares)


def _check_together(stages: list[tuple[int, Shares]], alone: list[str], names: list[str]) -> None:
    """Check what each stage leaves, and the stages together."""
    if alone and len(stages) > 1:
        raise UsageError(f"stages: {list_names(alone)}: has a budget alone; where there are stages, give it a weight")
    for name in names:
        if not any(shares.get(name) for _, shares in stages):
            raise UsageError(f"weight of {_shown(name)}: is 0 from the first window to the last; leave the source out")
    for start, shares in stages:
        total = sum(shares.values())
        for name, share in shares.items():
            if 0 < share * BLOCK < total:
                where = f"stages: from window {start:,}: " * (start > 0)
                what, advice = (
                    ("target_tokens", "; give it that beside its budget") if name in alone else ("weight", "")
                )
                raise UsageError(
                    f"{where}{what} of {_shown(name)}: {float(share / total):.3g} of the whole is less than one window "
                    f"in {BLOCK:,}; the smallest weight possible is 1/{BLOCK} of the whole ({1 / BLOCK:.6f}){advice}"
                )


def whole_number(name: str, value: object) -> int:
    """Return Python's or numpy's whole number as Python's. Raises `UsageError` for anything else."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    raise UsageError(f"{name} {value!r:.40}: must be a whole number")


def _first_shares(weights: Mapping[str, object], budgets: Mapping[str, int]) -> Shares:
    """Return the shares from the first window on: those without a weight share by budget what the weights leave."""
    given = {
        name: _read_number(f"weight of {_shown(name)}", weight)
        for name, weight in weights.items()
        if weight is not None
    }
    alone = [name for name in weights if name not in given]
    for name in alone:
        if name not in budgets:
            raise UsageError(
                f"{_shown(name)}: needs a weight, (source, weight), or a budget of tokens in target_tokens"
            )
    left = 1 - sum(given.values(), Fraction(0))
    if not given:
        left = Fraction(1)
    elif not alone:
        return _positive("weights", given)
    elif left <= 0:
        raise UsageError(
            f"weights: are {float(1 - left):g} together, which leaves nothing for {list_names(alone)} with a budget "
            f"alone; beside budgets a weight is a share of the whole, such as 0.7"
        )
    whole = sum(budgets[name] for name in alone)
    return {**given, **{name: left * budgets[name] / whole for name in alone}}


def _read_stages(stages: object, names: Sequence[str]) -> list[tuple[int, Shares]]:
    """Return the stages after the first."""
    read: list[tuple[int, Shares]] = []
    if not isinstance(stages, Sequence) or isinstance(stages, str):
        raise UsageError(f"stages: must be a list of (from_window, weights), not a {type(stages).__name__}")
    for stage in stages:
        if not isinstance(stage, Sequence) or len(stage) != 2 or not isinstance(stage[1], Mapping):
            raise UsageError(f"stages: {stage!r:.40} is not (from_window, {{name: weight}})")
        start, before = whole_number("stages: window", stage[0]), read[-1][0] if read else 0
        if start <= before:
            raise UsageError(f"stages: window {start} is not after {before}, where the stage before it begins")
        where = f"stages: from window {start:,}"
        for name in stage[1]:
            if name not in names:
                raise UsageError(f"{where}: {_shown(name)} is none of the sources: {list_names(list(names))}")
        weights = {name: _read_number(f"{where}: weight of {_shown(name)}", given) for name, given in stage[1].items()}
        read.append((start, _positive(where, weights)))
    return read


def _positive(where: str, shares: Shares) -> Shares:
    if not any(shares.values()):
        raise UsageError(f"{where}: all are 0; give at least one source a weight")
    return shares


def _read_target(target: object, names: Sequence[str], max_length: int) -> tuple[dict[str, int], int | None]:
    """Return the budget of each source that has one, and the length of the run if it is given, in windows."""
    if target is None:
        return {}, None
    if not isinstance(target, Mapping):
        return {}, _count_windows("target_tokens", target, max_length)
    for name in target:
        if name not in names:
            raise UsageError(f"target_tokens: {_shown(name)} is none of the sources: {list_names(list(names))}")
    return {name: _count_windows(f"target_tokens of {_shown(name)}", n, max_length) for name, n in target.items()}, None


def _count_windows(what: str, tokens: object, max_length: int) -> int:
    """Return the fewest windows that have so many tokens."""
    exact = _read_number(what, tokens)
    if not exact:
        raise UsageError(f"{what}: 0 tokens are no window; leave it out")
    return math.ceil(exact / max_length)


def _read_number(what: str, value: object) -> Fraction:
    """Return a number of 0 or more exactly, a float as the decimals that it is written with: 0.7 is 7/10."""
    if isinstance(value, int | np.integer | Fraction) and not isinstance(value, bool) and value >= 0:
        return Fraction(int(value.numerator), int(value.denominator))
    if isinstance(value, float | np.floating) and 0 <= float(value) < math.inf:
        return Fraction(repr(float(value)))
    raise UsageError(f"{what}: {value!r:.40} is not a number of 0 or more")


def _shown(name: object) -> str:
    return repr(shorten(name) if isinstance(name, str) else name)[:60]
