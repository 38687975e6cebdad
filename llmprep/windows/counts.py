"""Which sizes a window may have, how many windows there are, and where a stream is split."""

from __future__ import annotations

import math

import numpy as np

from llmprep.errors import DataError, UsageError

MAX_WINDOW = 2**31 - 1
"""Largest max_length and stride."""


class DefaultSize(int):
    """A max_length or stride that nobody gave: for what has none of its own, as texts; a windows file keeps its own.

    It is shown, and reckoned with, as the number it is: signatures tell the default, and the type that it is one.
    """


def check_window(max_length: int, stride: int) -> None:
    """Raise `UsageError` unless both are in 1..`MAX_WINDOW`."""
    check_size("max_length", max_length)
    check_size("stride", stride)


def check_size(name: str, value: object) -> int:
    """Return a max_length or stride as an int. Raises `UsageError` unless it is a whole number in 1..`MAX_WINDOW`."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise UsageError(f"{name} {value!r:.40}: must be a whole number")
    if not 1 <= value <= MAX_WINDOW:
        raise UsageError(f"{name} {value}: must be from 1 to {MAX_WINDOW}")
    return value if isinstance(value, DefaultSize) else int(value)


def split_place(n_tokens: int, val_fraction: float) -> int:
    """Return at which token a stream is split: the last ``floor(n * val_fraction)`` are for validation.

    >>> split_place(5145, 0.1)
    4631
    """
    return n_tokens - math.floor(n_tokens * val_fraction)


def count_windows(n_tokens: int, max_length: int, stride: int) -> int:
    """Return how many windows ``n_tokens`` give: 0 if they are too few for one.

    >>> [count_windows(5145, *ls) for ls in ((4, 4), (4, 1), (256, 128), (256, 256))]
    [1286, 5141, 39, 20]
    """
    return max(0, (n_tokens - 1 - max_length) // stride + 1)


def require_windows(n_tokens: int, max_length: int, stride: int, name: str) -> int:
    """Return `count_windows`. Raises `DataError`, which says what max_length would work for ``name``, if it is 0."""
    count = count_windows(n_tokens, max_length, stride)
    if count == 0:
        largest = (
            f"the largest max_length that works is {n_tokens - 1}"
            if n_tokens > 1
            else "a window needs 2 tokens or more"
        )
        given = "1 token gives" if n_tokens == 1 else f"{n_tokens} tokens give"
        raise DataError(f"{name}: {given} no window of max_length {max_length}; {largest}")
    return count
