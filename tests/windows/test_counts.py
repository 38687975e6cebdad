"""Promises of counts: which sizes are allowed, how many windows there are, and where a stream is split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import reference
from support.strategies import window_shapes

from llmprep.errors import DataError, UsageError
from llmprep.windows.counts import check_size, check_window, require_windows, split_place


@given(shape=window_shapes)
@example(shape=(2, 2, 1))
@example(shape=(1, 1, 1))
def test_a_window_is_required_or_explained(shape: tuple[int, int, int]) -> None:
    """There are as many windows as the loop makes; where it makes none, the largest max_length that works is named."""
    n_tokens, max_length, stride = shape
    rows, _ = reference.window_rows(range(n_tokens), max_length, stride)

    if rows:
        assert require_windows(n_tokens, max_length, stride, "story") == len(rows)
        return
    with pytest.raises(DataError) as raised:
        require_windows(n_tokens, max_length, stride, "story")
    works = [size for size in range(1, n_tokens + 1) if reference.window_rows(range(n_tokens), size, stride)[0]]
    explained = f"the largest max_length that works is {max(works)}" if works else "a window needs at least 2 tokens"
    assert str(raised.value) == f"story: {n_tokens} tokens give no window of max_length {max_length}; {explained}"


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        *((size, "") for size in (1, 2_147_483_647, np.int64(7))),
        *((size, "must be from 1 to 2147483647") for size in (0, -1, 2_147_483_648, 10**30, np.int64(0))),
        *((size, "must be a whole number") for size in (True, 4.0, "4", None)),
    ],
)
def test_sizes_pass_as_int_or_are_named(size: int, reason: str) -> None:
    """A size in range passes, as an int of Python's; any other is an error with its name, value and a reason."""
    if not reason:
        assert repr(check_size("stride", size)) == str(size)
        check_window(size, size)
        return
    for name, sizes in (("max_length", (size, 1)), ("stride", (1, size))):
        with pytest.raises(UsageError) as raised:
            check_window(*sizes)
        assert str(raised.value) == f"{name} {repr(size) if 'whole' in reason else size}: {reason}"


@given(n_tokens=st.integers(0, 10**12), percent=st.integers(0, 100))
def test_a_split_leaves_the_fraction_for_validation(n_tokens: int, percent: int) -> None:
    """After the split come as many tokens as the fraction says, rounded down."""
    assert n_tokens - split_place(n_tokens, percent / 100) == int(n_tokens * (percent / 100)) <= n_tokens
