"""Promises of the arithmetic of a mixture, against a walk through it window by window."""

import functools
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.refusals import frugal

from llmprep.errors import UsageError
from llmprep.pytorch.mixing import Mixing, Source
from llmprep.pytorch.stretches import lay_stretches
from llmprep.pytorch.weighing import BLOCK, Wanted, weigh
from llmprep.windows.permutation import Permutation, find_things

SIZES = {"a": 600, "b": 40, "c": 2500}
Weights = Mapping[str, Any]
Test = TypeVar("Test", bound=Callable[..., None])


def sources(sizes: Mapping[str, int], seed: int = 0) -> dict[str, Source]:
    """Sources of these sizes, by name."""
    return {name: Source.of(name, n, seed=seed, content=(f"ids of {name}", 0)) for name, n in sizes.items()}


def mix(sizes: Mapping[str, int], weights: Weights, *, seed: int = 0, max_length: int = 1, **wanted: Any) -> Mixing:
    """A mixture of sources of these sizes; a window is one token unless it is said."""
    terms = weigh(Wanted(weights, **wanted), sizes, max_length)
    return Mixing(sources(sizes, seed).values(), lay_stretches(terms, seed))


def block(weights: Weights, seed: int, place: int) -> list[str]:
    """The sources of a block that begins at a place."""
    exact = {name: Fraction(weight) * BLOCK / sum(weights.values()) for name, weight in weights.items()}
    counts = {name: int(share) for name, share in exact.items()}
    for name in sorted(exact, key=lambda name: (counts[name] - exact[name], name))[: BLOCK - sum(counts.values())]:
        counts[name] += 1
    slots = [name for name in sorted(counts) for _ in range(counts[name])]
    return [slots[slot] for slot in Permutation(BLOCK, seed, place)[np.arange(BLOCK)].tolist()]


def walk(sizes: Mapping[str, int], weights: Weights, *, seed: int, **wanted: Any) -> list[tuple[str, int]]:
    """The first pass, window by window: each place's source, and how often that came before."""
    kind, target = wanted["exhausted"], wanted["target_tokens"]
    budgets, end = (target, None) if isinstance(target, dict) else ({}, target)
    limits = {**(sizes if kind == "drop" else {}), **budgets}
    stages = {0: weights, **dict(wanted["stages"])}
    taken: Counter[str] = Counter()
    goals: dict[str, int] = {}
    found: list[tuple[str, int]] = []
    shares: Weights = {}
    while (place := len(found)) != end:
        if place in stages:
            shares = {}
        if place == max(stages) and kind == "repeat" and not goals and end is None:
            goals = {name: limits.get(name, taken[name] + sizes[name]) for name, w in stages[place].items() if w}
        now = stages[max(start for start in stages if start <= place)]
        left = {name: w for name, w in now.items() if w and taken[name] < limits.get(name, 1 << 60)}
        if not left or (goals and all(taken[name] >= goal for name, goal in goals.items())):
            break
        if left != shares:
            shares, begun = left, place
        if (place - begun) % BLOCK == 0:
            order = block(shares, seed, place)
        name = order[(place - begun) % BLOCK]
        if kind == "stop" and name not in budgets and taken[name] == sizes[name]:
            break
        found.append((name, taken[name]))
        taken[name] += 1
    return found


def examples(*kinds: dict[str, Any]) -> Callable[[Test], Test]:
    """Have a test tried with each of these kinds of a mixture as well."""
    one = {"a": 150, "b": 700}, {"a": 5, "b": 1}

    def add(test: Test) -> Test:
        for kind in kinds:
            test = example((*one, kind), 0)(test)
        return test

    return add


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[dict[str, int], dict[str, int], dict[str, Any]]:
    """Sizes, weights, and what else is wanted of a mixture."""
    sizes = draw(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 300), min_size=1, max_size=4))
    weights = st.fixed_dictionaries({name: st.integers(1, 9) for name in sizes})
    later = st.dictionaries(st.sampled_from(sorted(sizes)), st.integers(1, 9), min_size=1)
    starts = draw(st.just([]) | st.lists(st.integers(1, 400), unique=True, max_size=2))
    kind = draw(st.sampled_from(["repeat", "stop", "drop"]))
    budgets = st.dictionaries(st.sampled_from(sorted(sizes)), st.integers(1, 900), min_size=1)
    target = draw(st.none() | st.none() | st.integers(1, 6000) | budgets)
    if isinstance(target, dict) and kind != "repeat":
        target = {name: min(budget, sizes[name]) for name, budget in target.items()}
    stages = [(start, draw(later)) for start in sorted(starts)]
    return sizes, draw(weights), {"stages": stages, "exhausted": kind, "target_tokens": target}


STAGES = [(70, {"b": 1}), (300, {"a": 1, "b": 2})]
KINDS = [{"stages": stages, "exhausted": kind, "target_tokens": None} for stages, kind in (
    ([], "repeat"), ([], "stop"), ([], "drop"), (STAGES, "repeat"), (STAGES, "stop"), (STAGES, "drop"),
)]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(mixtures(), st.integers(0, 3))
@examples(*KINDS)
def test_a_mixture_is_what_a_walk_through_it_finds(made: Any, seed: int) -> None:
    """For any sizes, weights, stages, kinds and budgets, each place has the window that a walk finds, in any batch."""
    sizes, weights, wanted = made
    expected = walk(sizes, weights, seed=seed, **wanted)
    last = max([0, *(start for start, _ in wanted["stages"])])
    short = isinstance(wanted["target_tokens"], int) and len(expected) < wanted["target_tokens"]
    if last >= len(expected) or short:
        with pytest.raises(UsageError, match=r"is never reached: the sequence ends after|the sources end after"):
            mix(sizes, weights, seed=seed, **wanted)
        return
    mixing = mix(sizes, weights, seed=seed, **wanted)
    own, names = sources(sizes, seed), sorted(sizes)
    totals = Counter(name for name, _ in expected)
    twice = expected + [(name, totals[name] + ordinal) for name, ordinal in expected]
    order = functools.cache(lambda name, epoch: Permutation(sizes[name], own[name].seed, epoch)[np.arange(sizes[name])])
    windows = [int(order(name, ordinal // sizes[name])[ordinal % sizes[name]]) for name, ordinal in twice]
    assert mixing.length == len(expected)
    places = np.random.default_rng(seed).permutation(len(twice))
    for asked in (np.arange(len(twice)), places[:40], places):
        numbers, found = mixing.find(asked)
        assert [names[number] for number in numbers.tolist()] == [twice[place][0] for place in asked.tolist()]
        assert found.tolist() == [windows[place] for place in asked.tolist()]
    before = Counter(name for name, _ in twice[: places[0]])
    assert mixing.taken(int(places[0])) == [before[name] for name in names]


@pytest.mark.parametrize(
    "weights", [{"a": 0.7, "b": 0.2, "c": 0.1}, {"a": 1, "b": 1, "c": 1}, {"a": 1e-3, "b": 1e9, "c": 1e6}]
)
def test_each_block_has_the_exact_shares(weights: dict[str, float]) -> None:
    """Counts are within one window of the share, the same in each block, also far away; equal ones go by name."""
    if max(weights.values()) == 1e9:
        with pytest.raises(UsageError, match=r"^weight of 'a': 9.99e-13 of the whole is less than one window in 4,096"):
            mix(SIZES, weights)
        weights = {"a": 1 / 4096, "b": 0.5, "c": 1 - 0.5 - 1 / 4096}
    mixing = mix(SIZES, weights, target_tokens=10**13)
    for first in (0, 7 * BLOCK, 10**9 * BLOCK):
        counts = np.bincount(mixing.find(np.arange(first, first + BLOCK))[0])
        exact = np.array(list(weights.values())) / sum(weights.values()) * BLOCK
        assert counts.tolist() == list(mixing.stretches[0].counts)
        assert (np.abs(counts - exact) < 1).all()
    if weights["a"] == 1:
        assert mixing.stretches[0].counts == (1366, 1365, 1365)


def own_windows(mixing: Mixing, name: str, count: int) -> list[int]:
    """The first windows of a source, in the order in which they come."""
    numbers, windows = mixing.find(np.arange(9000))
    number = [source.name for source in mixing.sources].index(name)
    found: list[int] = windows[numbers == number][:count].tolist()
    return found


def test_a_source_comes_whole_in_each_epoch_whatever_the_others_are() -> None:
    """Each epoch has each window once, in another order; adding or renaming others, or weights, changes none of it."""
    windows = own_windows(mix(SIZES, {"a": 1, "b": 1, "c": 1}), "a", 1800)
    epochs = [windows[first : first + 600] for first in (0, 600, 1200)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(600))] * 3
    assert len(set(map(tuple, epochs))) == 3
    others: Any = {"z": 70, "c": 9, "a": 600, "0": 9}
    assert own_windows(mix(others, {"a": 2, "0": 1, "z": 5, "c": 1}, exhausted="repeat"), "a", 1800) == windows
    assert own_windows(mix({"x": 600, "y": 90}, {"x": 1, "y": 1}), "x", 600) != windows[:600]  # its name decides too
    assert own_windows(mix(SIZES, {"a": 1, "b": 1, "c": 1}, seed=1), "a", 600) != windows[:600]


def test_what_is_dropped_comes_once_a_pass() -> None:
    """With "drop", a pass has each window of each source once, and the next pass has them in another order."""
    mixing = mix(SIZES, {"a": 5, "b": 1, "c": 1}, exhausted="drop")
    assert mixing.length == sum(SIZES.values())
    passes = [np.stack(mixing.find(np.arange(n * 3140, (n + 1) * 3140))) for n in range(2)]
    for found in passes:
        assert len(np.unique(found, axis=1).T) == 3140
    assert (passes[0][0] == passes[1][0]).all()
    assert (passes[0][1] != passes[1][1]).any()


def test_any_place_is_found_at_once() -> None:
    """A mixture of 10**12 windows opens, and is read at its begin and at 10**11 or beyond, in next to no memory."""
    sizes = {f"s{k}": 10**12 // (k + 1) for k in range(8)}
    with frugal(3_000_000, seconds=2):
        mixing = mix(sizes, dict.fromkeys(sizes, 1), stages=[(10**10, {"s0": 1, "s7": 2})])
        assert mixing.length > 10**12
        for place in (0, 10**11, mixing.length - 32, 3 * mixing.length + 10**11):
            numbers, windows = mixing.find(np.arange(place, place + 32))
            assert all(0 <= window < sizes[f"s{number}"] for number, window in zip(numbers, windows, strict=True))
        assert sum(mixing.taken(10**11)) == 10**11


def test_the_sequence_is_the_same_on_every_machine() -> None:
    """The sequence is part of what seed, names and contents promise: its windows are what they ever were."""
    numbers, windows = mix({"a": 600, "b": 10**12}, {"a": 0.3, "b": 0.7}, seed=5).find(
        np.arange(5 * 10**11, 5 * 10**11 + 4)
    )
    assert (numbers.tolist(), windows.tolist()) == ([1, 1, 0, 0], [382054209816, 847497689668, 213, 408])


BUDGETS: list[tuple[Weights, Any, dict[str, float], int]] = [
    ({"a": None, "b": None, "c": None}, {"a": 3000, "b": 1000, "c": 1000}, {"a": 0.6, "b": 0.2, "c": 0.2}, 5000),
    ({"a": 0.5, "b": None, "c": None}, {"b": 1000, "c": 3000}, {"a": 0.5, "b": 0.125, "c": 0.375}, 8000),
    ({"a": 1, "b": 1, "c": 2}, {"b": 50}, {"a": 0.25, "b": 0.25, "c": 0.5}, 0),
]


@pytest.mark.parametrize(("weights", "budgets", "shares", "length"), BUDGETS)
def test_budgets_are_reached_exactly(weights: Weights, budgets: Any, shares: Any, length: int) -> None:
    """A budget is a share of what the weights leave, or a limit beside a weight; no source takes one window more."""
    mixing = mix(SIZES, weights, target_tokens=budgets)
    counts = dict(zip(SIZES, mixing.stretches[0].counts, strict=True))
    assert {name: round(count / BLOCK, 3) for name, count in counts.items()} == pytest.approx(shares, abs=1e-3)
    taken = dict(zip(SIZES, mixing.taken(mixing.length), strict=True))
    assert {name: taken[name] for name in budgets} == budgets
    if length:
        assert mixing.length == pytest.approx(length, rel=0.02)
    else:  # the others go on without it
        assert dict(zip(SIZES, mixing.stretches[1].counts, strict=True)) == {"a": 1365, "b": 0, "c": 2731}
        assert (taken["a"] >= 600, taken["c"] >= 2500) == (True, True)


def test_tokens_are_those_of_whole_windows() -> None:
    """A number of tokens is reached by the fewest windows that have as many; a float may be one."""
    assert mix(SIZES, {"a": 1, "b": 1, "c": 1}, target_tokens=1001, max_length=10).length == 101
    assert mix(SIZES, {"a": 1, "b": 1, "c": 1}, target_tokens=1e3, max_length=10).length == 100


REFUSED: dict[str, tuple[Weights, dict[str, Any]]] = {
    "weight of 'a': -1 is not a number of 0 or more": ({"a": -1}, {}),
    "weight of 'a': nan is not a number of 0 or more": ({"a": float("nan")}, {}),
    "weight of 'a': True is not a number of 0 or more": ({"a": True}, {}),
    "weight of 'a': '1' is not a number of 0 or more": ({"a": "1"}, {}),
    "weights: all are 0; give at least one source a weight": ({"a": 0, "b": 0.0}, {}),
    "weight of 'b': is 0 from the first window to the last; leave the source out": ({"a": 1, "b": 0}, {}),
    "weight of 'b': 1e-05 of the whole is less than one window in 4,096; the smallest weight possible is 1/4096 of the "
    "whole (0.000244)": ({"a": 0.99999, "b": 0.00001}, {}),
    "stages: from window 9: weight of 'a': 0.0002 of the whole is less than one window in 4,096; the smallest weight "
    "possible is 1/4096 of the whole (0.000244)": ({"a": 1, "b": 1}, {"stages": [(9, {"a": 1, "b": 4999})]}),
    "target_tokens of 'b': 0.0001 of the whole is less than one window in 4,096; the smallest weight possible is "
    "1/4096 of the whole (0.000244); give it that beside its budget": (
        {"a": None, "b": None}, {"target_tokens": {"a": 10**9, "b": 10**5}}
    ),
    "exhausted 'never': must be 'repeat', 'stop' or 'drop'": ({"a": 1}, {"exhausted": "never"}),
    "stages: window 5 is not after 5, where the stage before it begins": ({"a": 1}, {"stages": [(5, {"a": 1})] * 2}),
    "stages: window 0 is not after 0, where the stage before it begins": ({"a": 1}, {"stages": [(0, {"a": 1})]}),
    "stages: window 1.5: must be a whole number": ({"a": 1}, {"stages": [(1.5, {"a": 1})]}),
    "stages: (1, 2) is not (from_window, {name: weight})": ({"a": 1}, {"stages": [(1, 2)]}),
    "stages: must be a list of (from_window, weights), not a dict": ({"a": 1}, {"stages": {5: {"a": 1}}}),
    "stages: from window 5: 'd' is none of the sources: a": ({"a": 1}, {"stages": [(5, {"d": 1})]}),
    "stages: from window 5: all are 0; give at least one source a weight": ({"a": 1}, {"stages": [(5, {})]}),
    "stages: window 900 is never reached: the sequence ends after 600 windows ('drop')": (
        {"a": 1}, {"stages": [(900, {"a": 1})], "exhausted": "drop"}),
    "target_tokens: 0 tokens are no window; leave it out": ({"a": 1}, {"target_tokens": 0}),
    "target_tokens: 'd' is none of the sources: a": ({"a": 1}, {"target_tokens": {"d": 1}}),
    "target_tokens of 'a': None is not a number of 0 or more": ({"a": 1}, {"target_tokens": {"a": None}}),
    "target_tokens of 'a': are 601 windows, and it has 600; exhausted='stop' takes each once: lower the budget, or "
    "choose 'repeat'": ({"a": 1}, {"target_tokens": {"a": 601}, "exhausted": "stop"}),
    "target_tokens: are 601 windows, and the sources end after 600; exhausted='repeat' goes on": (
        {"a": 1}, {"target_tokens": 601, "exhausted": "drop"}),
    "target_tokens: the sequence would have more than 1,125,899,906,842,624 windows; shorten it": (
        {"a": 1}, {"target_tokens": 1e30}),
    "'b': needs a weight, (source, weight), or a budget of tokens in target_tokens": ({"a": 1, "b": None}, {}),
    "weights: are 1 together, which leaves nothing for b with a budget alone; beside budgets a weight is a share of "
    "the whole, such as 0.7": ({"a": 0.7, "b": None, "c": 0.3}, {"target_tokens": {"b": 1}}),
    "stages: b: has a budget alone; where there are stages, give it a weight": (
        {"a": 0.5, "b": None}, {"target_tokens": {"b": 1}, "stages": [(5, {"a": 1})]}),
}  # fmt: skip


@pytest.mark.parametrize("line", REFUSED)
def test_what_makes_no_sense_is_refused(line: str) -> None:
    """Each is refused in one line that names what is wrong, and what is possible."""
    weights, wanted = REFUSED[line]
    with pytest.raises(UsageError, match=f"^{re.escape(line)}$"):
        mix({name: SIZES[name] for name in weights}, weights, **wanted)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 9)), min_size=1, max_size=5), st.integers(0, 99))
def test_several_orders_are_read_as_each_is(made: list[tuple[int, int]], seed: int) -> None:
    """Places of several orders, found in one go, are those that each order finds, for few and for many."""
    orders = [Permutation(n, seed, epoch) for n, epoch in made]
    rng = np.random.default_rng(seed)
    for count in (1, 16, 200):
        which = rng.integers(0, len(orders), count)
        places = np.array([rng.integers(0, orders[number].n) for number in which.tolist()])
        found = find_things(orders, which, places)
        assert all((found[which == k] == order[places[which == k]]).all() for k, order in enumerate(orders))


def test_the_arithmetic_needs_no_torch() -> None:
    """What the command line reckons with is imported without torch."""
    code = "import sys, llmprep.pytorch.mixing, llmprep.pytorch.stretches; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
