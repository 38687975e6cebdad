"""Promises of the seeded order: each thing exactly once, decided by seed and epoch, any part of it by itself."""

from __future__ import annotations

import hashlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmprep.pytorch.permutation import Permutation

seeds = st.integers(0, 2**63 - 1)
epochs = st.integers(0, 10_000)


def whole(n: int, seed: int = 0, epoch: int = 0) -> list[int]:
    """The whole order."""
    order: list[int] = Permutation(n, seed, epoch)[np.arange(n)].tolist()
    return order


@pytest.mark.parametrize("n", [*range(1, 301), 1023, 1024, 1025, 4095, 4096, 4097, 65_537])
def test_each_thing_comes_exactly_once(n: int) -> None:
    """For any n, powers of two and their neighbours among them, the order holds each of 0..n-1 once."""
    for seed, epoch in ((0, 0), (1, 0), (0, 1), (2**63 - 1, 7)):
        assert sorted(whole(n, seed, epoch)) == list(range(n))


@given(n=st.integers(1, 2000), seed=seeds, epoch=epochs)
def test_any_seed_and_epoch_give_an_order(n: int, seed: int, epoch: int) -> None:
    """The same for any seed and epoch."""
    assert sorted(whole(n, seed, epoch)) == list(range(n))


@pytest.mark.parametrize("n", [10**6 + 3, 2**32 - 1, 2**32, 2**32 + 1, 10**12, 2**53 + 1, 2**62, 2**63 - 1])
def test_large_orders_repeat_nothing(n: int) -> None:
    """Of a large order, 100,000 places from its start, its end and everywhere hold different things below n."""
    anywhere = np.random.default_rng(n).integers(0, n, 50_000)
    places = np.unique(np.concatenate((np.arange(25_000), np.arange(n - 25_000, n), anywhere)))

    images = Permutation(n, 3, 4)[places]

    assert images.dtype == np.int64
    assert images.min() >= 0
    assert images.max() < n
    assert len(np.unique(images)) == len(places)


@given(n=st.integers(1, 3000), seed=seeds, epoch=epochs, part=st.tuples(st.integers(0, 3000), st.integers(0, 3000)))
def test_any_part_is_the_slice_of_the_whole(n: int, seed: int, epoch: int, part: tuple[int, int]) -> None:
    """Places asked for by themselves, in any order, hold what they hold in the whole."""
    first, behind = sorted(place % (n + 1) for place in part)
    order = Permutation(n, seed, epoch)
    everything = whole(n, seed, epoch)

    assert order[np.arange(first, behind)].tolist() == everything[first:behind]
    assert order[np.arange(first, behind)[::-2]].tolist() == everything[first:behind][::-2]


def test_seed_and_epoch_decide_the_order() -> None:
    """Each seed and each epoch has an order of its own, and none is the plain one."""
    orders = {tuple(whole(100, seed, epoch)) for seed in range(12) for epoch in range(12)}

    assert len(orders) == 144
    assert tuple(range(100)) not in orders
    assert whole(100, 5, 6) == whole(100, 5, 6)


def test_the_order_is_the_same_on_every_machine() -> None:
    """The order is part of what a seed promises: these are its first places, today as ever.

    Worked out once by the plain arithmetic of `reference_order` below, which knows nothing of numpy.
    """
    for n, seed, epoch in ((10, 0, 0), (1000, 123, 4), (10**12, 7, 0)):
        expected = [reference_order(n, seed, epoch, place) for place in range(10)]

        assert Permutation(n, seed, epoch)[np.arange(10)].tolist() == expected


def reference_order(n: int, seed: int, epoch: int, place: int) -> int:
    """One place of the order, in Python's integers: four Feistel rounds, repeated until the image is below n."""
    bits = max(1, (n - 1).bit_length())
    half = (bits + 1) // 2
    digest = hashlib.sha256(f"llmprep order {n} {seed} {epoch}".encode()).digest()
    image = n
    value = place
    while image >= n:
        left, right = divmod(value, 2**half)
        for number in range(4):
            key = int.from_bytes(digest[8 * number : 8 * number + 8], "little")
            z = (right * 0x9E3779B97F4A7C15 + key) % 2**64
            z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
            left, right = right, left ^ ((z ^ (z >> 31)) % 2**half)
        image = value = left * 2**half + right
    return image


def test_neighbours_are_scattered() -> None:
    """Things that follow each other in the order lie, on average, a third of n apart, as in a fair shuffle."""
    n = 100_003

    images = Permutation(n, 1, 0)[np.arange(n)]

    apart = np.abs(np.diff(images)).mean() / n
    assert 0.32 < apart < 0.347
    fixed = int((images == np.arange(n)).sum())
    assert fixed < 10  # a fair shuffle leaves one in its place, on average


def test_memory_does_not_depend_on_n() -> None:
    """The first places of an order of 10**15 things cost what those of 10**3 cost."""
    peaks = []
    for n in (10**3, 10**15):
        tracemalloc.start()
        Permutation(n, 0, 0)[np.arange(100)]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < 2 * peaks[0] + 10_000
