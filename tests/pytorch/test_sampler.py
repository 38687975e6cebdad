"""Promises of the sampler: every window once an epoch over all ranks, and exact resume from one integer."""

from __future__ import annotations

import itertools
import json
import pickle
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.loading import numbered, numbers
from torch.utils.data import ConcatDataset, DataLoader, Subset

from llmprep.errors import UsageError
from llmprep.pytorch.batches import collate_windows
from llmprep.pytorch.datasets import WindowDataset
from llmprep.pytorch.passes import PLACES_AT_ONCE
from llmprep.pytorch.permutation import Permutation
from llmprep.pytorch.sampler import WindowSampler


def order(n: int, epoch: int = 0, seed: int = 0) -> list[int]:
    """All windows of an epoch, in the order that the permutation says."""
    windows: list[int] = Permutation(n, seed, epoch)[np.arange(n)].tolist()
    return windows


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    """A state as it comes back from a checkpoint."""
    back: dict[str, Any] = json.loads(json.dumps(state))
    return back


# --- orders and ranks -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 1001, 2 * PLACES_AT_ONCE + 17])
def test_ranks_share_one_order_out(n: int) -> None:
    """Rank r of w takes places r, r + w, ... of the order, so each window comes once, and ranks differ by one at most.

    The order goes on where one part of it, worked out at once, ends and the next begins.
    """
    for world_size in range(1, 9):
        samplers = [WindowSampler(range(n), seed=3, rank=rank, world_size=world_size) for rank in range(world_size)]
        shares = [list(sampler) for sampler in samplers]

        assert shares == [order(n, seed=3)[rank::world_size] for rank in range(world_size)]
        lengths = [len(sampler) for sampler in samplers]
        assert lengths == [len(share) for share in shares]
        assert max(lengths) - min(lengths) <= 1


def test_the_next_pass_is_the_next_epoch() -> None:
    """Iterated again, also after a break, a sampler gives the next epoch's order from its start."""
    sampler = WindowSampler(range(50), seed=1)

    passes = [list(sampler) for _ in range(3)]
    broken = list(itertools.islice(sampler, 7))

    assert passes == [order(50, epoch, seed=1) for epoch in range(3)]
    assert broken == order(50, 3, seed=1)[:7]
    assert (sampler.epoch, sampler.start, len(sampler)) == (3, 7, 50)
    assert list(sampler) == order(50, 4, seed=1)
    assert (sampler.epoch, sampler.start, len(sampler)) == (5, 0, 50)


def test_one_integer_resumes() -> None:
    """`start` is how many windows this rank has taken; the length is a whole epoch's, as trainers count."""
    resumed = WindowSampler(range(100), seed=2, rank=1, world_size=3, start=20)

    assert len(resumed) == 33
    assert list(resumed) == order(100, seed=2)[1::3][20:]


def test_a_rank_without_windows_has_empty_passes() -> None:
    """Where there are more ranks than windows, the last have none in any epoch; with one, they have it in each."""
    samplers = [WindowSampler(range(2), rank=rank, world_size=3) for rank in range(3)]
    passes = [[list(sampler) for _ in range(3)] for sampler in samplers]

    assert [*map(len, samplers)] == [1, 1, 0]
    assert passes == [[order(2, epoch)[rank::3] for epoch in range(3)] for rank in range(3)]


def test_it_says_what_it_is() -> None:
    """Its repr names what decides the windows to come."""
    sampler = WindowSampler(range(12_345), seed=7, epoch=1, start=4115, rank=2, world_size=3)

    assert repr(sampler) == "WindowSampler(12,345 windows, seed 7, epoch 2, start 0, rank 2 of 3)"
    assert repr(WindowSampler(range(1))) == "WindowSampler(1 window, seed 0, epoch 0, start 0, rank 0 of 1)"


def test_neither_time_nor_memory_depends_on_the_number_of_windows() -> None:
    """The first windows of 10**12 come at once, and cost no more memory than those of a million."""

    def cost(n: int) -> tuple[int, float]:
        tracemalloc.start()
        started = time.process_time()
        first = list(itertools.islice(WindowSampler(range(n), seed=1), 10))
        took = time.process_time() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(set(first)) == 10
        return peak, took

    cost(10**6)
    small, _ = cost(10**6)
    large, took = cost(10**12)

    assert large < small * 1.5
    assert took < 0.5


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"rank": 2, "world_size": 2}, "rank 2: must be from 0 to world_size - 1 (1)"),
        ({"rank": -1}, "rank -1: must be from 0 to world_size - 1 (0)"),
        ({"world_size": 0}, "rank 0: must be from 0 to world_size - 1 (-1)"),
        ({"start": -1}, "start -1: this rank takes 10 windows an epoch"),
        ({"start": 11}, "start 11: this rank takes 10 windows an epoch"),
        ({"start": 6, "rank": 1, "world_size": 2}, "start 6: this rank takes 5 windows an epoch"),
    ],
    ids=str,
)
def test_impossible_places_are_refused(choices: dict[str, int], message: str) -> None:
    """A rank outside the world, or a start beyond the rank's share, is refused with the range."""
    with pytest.raises(UsageError) as caught:
        WindowSampler(range(10), **choices)

    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["seed", "epoch", "rank", "world_size", "start"])
def test_numbers_are_whole(name: str) -> None:
    """A sampler's numbers are whole ones, Python's or numpy's; others are refused by name."""
    for wrong in (1.0, "1", None, True):
        with pytest.raises(UsageError, match=rf"^{name} .*: must be a whole number$"):
            WindowSampler(range(9), **{name: wrong})  # type: ignore[arg-type]
    sampler = WindowSampler(range(9), **{"world_size": 2, name: np.int64(1)})  # type: ignore[arg-type]
    assert through_json(sampler.state_dict())["n_windows"] == 9


@pytest.mark.parametrize(
    ("n", "world_size", "message"), [(10, 1, "n_windows 100: this"), (100, 4, "world_size 1: this")]
)
def test_a_state_of_another_order_is_refused(n: int, world_size: int, message: str) -> None:
    """A state of other windows or another world would go on in another order; it is refused, and changes nothing."""
    sampler = WindowSampler(range(n), seed=7, world_size=world_size)
    before = sampler.state_dict()

    with pytest.raises(UsageError, match=message):
        sampler.load_state_dict(WindowSampler(range(100), start=5).state_dict())

    assert sampler.state_dict() == before


def data_of_ten(folder: Path) -> dict[str, Any]:
    """Data sets that differ in one thing each, and have ten windows each."""
    ids = np.arange(300)
    whole = WindowDataset(ids, 10, 10)
    for name, targets in (("a", ids[1:51]), ("b", ids[2:52])):
        tensors = {"input_ids": torch.from_numpy(ids[:50]), "target_ids": torch.from_numpy(targets)}
        torch.save({key: tensor.reshape(10, 5).clone() for key, tensor in tensors.items()}, folder / f"{name}.pt")
    torch.save({"token_ids": torch.from_numpy(ids[150:260].copy())}, folder / "c.pt")
    (folder / "text").write_text("a" + " a" * 109)
    return {
        "ids": WindowDataset(ids[:110], 10, 10),
        "max_length": WindowDataset(ids[:110], 9, 10),
        "stride": WindowDataset(ids[:110], 10, 11),
        "other ids": WindowDataset(ids[1:111], 10, 10),
        "a text": WindowDataset(folder / "text", 10, 10),
        "a tokens file": WindowDataset(folder / "c.pt", 10, 10),
        "a windows file": WindowDataset(folder / "a.pt"),
        "other targets": WindowDataset(folder / "b.pt"),
        "a part": Subset(whole, range(10)),
        "another part": Subset(whole, range(1, 11)),
        "parts": ConcatDataset([Subset(whole, range(5)), Subset(whole, range(5, 10))]),
        "other parts": ConcatDataset([Subset(whole, range(5)), Subset(whole, range(6, 11))]),
        "a number": range(10),
    }


def test_a_state_of_another_data_set_is_refused(tmp_path: Path) -> None:
    """As many windows are not the same windows: a sampler takes a state of its own data set, and no other's."""
    data = data_of_ten(tmp_path)
    states = {name: through_json(WindowSampler(each, start=3).state_dict()) for name, each in data.items()}

    taken = set()
    for name, of in itertools.product(data, states):
        sampler = WindowSampler(data[name])
        with suppress(UsageError):
            sampler.load_state_dict(states[of])
            taken.add((name, of))
        assert sampler.start == 3 * (name == of)

    assert taken == {(name, name) for name in data}


def test_a_state_tells_what_differs() -> None:
    """The first difference is said, with both values; where the state does not tell, how to say it."""
    ids = np.arange(110)
    state = WindowSampler(WindowDataset(ids, 10, 10)).state_dict()
    dataset = WindowDataset(ids.astype(np.uint16), 10, 11)
    sampler = WindowSampler(dataset)
    old = {key: value for key, value in state.items() if key != "dataset"}

    with pytest.raises(UsageError, match=r"^stride 10: this sampler has 11; the state is another's"):
        sampler.load_state_dict(state)
    with pytest.raises(UsageError, match="does not tell which data set it is of"):
        sampler.load_state_dict(old)
    sampler.load_state_dict({**old, "dataset": dataset.identity()})
    with pytest.raises(UsageError, match=r"^state: start is missing or no whole number"):
        sampler.load_state_dict({"seed": 1, "epoch": 0})


def test_a_data_set_may_tell_what_it_is() -> None:
    """One of another maker, with an `identity`, is compared by that; the sampler travels with it, not with the data."""

    class Told(list[int]):
        def identity(self) -> dict[str, Any]:
            return {"name": self[0]}

    state = pickle.loads(pickle.dumps(WindowSampler(Told([1, 2, 3]), start=2))).state_dict()  # noqa: S301

    WindowSampler(Told([1, 5, 6])).load_state_dict(state)
    with pytest.raises(UsageError, match=r"^name 1: this sampler has 2"):
        WindowSampler(Told([2, 2, 3])).load_state_dict(state)


# --- states ---------------------------------------------------------------------------------------


def endless(sampler: WindowSampler) -> Iterator[int]:
    """One pass after the other."""
    while True:
        yield from sampler


@settings(max_examples=40)
@given(
    n=st.integers(1, 60),
    world_size=st.integers(1, 4),
    rank=st.integers(0, 3),
    stops=st.lists(st.integers(0, 80), max_size=6),
)
def test_stopping_and_resuming_changes_nothing(n: int, world_size: int, rank: int, stops: list[int]) -> None:
    """Stopped anywhere, over several epochs, and resumed from its state, a sampler gives the sequence of one run."""
    rank, n = rank % world_size, n + world_size  # each rank has a window
    place: dict[str, Any] = {"seed": 9, "rank": rank, "world_size": world_size}
    expected = list(itertools.islice(endless(WindowSampler(range(n), **place)), sum(stops)))
    state = WindowSampler(range(n), **place).state_dict()
    got: list[int] = []

    for stop in stops:
        sampler = WindowSampler(range(n), rank=rank, world_size=world_size)
        sampler.load_state_dict(through_json(state))
        got += itertools.islice(endless(sampler), stop)
        state = sampler.state_dict()

    assert got == expected


def test_the_state_counts_what_was_consumed() -> None:
    """A loader with workers reads ahead; ``consumed`` says what was really used, in Python's numbers or numpy's."""
    dataset = numbered(100)
    sampler = WindowSampler(dataset, seed=4)
    list(itertools.islice(sampler, 50))

    state = through_json(sampler.state_dict(consumed=np.int64(35)))  # type: ignore[arg-type]

    place = {"seed": 4, "epoch": 0, "start": 35, "n_windows": 100, "world_size": 1}
    assert state == {**place, "dataset": dataset.identity()}
    resumed = WindowSampler(dataset)
    resumed.load_state_dict(state)
    assert list(resumed) == order(100, seed=4)[35:]
    with pytest.raises(UsageError, match="start 101: this rank takes 100 windows an epoch"):
        sampler.state_dict(consumed=101)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("n", "drop_last"), [(24, False), (26, False), (26, True)])
def test_a_loader_resumes_after_any_batch(n: int, drop_last: bool, num_workers: int) -> None:
    """A state taken after any batch of two epochs, the last of each included, gives all that was still to come.

    So it does in a loop that calls set_epoch, whether that counts from 0 again or goes on counting.
    """
    dataset = numbered(n)

    def loader_of(sampler: WindowSampler, workers: int = 0) -> DataLoader[Any]:
        return DataLoader(
            dataset, 4, sampler=sampler, num_workers=workers, collate_fn=collate_windows, drop_last=drop_last
        )

    epochs = [[numbers(batch) for batch in loader_of(WindowSampler(dataset, seed=3, epoch=e))] for e in range(4)]
    sampler = WindowSampler(dataset, seed=3)
    assert len(loader_of(sampler)) == len(epochs[0])
    states = []
    for epoch in range(2):
        consumed = 0
        for done, batch in enumerate(loader_of(sampler, num_workers), 1):
            consumed += len(batch[0])
            states.append((epoch, done, sampler.state_dict(consumed)))

    for (epoch, done, state), first in itertools.product(states, (0, None)):
        resumed = WindowSampler(dataset)
        resumed.load_state_dict(through_json(state))
        coming = []
        for number in range(2):
            resumed.set_epoch(number + (state["epoch"] if first is None else first))
            coming += [numbers(batch) for batch in loader_of(resumed)]
        expected = [*epochs[epoch][done:], *epochs[epoch + 1], *epochs[epoch + 2]]
        assert coming == expected[: len(coming)]
        assert len(coming) >= len(epochs[0])


# --- passes and set_epoch -------------------------------------------------------------------------


def place_after(script: str) -> tuple[int, int]:
    """Let things happen to a sampler of ten windows, and return the epoch and place where its next pass begins.

    A number takes so many windows of a new pass; ``+number`` goes on in it; ``iter`` makes an iterator that nothing is
    taken from; ``set:e`` is set_epoch; ``load:e.s`` loads a state of that epoch and start, ``made:e.s`` makes the
    sampler with them.
    """
    sampler = WindowSampler(range(10))
    here: Iterator[int] = iter(())
    for event in script.split():
        word, _, value = event.partition(":")
        if word == "set":
            sampler.set_epoch(int(value))
        elif word in ("load", "made"):
            epoch, start = map(int, value.split("."))
            given = WindowSampler(range(10), epoch=epoch, start=start)
            if word == "load":
                sampler.load_state_dict(given.state_dict())
            else:
                sampler = given
        elif word == "iter":
            iter(sampler)
        else:
            here = here if word.startswith("+") else iter(sampler)
            assert len(list(itertools.islice(here, int(word)))) == int(word)
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


def test_set_epoch_in_a_pass_keeps_its_place() -> None:
    """The state goes on being that of the pass under way, however often its own epoch is set."""
    sampler = WindowSampler(range(10))
    pass_under_way = iter(sampler)
    for taken in range(1, 10):
        next(pass_under_way)
        sampler.set_epoch(0)

        assert (sampler.epoch, sampler.start) == (0, taken)


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
        resumed.load_state_dict(through_json(state))  # type: ignore[attr-defined]
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

    copy, copied = pickle.loads(pickle.dumps((sampler, under_way)))  # noqa: S301 - our own bytes

    assert copy.state_dict() == sampler.state_dict()
    assert list(copied) == list(under_way)
    assert list(copy) == list(sampler)
