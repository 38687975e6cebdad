"""A text is found in the tokens that hold it, and in the first window that shows it whole."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llmprep.store.search import find_text, find_window

TABLE = {0: b"a", 1: b"b", 2: b"ab", 3: b"bba", 4: b""}
"""Id 5 is in no table: it has no bytes either."""


@given(
    ids=st.lists(st.integers(0, 5), max_size=12),
    needle=st.text("ab", min_size=1, max_size=6),
    block=st.integers(1, 5),
)
def test_the_first_occurrence_is_found_wherever_blocks_end(ids: list[int], needle: str, block: int) -> None:
    """The tokens are those that hold the first and the last byte of the first occurrence in the whole text."""
    owners = [place for place, i in enumerate(ids) for _ in TABLE.get(i, b"")]
    at = b"".join(TABLE.get(i, b"") for i in ids).find(needle.encode())
    array = np.array(ids, np.uint16)
    found = find_text(lambda first, count: array[first : first + count], len(ids), needle.encode(), TABLE, block=block)
    assert found == (None if at < 0 else (owners[at], owners[at + len(needle) - 1]))


@given(first=st.integers(0, 30), length=st.integers(1, 8), max_length=st.integers(1, 8), stride=st.integers(1, 8))
def test_the_first_window_that_holds_all_of_it(first: int, length: int, max_length: int, stride: int) -> None:
    """As looking at one window after the other finds it."""
    last = first + length - 1
    holding = (n for n in range(40) if n * stride <= first and last < n * stride + max_length)
    assert find_window(first, last, max_length, stride) == next(holding, None)
