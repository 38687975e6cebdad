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
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, DataLoader, Subset

from llmprep.errors import UsageError
from llmprep.pytorch.batches import collate_windows
from llmprep.pytorch.datasets import WindowDataset
from llmprep.pytorch.permutation import Permutation
from llmprep.pytorch.sampler import CHUNK, WindowSampler


def windows(n: int) -> range:
    """Something that has n items, as far as a sampler looks."""
    return range(n)


@pytest.mark.parametrize("world_size", range(1, 9))
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 100, 1001])
def test_each_window_comes_once_an_epoch_over_all_ranks(n: int, world_size: int) -> None:
    """All ranks together take each window exactly once, also where they cannot take equally many."""
    samplers = [WindowSampler(windows(n), seed=3, rank=rank, world_size=world_size) for rank in range(world_size)]
    lengths = [len(sampler) for sampler in samplers]

    taken = [list(sampler) for sampler in samplers]

    assert sorted(itertools.chain(*taken)) == list(range(n))
    assert [len(part) for part in taken] == lengths
    assert max(lengths) - min(lengths) <= 1


@given(n=st.integers(1, 500), world_size=st.integers(1, 8), seed=st.integers(0, 2**32), epoch=st.integers(0, 50))
def test_ranks_deal_out_one_order(n: int, world_size: int, seed: int, epoch: int) -> None:
    """Rank r of w takes places r, r + w, r + 2w, ... of the order, which does not depend on w."""
    order = Permutation(n, seed, epoch)[np.arange(n)].tolist()

    for rank in range(world_size):
        sampler = WindowSampler(windows(n), seed=seed, epoch=epoch, rank=rank, world_size=world_size)
        assert list(sampler) == order[rank::world_size]


def test_a_long_epoch_is_one_order() -> None:
    """The order goes on where one part of it, worked out at once, ends and the next begins."""
    epoch_size = 2 * CHUNK + 17
    order = Permutation(epoch_size, 5, 0)[np.arange(epoch_size)].tolist()

    assert list(WindowSampler(windows(epoch_size), seed=5)) == order


def endless(sampler: WindowSampler) -> Iterator[int]:
    """One pass after the other."""
    while True:
        yield from sampler


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
    expected = list(itertools.islice(endless(WindowSampler(windows(n), **place)), sum(stops)))
    state = WindowSampler(windows(n), **place).state_dict()
    got: list[int] = []

    for stop in stops:
        sampler = WindowSampler(windows(n), rank=rank, world_size=world_size)
        sampler.load_state_dict(json.loads(json.dumps(state)))
        got += itertools.islice(endless(sampler), stop)
        state = sampler.state_dict()

    assert got == expected


def test_the_next_pass_is_the_next_epoch() -> None:
    """Iterated again, a sampler gives the next epoch's order from its start; `set_epoch` goes to any."""
    sampler = WindowSampler(windows(50), seed=1)
    passes = [list(sampler) for _ in range(3)]
    fresh = [list(WindowSampler(windows(50), seed=1, epoch=epoch)) for epoch in range(3)]

    assert passes == fresh
    assert len({tuple(each) for each in passes}) == 3
    assert (sampler.epoch, sampler.start, len(sampler)) == (3, 0, 50)
    sampler.set_epoch(1)
    assert list(sampler) == fresh[1]


def test_one_integer_resumes() -> None:
    """`start` is how many windows this rank has taken; the length is a whole epoch's, as trainers count."""
    full = list(WindowSampler(windows(100), seed=2, rank=1, world_size=3))

    resumed = WindowSampler(windows(100), seed=2, rank=1, world_size=3, start=20)

    assert len(resumed) == 33
    assert list(resumed) == full[20:]


def test_the_state_counts_what_was_consumed() -> None:
    """A loader with workers asks ahead; ``consumed`` says what was really used, and resume follows it."""
    dataset = WindowDataset(np.arange(1001, dtype=np.uint16), 10, 10)
    sampler = WindowSampler(dataset, seed=4)
    loader = DataLoader(dataset, batch_size=5, sampler=sampler)
    full = [int(x[0]) // 10 for inputs, _ in loader for x in inputs]
    sampler.set_epoch(0)
    seen = [int(x[0]) // 10 for inputs, _ in itertools.islice(loader, 7) for x in inputs]

    state = sampler.state_dict(consumed=len(seen))

    resumed = WindowSampler(dataset)
    resumed.load_state_dict(state)
    assert state == {
        "seed": 4,
        "epoch": 0,
        "start": 35,
        "n_windows": 100,
        "world_size": 1,
        "dataset": dataset.identity(),
    }
    assert seen + list(resumed) == full


def test_the_length_of_a_loader_is_right() -> None:
    """A loader knows how many batches its rank gets."""
    dataset = WindowDataset(np.arange(1002, dtype=np.uint16), 10, 10)
    for rank, expected in ((0, 4), (1, 3), (2, 3)):
        sampler = WindowSampler(dataset, rank=rank, world_size=3)
        loader = DataLoader(dataset, batch_size=11, sampler=sampler)

        assert len(loader) == expected == len(list(loader))


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
        WindowSampler(windows(10), **choices)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("n", "world_size", "message"), [(10, 1, "n_windows 100: this"), (100, 4, "world_size 1: this")]
)
def test_a_state_of_another_order_is_refused(n: int, world_size: int, message: str) -> None:
    """A state of other windows or another world would go on in another order; it is refused, and changes nothing."""
    sampler = WindowSampler(windows(n), seed=7, world_size=world_size)
    before = sampler.state_dict()

    with pytest.raises(UsageError, match=message):
        sampler.load_state_dict(WindowSampler(windows(100), start=5).state_dict())

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
        "a number": windows(10),
    }


def test_a_state_of_another_data_set_is_refused(tmp_path: Path) -> None:
    """As many windows are not the same windows: a sampler takes a state of its own data set, and no other's."""
    data = data_of_ten(tmp_path)
    states = {name: json.loads(json.dumps(WindowSampler(each, start=3).state_dict())) for name, each in data.items()}

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


def test_a_states_numbers_may_be_numpys() -> None:
    """A place that was counted in numpy's integers is taken back as it was given."""
    state = WindowSampler(windows(10), seed=np.int64(3)).state_dict(consumed=np.int64(4))  # type: ignore[arg-type]
    sampler = WindowSampler(windows(10))

    sampler.load_state_dict(state)

    assert list(sampler) == list(WindowSampler(windows(10), seed=3))[4:]


def test_a_data_set_may_tell_what_it_is() -> None:
    """One of another maker, with an `identity`, is compared by that; the sampler travels with it, not with the data."""

    class Told(list[int]):
        def identity(self) -> dict[str, Any]:
            return {"name": self[0]}

    state = pickle.loads(pickle.dumps(WindowSampler(Told([1, 2, 3]), start=2))).state_dict()  # noqa: S301

    WindowSampler(Told([1, 5, 6])).load_state_dict(state)
    with pytest.raises(UsageError, match=r"^name 1: this sampler has 2"):
        WindowSampler(Told([2, 2, 3])).load_state_dict(state)


def numbered(n: int) -> WindowDataset:
    """A dataset of n windows whose first ids tell their numbers."""
    return WindowDataset(np.arange(10 * n + 1, dtype=np.uint16), 10, 10)


def numbers(batch: Any) -> list[int]:
    """The numbers of a batch's windows."""
    return [int(first) // 10 for first in batch[0][:, 0]]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(("n", "batch_size", "drop_last"), [(24, 4, False), (26, 4, False), (26, 4, True)])
def test_a_loader_resumes_after_any_batch(n: int, batch_size: int, drop_last: bool, num_workers: int) -> None:
    """A state taken after any batch of two epochs, the last of each included, gives all that was still to come."""
    dataset = numbered(n)

    def loader_of(sampler: WindowSampler, workers: int = 0) -> DataLoader[Any]:
        return DataLoader(
            dataset, batch_size, sampler=sampler, num_workers=workers, collate_fn=collate_windows, drop_last=drop_last
        )

    epochs = [[numbers(batch) for batch in loader_of(WindowSampler(dataset, seed=3, epoch=e))] for e in range(3)]
    sampler = WindowSampler(dataset, seed=3)
    states = []
    for epoch in range(2):
        consumed = 0
        for done, batch in enumerate(loader_of(sampler, num_workers), 1):
            consumed += len(batch[0])
            states.append((epoch, done, sampler.state_dict(consumed)))

    for epoch, done, state in states:
        resumed = WindowSampler(dataset)
        resumed.load_state_dict(json.loads(json.dumps(state)))
        resumed.set_epoch(state["epoch"])
        coming = [numbers(batch) for _ in range(2) for batch in loader_of(resumed)]
        expected = [*epochs[epoch][done:], *epochs[epoch + 1]]
        assert coming[: len(expected)] == expected


def test_passes_do_not_disturb_each_other() -> None:
    """A pass inside a pass, as when a model is evaluated on its training loader, changes nothing of the outer one."""
    dataset = numbered(24)
    loader = DataLoader(dataset, 4, sampler=WindowSampler(dataset, seed=3), collate_fn=collate_windows)
    expected = [numbers(batch) for batch in DataLoader(dataset, 4, sampler=WindowSampler(dataset, seed=3))]

    outer = []
    for batch in itertools.islice(loader, 100):
        outer.append(numbers(batch))
        assert len(loader) == 6
        inner = [numbers(each) for each in itertools.islice(loader, 2)]
        assert len(inner) == 2

    assert outer == expected


def test_a_pass_after_one_that_was_broken_off_is_whole() -> None:
    """After a break the next pass is a whole one, in the next epoch's order."""
    sampler = WindowSampler(windows(50), seed=1)

    broken = list(itertools.islice(sampler, 7))

    assert broken == list(WindowSampler(windows(50), seed=1))[:7]
    assert list(sampler) == list(WindowSampler(windows(50), seed=1, epoch=1))


def test_a_loaded_place_survives_set_epoch() -> None:
    """`set_epoch` of the epoch that was loaded, as training loops call it, keeps the place; of another it does not."""
    state = WindowSampler(windows(50), seed=1, epoch=2, start=20).state_dict()

    for epoch, left in ((2, 30), (3, 50)):
        sampler = WindowSampler(windows(50))
        sampler.load_state_dict(state)
        sampler.set_epoch(epoch)
        assert len(list(sampler)) == left


def events(sampler: WindowSampler, script: str) -> tuple[int, int]:
    """Let things happen to a sampler, and return the epoch and place where its next pass begins.

    A number takes so many windows of a new pass; ``+number`` goes on in it; ``iter`` makes an iterator that nothing is
    taken from; ``set:e`` is set_epoch; ``load:e.s`` loads a state of that epoch and start.
    """
    here: Iterator[int] = iter(())
    for event in script.split():
        word, _, value = event.partition(":")
        if word == "set":
            sampler.set_epoch(int(value))
        elif word == "load":
            epoch, start = map(int, value.split("."))
            sampler.load_state_dict(WindowSampler(windows(10), epoch=epoch, start=start).state_dict())
        elif word == "iter":
            iter(sampler)
        else:
            here = here if word.startswith("+") else iter(sampler)
            assert len(list(itertools.islice(here, int(word)))) == int(word)
    coming = list(sampler)
    return next(
        (epoch, start)
        for epoch in range(9)
        for start in range(10)
        if coming == list(WindowSampler(windows(10), epoch=epoch))[start:]
    )


@pytest.mark.parametrize(
    ("script", "epoch", "start"),
    [
        ("", 0, 0),
        ("iter iter", 0, 0),  # a loader that makes two iterators and uses one
        ("10", 1, 0),
        ("4", 1, 0),
        ("4 iter", 1, 0),
        ("10 iter 10 iter", 2, 0),
        # set_epoch says which epoch is next; in a pass of that epoch it says nothing new
        ("set:3", 3, 0),
        ("set:3 set:3", 3, 0),
        ("set:3 set:1", 1, 0),
        ("4 set:0", 0, 0),
        ("4 set:0 +6", 1, 0),
        ("4 set:0 +6 set:1", 1, 0),
        ("10 set:0", 0, 0),
        ("10 10 10 set:1", 1, 0),
        ("4 set:2", 2, 0),
        ("4 set:2 +6", 2, 0),  # that pass no longer counts
        # a loaded place wins over a trainer that counts from 0 again, which goes on from it
        ("load:1.6", 1, 6),
        ("load:1.6 set:1", 1, 6),
        ("load:1.6 set:0", 1, 6),
        ("load:1.6 set:0 set:0 set:0", 1, 6),
        ("load:1.6 set:0 4 set:1", 2, 0),
        ("load:1.6 set:0 4 set:1 10 set:2", 3, 0),
        ("load:1.6 set:0 2 set:1", 2, 0),
        ("load:3.6 set:1 4 set:2", 4, 0),
        ("load:3.6 set:3 4 set:4", 4, 0),
        ("load:0.6 set:0 4 set:1", 1, 0),
        # ... also where a loader has read ahead before the trainer says it: Lightning with workers
        ("load:1.6 3 set:0 +1", 2, 0),
        ("load:1.6 4 set:0 set:1", 2, 0),
        ("load:1.6 4 set:1 set:2", 2, 0),
        # ... or where the trainer says it before the state is loaded: accelerate with a StatefulDataLoader
        ("set:0 load:1.6 4 set:1", 2, 0),
        ("set:0 load:1.6 load:1.6 4 set:1", 2, 0),
        ("set:1 load:1.6 4 set:2", 2, 0),
        ("2 set:0 load:1.6 4 set:1", 2, 0),
        ("set:0 load:1.6 4 10 set:1", 3, 0),
        ("set:0 load:2.6 set:2 4 set:3", 3, 0),
        ("set:5 load:2.6 4 set:6", 3, 0),
        # what was said of windows that were taken since was not said of the loaded place
        ("set:0 3 load:1.6 4 set:1 set:2", 2, 0),
        # an epoch beyond the loaded one leaves it
        ("load:1.6 set:2", 2, 0),
        ("load:1.6 set:5 set:2", 2, 0),
        ("load:1.6 4 set:2", 2, 0),
        ("load:1.6 4 10 10 set:0", 0, 0),
        # the end of an epoch is the start of the next
        ("load:1.10", 2, 0),
        ("load:1.10 set:2", 2, 0),
        ("load:1.10 set:0 10 set:1", 3, 0),
    ],
)
def test_the_next_pass_is_where_the_contract_says(script: str, epoch: int, start: int) -> None:
    """Whatever iterators, set_epoch and load_state_dict come before it, the next pass begins where the class says."""
    assert events(WindowSampler(windows(10)), script) == (epoch, start)


@pytest.mark.parametrize(("epoch", "start"), [(1, 0), (1, 6), (0, 6)])
def test_a_place_given_when_made_is_kept_as_a_loaded_one(epoch: int, start: int) -> None:
    """``epoch`` and ``start`` win over a trainer that counts from 0, and the next epoch follows."""
    sampler = WindowSampler(windows(10), epoch=epoch, start=start)
    rest = list(WindowSampler(windows(10), epoch=epoch))[start:]

    sampler.set_epoch(0)

    assert list(sampler) == rest
    sampler.set_epoch(1)
    assert list(sampler) == list(WindowSampler(windows(10), epoch=epoch + 1))


def test_set_epoch_in_a_pass_keeps_its_place() -> None:
    """The state goes on being that of the pass under way, however often its own epoch is set."""
    sampler = WindowSampler(windows(10))
    pass_under_way = iter(sampler)
    for taken in range(1, 10):
        next(pass_under_way)
        sampler.set_epoch(0)

        assert (sampler.epoch, sampler.start) == (0, taken)


def test_an_iterator_has_a_state_of_its_own() -> None:
    """It is where that iterator is, or would begin, and a new iterator goes on there, whatever other passes do."""
    sampler = WindowSampler(windows(10), seed=3)
    outer, inner = iter(sampler), iter(sampler)
    list(itertools.islice(outer, 6))
    next(inner)
    states = [pass_.state_dict() for pass_ in (outer, inner, iter(sampler))]  # type: ignore[attr-defined]
    rest = [list(outer), list(inner), list(sampler)]

    assert [(state["epoch"], state["start"]) for state in states] == [(0, 6), (1, 1), (2, 0)]
    for state, expected in zip(states, rest, strict=True):
        resumed = iter(WindowSampler(windows(10)))
        resumed.load_state_dict(json.loads(json.dumps(state)))  # type: ignore[attr-defined]
        assert list(resumed) == expected


def test_a_pass_given_back_at_its_end_is_at_its_end() -> None:
    """It gives nothing, and the next pass is the next epoch, whether the trainer counts the empty one or not."""
    orders = [list(WindowSampler(windows(10), epoch=epoch)) for epoch in range(3)]
    over = iter(WindowSampler(windows(10)))
    assert list(over) == orders[0]

    for called in (0, 1):
        resumed = WindowSampler(windows(10))
        resumed.set_epoch(called)
        again = iter(resumed)
        again.load_state_dict(over.state_dict())  # type: ignore[attr-defined]
        assert list(again) == []
        resumed.set_epoch(called + 1)
        assert list(resumed) == orders[1]
        assert list(resumed) == orders[2]
        assert list(again) == []


def test_a_sampler_and_its_passes_pickle() -> None:
    """A copy of a sampler, taken in the middle of a pass, and of the pass, go on as they would have."""
    sampler = WindowSampler(windows(2 * CHUNK), seed=1)
    under_way = iter(sampler)
    list(itertools.islice(under_way, 7))

    copy, copied = pickle.loads(pickle.dumps((sampler, under_way)))  # noqa: S301 - our own bytes

    assert copy.state_dict() == sampler.state_dict()
    assert list(copied) == list(under_way)
    assert list(copy) == list(sampler)


def test_a_rank_without_windows_has_empty_passes() -> None:
    """Where there are more ranks than windows, the last have none in any epoch."""
    sampler = WindowSampler(windows(2), rank=2, world_size=3)

    assert [list(sampler) for _ in range(3)] == [[], [], []]
    assert len(sampler) == 0


def test_more_cannot_be_consumed_than_there_is() -> None:
    """A count beyond the rank's share is a mistake in the caller's counting."""
    with pytest.raises(UsageError, match="start 51: this rank takes 50 windows an epoch"):
        WindowSampler(windows(50)).state_dict(consumed=51)


def test_neither_time_nor_memory_depends_on_the_number_of_windows() -> None:
    """The first windows of 10**12 come at once, and cost no more memory than those of a million."""

    def cost(n: int) -> tuple[int, float]:
        tracemalloc.start()
        started = time.process_time()
        first = list(itertools.islice(WindowSampler(windows(n), seed=1), 10))
        took = time.process_time() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(set(first)) == 10
        assert all(0 <= window < n for window in first)
        return peak, took

    cost(10**6)
    small, _ = cost(10**6)
    large, took = cost(10**12)

    assert large < small * 1.5
    assert took < 0.5


@pytest.mark.parametrize("name", ["seed", "epoch", "rank", "world_size", "start"])
@pytest.mark.parametrize("value", [1.0, "1", None, True])
def test_numbers_are_whole(name: str, value: object) -> None:
    """A sampler's numbers are whole ones, Python's or numpy's; others are refused by name."""
    with pytest.raises(UsageError, match=rf"^{name} .*: must be a whole number$"):
        WindowSampler(range(9), **{name: value})  # type: ignore[arg-type]
    assert WindowSampler(range(9), **{"world_size": 2, name: np.int64(1)}).n_windows == 9  # type: ignore[arg-type]
