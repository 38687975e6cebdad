"""A seeded order of n things in constant memory: a keyed bijection of 0..n-1.

A balanced Feistel network (four rounds over halves of the index's bits; Luby and Rackoff 1988) permutes the next power
of four; an image outside 0..n-1 is permuted again until it falls inside ("cycle walking", Black and Rogaway 2002).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]
ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Permutation:
    """An order of ``range(n)`` that ``seed`` and ``epoch`` decide; a part of it costs only its own length.

    >>> sorted(Permutation(5, seed=1, epoch=0)[np.arange(5)].tolist())
    [0, 1, 2, 3, 4]
    """

    n: int
    seed: int
    epoch: int

    def __getitem__(self, places: Index) -> Index:
        """Return which of the n things stand at these places, int64."""
        half = max(1, -(-(self.n - 1).bit_length() // 2))
        keys = self._keys()
        images = _feistel(places.astype(np.uint64), keys, half)
        outside = images >= self.n
        while outside.any():
            images[outside] = _feistel(images[outside], keys, half)
            outside = images >= self.n
        return images.astype(np.int64)

    def _keys(self) -> list[int]:
        digest = hashlib.sha256(f"llmprep order {self.n} {self.seed} {self.epoch}".encode()).digest()
        return [int.from_bytes(digest[8 * k : 8 * k + 8], "little") for k in range(ROUNDS)]


def _feistel(values: npt.NDArray[np.uint64], keys: list[int], half: int) -> npt.NDArray[np.uint64]:
    mask = np.uint64((1 << half) - 1)
    shift = np.uint64(half)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right, np.uint64(key)) & mask)
    return (left << shift) | right


def _mix(values: npt.NDArray[np.uint64], key: np.uint64) -> npt.NDArray[np.uint64]:
    """Scramble 64 bits: the finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        z = values * np.uint64(0x9E3779B97F4A7C15) + key
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
