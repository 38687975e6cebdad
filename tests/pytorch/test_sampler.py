"""Promises of the sampler and its permutation: each window once an epoch over all ranks, resumed by one integer."""

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.loading import numbered, sent
from support.refusals import frugal
from torch.utils.data import ConcatDataset, Subset

from llmprep.errors import UsageError
from llmprep.pytorch.datasets import WindowDataset
from llmprep.pytorch.passes import PLACES_AT_ONCE
from llmprep.pytorch.sampler import WindowSampler
from llmprep.windows.permutation import Permutation


def order(n: int, epoch: int = 0, seed: int = 0) -> list[int]:
    """All windows of an epoch, in the order that the permutation says."""
    return [int(window) for window in Permutation(n, seed, epoch)[np.arange(n)]]


@pytest.mark.parametrize(
    ("n", "seed", "epoch", "images"),
    [
        (1, 0, 0, [0, 0, 0]),
        (10, 0, 0, [6, 5, 1]),
        (10, 1, 0, [1, 5, 8]),
        (10, 0, 1, [7, 2, 3]),
        (2**32 - 1, 7, 1, [2046475297, 3729953483, 3247451698]),
        (10**12, 3, 4, [79098958486, 73354642374, 311806747516]),
        (2**63 - 1, 2**63 - 1, 7, [8930569447361209345, 517417634342670414, 7871017877352435206]),
    ],
)
def test_the_order_is_the_same_on_every_machine(n: int, seed: int, epoch: int, images: list[int]) -> None:
    """The order is part of what seed and epoch promise: its first, middle and last thing are what they ever were."""
    shown = Permutation(n, seed, epoch)[np.array([0, n // 2, n - 1])]
    assert (shown.tolist(), shown.dtype.name) == (images, "int64")


def test_each_thing_comes_exactly_once() -> None:
    """For any n, powers of two and their neighbours among them, the order holds each of 0..n-1 once."""
    for n in (*range(1, 131), 1023, 1024, 1025, 4095, 4096, 4097, 65_537):
        assert sorted(order(n, 7, 2**63 - 1)) == list(range(n))
    anywhere = np.unique(np.random.default_rng(1).integers(0, 10**12, 50_000))
    assert len(np.unique(Permutation(10**12, 3, 4)[anywhere])) == len(anywhere)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 1001, 2 * PLACES_AT_ONCE + 17])
def test_ranks_share_one_order_out(n: int) -> None:
    """Rank r of w takes places r, r + w, ... of each epoch's order; where there are more ranks, the last have none."""
    for world_size in range(1, 9):
        choices: Any = {"seed": 3, "world_size": world_size, "even": False}
        samplers = [WindowSampler(range(n), rank=rank, **choices) for rank in range(world_size)]
        for epoch in range(2):
            shares = [list(sampler) for sampler in samplers]
            assert shares == [order(n, epoch, seed=3)[rank::world_size] for rank in range(world_size)]
            assert [*map(len, samplers)] == [*map(len, shares)]


def test_it_says_what_it_is() -> None:
    """Its repr names what decides the windows to come, also after a break; its length is that of a whole epoch."""
    sampler = WindowSampler(range(12_345), seed=7, epoch=1, start=4115, rank=2, world_size=3)
    assert repr(sampler) == "WindowSampler(12,345 windows, seed 7, epoch 2, start 0, rank 2 of 3)"
    assert list(itertools.islice(sampler, 1007)) == order(12_345, 2, seed=7)[2::3][:1007]
    assert repr(sampler) == "WindowSampler(12,345 windows, seed 7, epoch 2, start 1,007, rank 2 of 3)"
    assert (len(sampler), list(sampler)) == (4115, order(12_345, 3, seed=7)[2::3])
    assert repr(WindowSampler(range(1))) == "WindowSampler(1 window, seed 0, epoch 0, start 0, rank 0 of 1)"


def test_neither_time_nor_memory_depends_on_the_number_of_windows() -> None:
    """The first windows of 10**12 come at once, and cost next to no memory."""
    with frugal(500_000):
        assert len(set(itertools.islice(WindowSampler(range(10**12), rank=3, world_size=8, batch_size=32), 10))) == 10


def test_impossible_places_are_refused() -> None:
    """A rank outside the world, or a start beyond the rank's share, is refused with the range."""
    refused: list[tuple[Any, str]] = [
        ({"rank": 2, "world_size": 2}, r"rank 2: must be from 0 to world_size - 1 \(1\)"),
        ({"rank": -1}, r"rank -1: must be from 0 to world_size - 1 \(0\)"),
        ({"world_size": 0}, "world_size 0: must be at least 1"),
        ({"batch_size": 0}, "batch_size 0: must be at least 1"),
        ({"even": "no"}, "even 'no': must be True, False or None"),
        ({"start": -1}, "start -1: this rank takes 10 windows an epoch"),
        ({"start": 6, "rank": 1, "world_size": 2}, "start 6: this rank takes 5 windows an epoch"),
    ]
    for choices, message in refused:
        with pytest.raises(UsageError, match=f"^{message}$"):
            WindowSampler(range(10), **choices)


@pytest.mark.parametrize("name", ["seed", "epoch", "rank", "world_size", "start", "batch_size"])
def test_numbers_are_whole(name: str) -> None:
    """A sampler's numbers are whole ones, Python's or numpy's; others are refused by name."""
    for wrong in (1.0, None, True):
        with pytest.raises(UsageError, match=rf"^{name} .*: must be a whole number$"):
            WindowSampler(range(9), **{name: wrong})  # type: ignore[arg-type]
    sampler = WindowSampler(range(9), **{"world_size": 2, "even": False, name: np.int64(1)})  # type: ignore[arg-type]
    sampler.load_state_dict({**sampler.state_dict(), "seed": np.int64(1)})
    assert json.loads(json.dumps(sampler.state_dict()))["n_windows"] == 9


def test_a_state_of_another_data_set_is_refused(tmp_path: Path) -> None:
    """As many windows are not the same windows: a sampler takes a state of its own data set, and no other's."""
    ids = np.arange(300)
    whole = WindowDataset(ids, 10, 10)
    for name, targets in (("a", ids[1:51]), ("b", ids[2:52])):
        tensors = {"input_ids": torch.from_numpy(ids[:50]), "target_ids": torch.from_numpy(targets)}
        torch.save({key: tensor.reshape(10, 5) for key, tensor in tensors.items()}, tmp_path / name)
    data: list[Any] = [
        *(WindowDataset(ids[:110], *sizes) for sizes in ((10, 10), (9, 10), (10, 11))),
        WindowDataset(ids[1:111], 10, 10),
        WindowDataset(tmp_path / "a"),
        WindowDataset(tmp_path / "b"),
        *(Subset(whole, range(first, first + 10)) for first in (0, 1)),
        *(ConcatDataset([Subset(whole, range(5)), Subset(whole, range(first, first + 5))]) for first in (5, 6)),
        range(10),
    ]
    states = [json.loads(json.dumps(WindowSampler(each, start=3).state_dict())) for each in data]
    for mine, of in itertools.product(range(len(data)), repeat=2):
        sampler = WindowSampler(data[mine])
        with nullcontext() if mine == of else pytest.raises(UsageError):
            sampler.load_state_dict(states[of])
        assert sampler.start == 3 * (mine == of)


def test_a_state_tells_what_differs() -> None:
    """The first difference is said, with both values, and nothing changes; where a state does not tell, what to do."""
    ids = np.arange(110)
    state = WindowSampler(WindowDataset(ids, 10, 10)).state_dict()
    dataset = WindowDataset(ids.astype(np.uint16), 10, 11)
    sampler = WindowSampler(dataset, seed=7)
    before = sampler.state_dict()
    old = {key: value for key, value in state.items() if key != "dataset"}
    refused: tuple[tuple[Any, str], ...] = (
        (state, r"^stride 10: this sampler has 11; the state is of another data set"),
        (old, "does not tell which data set it is of"),
        ({"seed": 1, "epoch": 0}, "^state: start is missing or no whole number"),
        (WindowSampler(range(100), start=5).state_dict(), "^n_windows 100: this"),
        ({**sampler.state_dict(), "place": 11}, "^state: start 0, place 11: an epoch has 10 windows"),
        ({**sampler.state_dict(), "world_size": 0}, "^state: world_size 0: must be at least 1"),
        (None, "^state: None is not the state of a WindowSampler"),
        ({**sampler.state_dict(), "place": None}, "^state: place is missing or no whole number"),
    )
    for of, message in refused:
        with pytest.raises(UsageError, match=message):
            sampler.load_state_dict(of)
        assert sampler.state_dict() == before
    sampler.load_state_dict({**old, "dataset": dataset.identity()})


def test_a_data_set_may_tell_what_it_is() -> None:
    """One of another maker, with an `identity`, is compared by that; the sampler travels with it, not with the data."""

    class Told(list[int]):
        def identity(self) -> dict[str, Any]:
            return {"name": self[0]}

    state = sent(WindowSampler(Told([1, 2, 3]), start=2)).state_dict()
    WindowSampler(Told([1, 5, 6])).load_state_dict(state)
    with pytest.raises(UsageError, match=r"^name 1: this sampler has 2"):
        WindowSampler(Told([2, 2, 3])).load_state_dict(state)


@pytest.mark.parametrize("place", [{}, {"rank": 2, "world_size": 3}], ids=str)
def test_stopping_and_resuming_changes_nothing(place: dict[str, Any]) -> None:
    """Stopped anywhere, over several epochs, and resumed from its state, a sampler gives the sequence of one run."""

    def endless(sampler: WindowSampler) -> Iterator[int]:
        return itertools.chain.from_iterable(itertools.repeat(sampler))

    state = WindowSampler(range(20), seed=9, **place).state_dict()
    run = endless(WindowSampler(range(20), seed=9, **place))
    for stop in (0, 1, 5, 6, 7, 20, 0, 3, 13, 33, 2):
        sampler = WindowSampler(range(20), **place)
        sampler.load_state_dict(json.loads(json.dumps(state)))
        assert list(itertools.islice(endless(sampler), stop)) == list(itertools.islice(run, stop))
        state = sampler.state_dict()


def test_the_state_counts_what_was_consumed() -> None:
    """A loader with workers reads ahead; ``consumed`` says what was really used, in Python's numbers or numpy's."""
    dataset = numbered(100)
    sampler = WindowSampler(dataset, seed=4)
    list(itertools.islice(sampler, 50))
    state = json.loads(json.dumps(sampler.state_dict(consumed=np.int64(35))))  # type: ignore[arg-type]
    place = {"seed": 4, "epoch": 0, "start": 35, "place": 35, "n_windows": 100, "world_size": 1}
    assert state == {**place, "dataset": dataset.identity()}
    resumed = WindowSampler(dataset)
    resumed.load_state_dict(state)
    assert list(resumed) == order(100, seed=4)[35:]
    assert sampler.state_dict(consumed=100) == {**state, "epoch": 1, "start": 0, "place": 0}
    with pytest.raises(UsageError, match="start 101: this rank takes 100 windows an epoch"):
        sampler.state_dict(consumed=101)


SAID = {
    (17, 4, 4): (1, "the last 1 of an epoch's 17 windows is left out, so that 4 ranks get as many batches of 4; "),
    (31, 4, 4): (15, "the last 15 of an epoch's 31 windows are left out, so that 4 ranks get as many batches of 4; "),
    (15, 4, 4): (15, "no batch: 4 ranks with batches of 4 need more than 15 windows; even=False shares them out "),
    (10, 3, 1): (1, "the last 1 of an epoch's 10 windows is left out, so that 3 ranks get as many windows; even="),
}


@pytest.mark.parametrize("sizes", SAID, ids=str)
def test_what_is_left_out_is_said_once(sizes: tuple[int, int, int]) -> None:
    """Rank 0 warns of the windows that no rank takes, and of none where none is left out; all ranks count them."""
    n, world_size, batch_size = sizes
    count, said = SAID[sizes]
    choices: Any = {"world_size": world_size, "batch_size": batch_size}
    with pytest.warns(UserWarning, match=f"^{said}"):
        first = WindowSampler(range(n), **choices)
    others = [WindowSampler(range(n), rank=rank, **choices) for rank in range(1, world_size)]
    taken = [list(sampler) for sampler in (first, *others)]
    assert sorted(itertools.chain(*taken)) == sorted(order(n)[: n - count])
    assert {(len(each), sampler.left_out) for each, sampler in zip(taken, (first, *others), strict=True)} == {
        ((n - count) // world_size, count)
    }
    for even in ({"even": False}, {"world_size": 1}, {"batch_size": 1, "world_size": n}):
        assert WindowSampler(range(n), **{**choices, **even}).left_out == 0


def batches_of(sampler: WindowSampler, size: int) -> Iterator[list[int]]:
    """The batches that a loader makes of pass after pass; a fault that leaves passes empty does not go on for ever."""
    for _ in range(50):
        windows = iter(sampler)
        while batch := list(itertools.islice(windows, size)):
            yield batch


@pytest.mark.filterwarnings("ignore:the last:UserWarning")
@settings(max_examples=50, deadline=None)
@given(
    st.integers(25, 150),
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(0, 12)), min_size=1, max_size=5),
)
@example(25, [(2, 3, 4), (1, 1, 0), (1, 1, 1)])
def test_any_number_of_ranks_goes_on(n: int, runs: list[tuple[int, int, int]]) -> None:
    """However often ranks and batches change, each epoch's order comes once, but for less than a batch of all ranks."""
    state, epoch, at, most = WindowSampler(range(n), seed=5).state_dict(), 0, 0, 0
    expected = order(n, seed=5)
    for world_size, size, stop in runs:
        choices: Any = {"world_size": world_size, "batch_size": size, "even": True}
        samplers = [WindowSampler(range(n), rank=rank, **choices) for rank in range(world_size)]
        for sampler in samplers:
            sampler.load_state_dict(json.loads(json.dumps(state)))
        loaders = [batches_of(sampler, size) for sampler in samplers]
        for step in zip(*(itertools.islice(loader, stop) for loader in loaders), strict=True):
            windows = [window for row in zip(*step, strict=True) for window in row]
            if windows != expected[at : at + len(windows)]:
                assert n - at < max(world_size * size, most)
                epoch, at = epoch + 1, 0
                expected = order(n, epoch, seed=5)
            assert windows == expected[at : at + len(windows)]
            at += len(windows)
        state, *same = (sampler.state_dict() for sampler in samplers)
        assert all(each == state for each in same)
        most = world_size * size if stop else most  # of the ranks that took the last windows


def test_a_state_tells_how_far_all_ranks_are() -> None:
    """Another number of ranks counts on from there; a state without its place, of the same number or another, too."""
    state = WindowSampler(range(64), world_size=4, rank=3).state_dict(consumed=6)
    assert (state["start"], state["place"]) == (6, 24)
    del state["place"]
    as_before = WindowSampler(range(64), world_size=4, rank=1)
    as_before.load_state_dict(state)
    assert list(as_before) == order(64)[25::4]
    sampler = WindowSampler(range(64), world_size=2, rank=1)
    sampler.load_state_dict(state)
    assert (sampler.start, list(itertools.islice(sampler, 3))) == (6, order(64)[25:30:2])
    assert [sampler.state_dict(consumed)["place"] for consumed in (None, 8)] == [30, 28]
    with pytest.raises(UsageError, match=r"start 5: .* 26 windows an epoch and had taken 6 when the number of ranks"):
        sampler.state_dict(consumed=5)
    sampler.load_state_dict(sampler.state_dict(consumed=26))
    assert (sampler.epoch, sampler.start, list(sampler)) == (1, 0, order(64, 1)[1::2])


@pytest.mark.filterwarnings("ignore:the last:UserWarning")
def test_an_epoch_that_is_over_is_over_for_any_number_of_ranks() -> None:
    """What the old ranks left out is not taken up by the new ones."""
    over = iter(WindowSampler(range(17), world_size=4))
    assert len(list(over)) == 4
    for world_size in range(1, 9):
        sampler = WindowSampler(range(17), world_size=world_size)
        again = iter(sampler)
        again.load_state_dict(over.state_dict())  # type: ignore[attr-defined]
        assert [list(again), next(iter(sampler))] == [[], order(17, 1)[0]]


def place_after(script: str) -> tuple[int, int]:
    """Let things happen to a sampler of ten windows, and return the epoch and place where its next pass begins.

    A number takes so many windows of a new pass; ``+number`` goes on in it; ``iter`` makes an iterator and takes none;
    ``set:e`` is set_epoch; ``load:e.s`` loads a state of that epoch and start, ``made:e.s`` makes the sampler so.
    """
    sampler, here = WindowSampler(range(10)), iter([0])
    for event in script.split():
        match re.split("[:.]", event):
            case "set", epoch:
                sampler.set_epoch(int(epoch))
            case "made", epoch, start:
                sampler = WindowSampler(range(10), epoch=int(epoch), start=int(start))
            case "load", epoch, start:
                given = WindowSampler(range(10), epoch=int(epoch), start=int(start))
                sampler.load_state_dict(given.state_dict())
            case ["iter"]:
                iter(sampler)
            case [count]:
                here = here if count.startswith("+") else iter(sampler)
                assert len(list(itertools.islice(here, int(count)))) == int(count)
    coming = list(sampler)
    return next((epoch, start) for epoch in range(9) for start in range(10) if coming == order(10, epoch)[start:])


SCRIPTS = {
    "passes": "= 0.0; iter iter = 0.0; 10 = 1.0; 4 = 1.0; 4 iter = 1.0; 10 iter 10 iter = 2.0",
    "set_epoch says which epoch is next": "set:3 = 3.0; set:3 set:3 = 3.0; set:3 set:1 = 1.0; 10 set:0 = 0.0; "
    "10 10 10 set:1 = 1.0; 4 set:2 = 2.0; 4 set:2 +6 = 2.0",
    "in a pass of that epoch it says nothing new": "4 set:0 = 0.0; 4 set:0 +6 = 1.0; 4 set:0 +6 set:1 = 1.0",
    "a loaded place wins over a trainer that counts from 0 again": "load:1.6 = 1.6; load:1.6 set:1 = 1.6; "
    "load:1.6 set:0 = 1.6; load:1.6 set:0 set:0 set:0 = 1.6; load:1.6 set:0 4 set:1 = 2.0; "
    "load:1.6 set:0 4 set:1 10 set:2 = 3.0; load:1.6 set:0 2 set:1 = 2.0; load:3.6 set:1 4 set:2 = 4.0; "
    "load:3.6 set:3 4 set:4 = 4.0; load:0.6 set:0 4 set:1 = 1.0",
    "so does one given when the sampler was made": "made:1.0 set:0 = 1.0; made:1.6 set:0 = 1.6; made:0.6 set:0 = 0.6; "
    "made:1.6 set:0 4 set:1 = 2.0; made:0.6 set:0 4 set:1 = 1.0",
    "also where a loader has read ahead before, as Lightning with workers": "load:1.6 3 set:0 +1 = 2.0; "
    "load:1.6 4 set:0 set:1 = 2.0; load:1.6 4 set:1 set:2 = 2.0",
    "or where the epoch was set before, as accelerate does": "set:0 load:1.6 4 set:1 = 2.0; "
    "set:0 load:1.6 load:1.6 4 set:1 = 2.0; set:1 load:1.6 4 set:2 = 2.0; 2 set:0 load:1.6 4 set:1 = 2.0; "
    "set:0 load:1.6 4 10 set:1 = 3.0; set:0 load:2.6 set:2 4 set:3 = 3.0; set:5 load:2.6 4 set:6 = 3.0",
    "but not where windows were taken since": "set:0 3 load:1.6 4 set:1 set:2 = 2.0",
    "an epoch beyond the loaded one leaves it": "load:1.6 set:2 = 2.0; load:1.6 set:5 set:2 = 2.0; "
    "load:1.6 4 set:2 = 2.0; load:1.6 4 10 10 set:0 = 0.0",
    "the end of an epoch is the start of the next": "load:1.10 = 2.0; load:1.10 set:2 = 2.0; "
    "load:1.10 set:0 10 set:1 = 3.0",
}


@pytest.mark.parametrize("rule", SCRIPTS)
def test_the_next_pass_is_where_the_contract_says(rule: str) -> None:
    """Whatever iterators, set_epoch and load_state_dict come before it, the next pass begins where the class says."""
    for line in SCRIPTS[rule].split("; "):
        script, _, place = line.rpartition("= ")
        assert place_after(script) == tuple(map(int, place.split("."))), script


def test_an_iterator_has_a_state_of_its_own() -> None:
    """It is where that iterator is, or would begin, and a new iterator goes on there, whatever other passes do."""
    sampler = WindowSampler(range(10), seed=3)
    outer, inner = iter(sampler), iter(sampler)
    list(itertools.islice(outer, 6))
    next(inner)
    states = [pass_.state_dict() for pass_ in (outer, inner, iter(sampler))]  # type: ignore[attr-defined]
    rest = [list(outer), list(inner), list(sampler)]
    assert rest == [order(10, 0, seed=3)[6:], order(10, 1, seed=3)[1:], order(10, 2, seed=3)]
    assert [(state["epoch"], state["start"]) for state in states] == [(0, 6), (1, 1), (2, 0)]
    for state, expected in zip(states, rest, strict=True):
        resumed = iter(WindowSampler(range(10)))
        resumed.load_state_dict(json.loads(json.dumps(state)))  # type: ignore[attr-defined]
        assert list(resumed) == expected


def test_a_pass_given_back_at_its_end_is_at_its_end() -> None:
    """It gives nothing, and the next pass is the next epoch, whether the trainer counts the empty one or not."""
    over = iter(WindowSampler(range(10)))
    assert list(over) == order(10)
    for called in (0, 1):
        resumed = WindowSampler(range(10))
        resumed.set_epoch(called)
        again = iter(resumed)
        again.load_state_dict(over.state_dict())  # type: ignore[attr-defined]
        assert list(again) == []
        resumed.set_epoch(called + 1)
        assert [list(resumed), list(resumed)] == [order(10, 1), order(10, 2)]
        assert list(again) == []


def test_a_sampler_and_its_passes_pickle() -> None:
    """A copy of a sampler, taken in the middle of a pass, and of the pass, go on as they would have."""
    sampler = WindowSampler(range(2 * PLACES_AT_ONCE), seed=1)
    under_way = iter(sampler)
    list(itertools.islice(under_way, 7))
    copy, copied = sent((sampler, under_way))
    assert copy.state_dict() == sampler.state_dict()
    assert list(copied) == list(under_way)
    assert list(copy) == list(sampler)
