"""Promises of the seeded order: each thing exactly once, decided by seed and epoch, any part of it by itself."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmprep.pytorch.permutation import Permutation


def whole(n: int, seed: int = 0, epoch: int = 0) -> list[int]:
    """The whole order."""
    order: list[int] = Permutation(n, seed, epoch)[np.arange(n)].tolist()
    return order


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


@pytest.mark.parametrize("n", [1, 2, 10, 1000, 10**12])
def test_the_order_is_the_same_on_every_machine(n: int) -> None:
    """The order is part of what seed and epoch promise: its places are those of plain arithmetic, today as ever."""
    for seed, epoch in ((0, 0), (1, 0), (0, 1), (123, 4), (2**63 - 1, 7)):
        places = sorted({*range(min(n, 10)), n // 3, n // 2, n - 1})

        expected = [reference_order(n, seed, epoch, place) for place in places]

        assert Permutation(n, seed, epoch)[np.array(places)].tolist() == expected


def test_each_thing_comes_exactly_once() -> None:
    """For any n, powers of two and their neighbours among them, the order holds each of 0..n-1 once."""
    for n in (*range(1, 131), 1023, 1024, 1025, 4095, 4096, 4097, 65_537):
        assert sorted(whole(n, 2**63 - 1, 7)) == list(range(n))


@pytest.mark.parametrize("n", [10**6 + 3, 2**32 - 1, 2**32, 2**32 + 1, 10**12, 2**53 + 1, 2**62, 2**63 - 1])
def test_large_orders_repeat_nothing(n: int) -> None:
    """Of a large order, 50,000 places from its start, its end and everywhere hold different things below n."""
    anywhere = np.random.default_rng(n).integers(0, n, 20_000)
    places = np.unique(np.concatenate((np.arange(15_000), np.arange(n - 15_000, n), anywhere)))

    images = Permutation(n, 3, 4)[places]

    assert images.dtype == np.int64
    assert images.min() >= 0
    assert images.max() < n
    assert len(np.unique(images)) == len(places)


@settings(max_examples=30)
@given(
    n=st.integers(1, 3000),
    seed=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 10_000),
    part=st.tuples(st.integers(0, 3000), st.integers(0, 3000)),
)
def test_any_part_is_the_slice_of_the_whole(n: int, seed: int, epoch: int, part: tuple[int, int]) -> None:
    """Places asked for by themselves, in any order, hold what they hold in the whole, which holds each thing once."""
    first, end = sorted(place % (n + 1) for place in part)
    order = Permutation(n, seed, epoch)
    everything = whole(n, seed, epoch)

    assert sorted(everything) == list(range(n))
    assert order[np.arange(first, end)].tolist() == everything[first:end]
    assert order[np.arange(first, end)[::-2]].tolist() == everything[first:end][::-2]
