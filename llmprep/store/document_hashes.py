"""Documents -> a 64-bit hash of the ids of each, worked out for all of a portion at once.

The sum, modulo 2^64, of a number for each id times a power of an odd base, which grows with the place of the id in its
document. So that no document takes a step of its own, each id is multiplied by the power for its place in the portion;
the difference of two cumulative sums is then a document's, times a power that the inverse of the base takes away.

Ids that differ may have equal hashes, by chance or because somebody took care that they do: equal hashes are a reason
to compare the ids, nothing more.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from llmprep.store.portions import Numbers, Portion

Hashes = npt.NDArray[np.uint64]

NO_TOKENS = 0
"""The hash of a document without tokens, and of no other."""
_MODULUS = 1 << 64
_BASE = 0xD1342543DE82EF95  # 5 modulo 8: an odd number's powers repeat after 2^62 at best, and those of this one do
_INVERSE = pow(_BASE, -1, _MODULUS)


def hash_of_ids(n_vocab: int) -> Hashes:
    """Return a number for each id, (n_vocab,) uint64, as if drawn by chance, always the same."""
    return _mix(np.arange(1, n_vocab + 1, dtype=np.uint64))


def add_up(portion: Portion, table: Hashes) -> Hashes:
    """Return what a portion adds to the sum of each of its documents: (k,) uint64. ``table`` is of `hash_of_ids`."""
    n_ids = len(portion.ids)
    sums = np.empty(n_ids + 1, np.uint64)
    sums[0] = 0
    terms = table.take(portion.ids)
    terms *= _powers(_BASE, n_ids + 1)[:-1]
    np.cumsum(terms, out=sums[1:])
    begins = np.maximum(portion.starts - portion.first, 0)
    added: Hashes = sums[np.minimum(portion.ends - portion.first, n_ids)] - sums[begins]
    added *= _powers(_INVERSE, n_ids + 1)[begins]
    if portion.is_continued:
        added[:1] *= np.uint64(pow(_BASE, portion.first - int(portion.starts[0]), _MODULUS))
    return added


def finish(sums: Hashes, lengths: Numbers) -> Hashes:
    """Return the hashes of documents of these sums and numbers of tokens: (k,) uint64, spread evenly over all values.

    That of a document without tokens is `NO_TOKENS`.
    """
    hashes = _mix(sums + _mix(lengths.astype(np.uint64)))
    hashes[hashes == NO_TOKENS] = NO_TOKENS + 1
    hashes[lengths == 0] = NO_TOKENS
    return hashes


def _mix(values: Hashes) -> Hashes:
    """Return other values, each of whose bits depends on all bits of the given one: the steps of splitmix64."""
    mixed = values * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _powers(base: int, count: int) -> Hashes:
    """Return ``base`` to the powers of 0 to ``count - 1``, modulo 2^64."""
    return _many_powers(base, 1 << (count - 1).bit_length())[:count]


@functools.lru_cache(maxsize=4)
def _many_powers(base: int, count: int) -> Hashes:
    factors = np.full(count, base, np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)
