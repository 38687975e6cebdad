"""Promises of counts: which sizes are allowed, how many windows there are, and where a stream is split.

Those of coverage are here too: an account of every token that adds up.
"""

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import reference
from support.strategies import window_shapes

from llmprep.errors import DataError, UsageError
from llmprep.windows.counts import check_size, check_window, require_windows, split_place
from llmprep.windows.coverage import Coverage, cover, target_counts


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


def test_sizes_pass_as_int_or_are_named() -> None:
    """A size in range passes, as an int of Python's; any other is an error with its name, value and a reason."""
    size: Any
    for size in (1, 2_147_483_647, np.int64(7)):
        assert repr(check_size("stride", size)) == str(size)
        check_window(size, size)
    for size in (0, -1, 2_147_483_648, np.int64(0), True, 4.0, "4", None):
        whole = isinstance(size, int | np.integer) and size is not True
        reason = re.escape(f"{size}: must be from 1 to 2147483647" if whole else f"{size!r}: must be a whole number")
        for name, sizes in (("max_length", (size, 1)), ("stride", (1, size))):
            with pytest.raises(UsageError, match=f"^{name} {reason}$"):
                check_window(*sizes)


@given(n_tokens=st.integers(0, 10**12), percent=st.integers(0, 100))
def test_a_split_leaves_the_fraction_for_validation(n_tokens: int, percent: int) -> None:
    """After the split come as many tokens as the fraction says, rounded down."""
    assert n_tokens - split_place(n_tokens, percent / 100) == int(n_tokens * (percent / 100)) <= n_tokens


@given(shape=window_shapes)
@example(shape=(300, 4, 4))
@example(shape=(300, 4, 5))
@example(shape=(300, 4, 6))
@example(shape=(4, 4, 1))
def test_every_token_is_accounted_for(shape: tuple[int, int, int]) -> None:
    """Each figure equals a count of the loop's places; used, gap and tail add up to all tokens."""
    n_tokens, max_length, stride = shape
    rows, next_rows = reference.window_rows(range(n_tokens), max_length, stride)
    inputs, targets = ({place for row in part for place in row} for part in (rows, next_rows))
    used = inputs | targets
    n_tail = n_tokens - 1 - max(used, default=-1)
    overlap = len(set(range(max_length)) & set(range(stride, stride + max_length))) if rows else 0
    counted = Counter(place for row in next_rows for place in row)

    account = cover(n_tokens, max_length, stride)

    figures = (n_tokens, len(rows), len(inputs), len(targets), len(used), n_tokens - n_tail - len(used))
    assert account == Coverage(*figures, n_tail, overlap)
    assert target_counts(n_tokens, max_length, stride).tolist() == [counted[place] for place in range(n_tokens)]
