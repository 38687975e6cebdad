"""Promises of views: the textbook loop's windows, without a copy, from any blocks, and back to the stream; of pairs.

Those of counts and coverage come first: which sizes are allowed, how many windows there are, what becomes of a token.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import reference
from support.strategies import window_shapes

from llmprep.errors import DataError, UsageError
from llmprep.windows.counts import check_size, check_window, count_windows, require_windows, split_place
from llmprep.windows.coverage import Coverage, cover, target_counts
from llmprep.windows.pairs import Pairs
from llmprep.windows.views import Ids, stream_of, take_rows, take_span, view_windows


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
    explained = f"the largest max_length that works is {max(works)}" if works else "a window needs 2 tokens or more"
    given = "1 token gives" if n_tokens == 1 else f"{n_tokens} tokens give"
    assert str(raised.value) == f"story: {given} no window of max_length {max_length}; {explained}"


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


cut_places = st.lists(st.integers(0, 400), max_size=8)


def partition(ids: Ids, cuts: list[int]) -> Iterator[Ids]:
    """The ids in blocks that end at the cuts; blocks may be empty."""
    return iter(np.split(ids, sorted(cut % (len(ids) + 1) for cut in cuts)))


@given(shape=window_shapes, cuts=cut_places)
@example(shape=(5, 4, 1), cuts=[])
@example(shape=(4, 4, 1), cuts=[])
@example(shape=(0, 1, 1), cuts=[])
@example(shape=(20, 4, 9), cuts=[4, 5, 9, 13, 14])
def test_windows_are_the_loops(shape: tuple[int, int, int], cuts: list[int]) -> None:
    """Views, and rows from any blocks, are the textbook loop's; windows without gaps give back all but the tail."""
    n_tokens, max_length, stride = shape
    ids = np.arange(n_tokens) * 7 + 3
    rows, next_rows = reference.window_rows(ids.tolist(), max_length, stride)

    inputs, targets = view_windows(ids, max_length, stride)
    taken = [token for part in take_rows(partition(ids, cuts), max_length, stride) for token in part.tolist()]

    assert (inputs.tolist(), targets.tolist()) == (rows, next_rows)
    assert inputs.shape == targets.shape == (count_windows(n_tokens, max_length, stride), max_length)
    assert taken == [token for row, later in zip(rows, next_rows, strict=True) for token in (*row, later[-1])]
    if rows and stride <= max_length:
        n_used = (len(rows) - 1) * stride + max_length + 1
        assert stream_of(inputs, targets, stride).tolist() == ids[:n_used].tolist()


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32, np.int64])
def test_windows_are_read_only_views(dtype: type[np.generic]) -> None:
    """Windows have the dtype of the ids, also where there is none, share their memory, and cannot be written to."""
    ids = np.arange(30).astype(dtype)
    for view in (*view_windows(ids, 4, 1), *view_windows(ids[:3], 4, 2)):
        assert view.dtype == np.dtype(dtype)
        assert np.shares_memory(view, ids) or view.shape == (0, 4)
    with pytest.raises(ValueError, match="read-only"):
        view_windows(ids, 4, 1)[0][0, 0] = 1


@given(n_tokens=st.integers(0, 40), start=st.integers(0, 45), count=st.integers(1, 45), cuts=cut_places)
@example(n_tokens=5, start=2, count=4, cuts=[])
@example(n_tokens=5, start=2, count=3, cuts=[3])
def test_a_span_is_a_slice(n_tokens: int, start: int, count: int, cuts: list[int]) -> None:
    """A span of the stream is the slice of its ids, for any blocks; one that reaches past the end is an error."""
    ids = np.arange(n_tokens) * 7 + 3
    if start + count <= n_tokens:
        for to_the_end in (False, True):
            span = take_span(partition(ids, cuts), start, count, name="story", to_the_end=to_the_end)
            assert np.concatenate(list(span)).tolist() == ids[start : start + count].tolist()
        return
    asked = f"tokens {start} to {start + count - 1} were asked for, the last one is {n_tokens - 1}; lower"
    held = "1 token" if n_tokens == 1 else f"{n_tokens} tokens"
    with pytest.raises(DataError, match=f"^story: {held}; {asked}"):
        list(take_span(partition(ids, cuts), start, count, name="story"))


def test_a_stream_is_read_no_further_than_it_must() -> None:
    """Of blocks of ten tokens, those are read that what is wanted lies in, and all only where that is asked for."""
    takes: dict[int, Callable[[Iterator[Ids]], object]] = {
        1: lambda blocks: next(take_rows(blocks, 4, 100)),
        2: lambda blocks: list(take_span(blocks, 5, 15, name="story")),
        9: lambda blocks: list(take_span(blocks, 5, 15, name="story", to_the_end=True)),
    }
    for n_read, take in takes.items():
        blocks = iter([np.arange(10)] * 9)
        take(blocks)
        assert len(list(blocks)) == 9 - n_read


@given(
    context_size=st.integers(1, 12),
    n_windows=st.integers(1, 6),
    pad_id=st.sampled_from([0, 199_999]),
    block_ids=st.sampled_from([1, 5, 12, 40, 1000]),
)
def test_pairs_grow_as_in_the_loop(context_size: int, n_windows: int, pad_id: int, block_ids: int) -> None:
    """Each window's pairs are the loop's, in int64, padded on the right, in any blocks; windows come in turn."""
    ids: Ids = (np.arange(context_size * n_windows + 1) * 7 + 3).astype(np.uint16)
    starts = range(0, context_size * n_windows, context_size)
    expected = [pair for start in starts for pair in reference.pair_rows(ids[start:].tolist(), context_size)]

    pairs = Pairs(ids, context_size, n_windows, pad_id)

    assert list(pairs) == expected
    assert re.fullmatch(r"Pairs\(\d+ pairs?, contexts of up to \d+ tokens?, \d windows?\)", repr(pairs))
    assert len(pairs) == len(expected)
    rows = [context + [pad_id] * (context_size - len(context)) for context, _ in expected]
    flat = [token for row in rows for token in row]
    lengths, targets = [len(context) for context, _ in expected], [target for _, target in expected]
    grown = {pairs.contexts: flat, pairs.lengths: lengths, pairs.targets: targets}
    for grow, numbers in grown.items():
        blocks = list(grow(block_ids))
        assert np.concatenate(blocks).tolist() == np.concatenate(list(grow())).tolist() == numbers
        assert {block.dtype for block in blocks} == {np.dtype(np.int64)}
        assert max(map(len, blocks)) <= block_ids
