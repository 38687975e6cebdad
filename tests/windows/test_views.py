"""Promises of windows: the textbook loop's windows, an account that adds up, and pairs that grow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support import reference
from support.strategies import window_shapes

from llmprep.errors import DataError, UsageError
from llmprep.windows.counts import MAX_WINDOW, check_window, count_windows, require_windows
from llmprep.windows.coverage import cover, target_counts
from llmprep.windows.pairs import grow_pairs
from llmprep.windows.views import Ids, stream_of, take_rows, take_span, view_windows

Shape = tuple[int, int, int]


def tokens(n_tokens: int) -> Ids:
    """Ids that are all different and are not their own places."""
    return np.arange(n_tokens, dtype=np.int64) * 7 + 3


def partition(ids: Ids, cuts: list[int]) -> Iterator[Ids]:
    """The ids in blocks that end at the cuts; blocks may be empty."""
    return iter(np.split(ids, sorted(cut % (len(ids) + 1) for cut in cuts)))


cut_places = st.lists(st.integers(0, 400), max_size=8)


# --- counts and views -----------------------------------------------------------------------------


@given(shape=window_shapes)
@example(shape=(5, 4, 1))
@example(shape=(4, 4, 1))
@example(shape=(0, 1, 1))
def test_windows_are_the_loops(shape: Shape) -> None:
    """Inputs and targets are the textbook loop's rows, and their number is what was counted."""
    n_tokens, max_length, stride = shape
    ids = tokens(n_tokens)
    rows, next_rows = reference.window_rows(ids.tolist(), max_length, stride)

    inputs, targets = view_windows(ids, max_length, stride)

    assert inputs.tolist() == rows
    assert targets.tolist() == next_rows
    assert count_windows(n_tokens, max_length, stride) == len(rows)
    assert inputs.shape == targets.shape == (len(rows), max_length)


@pytest.mark.parametrize(
    ("max_length", "stride", "count"), [(4, 4, 1286), (4, 1, 5141), (256, 128, 39), (256, 256, 20), (4, 128, 41)]
)
def test_the_courses_text_has_the_courses_windows(max_length: int, stride: int, count: int) -> None:
    """The 5,145 tokens of the course's text give as many windows as its loop makes."""
    assert len(range(0, 5145 - max_length, stride)) == count

    assert count_windows(5145, max_length, stride) == count


def test_views_copy_nothing_and_cannot_be_written() -> None:
    """Windows are read-only views of the ids: at stride 1 they would else take max_length times the memory."""
    ids = tokens(100)

    for view in view_windows(ids, 8, 1):
        assert np.shares_memory(view, ids)
        with pytest.raises(ValueError, match="read-only"):
            view[0, 0] = 1


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32, np.int64])
@pytest.mark.parametrize("n_tokens", [3, 30])
def test_views_keep_the_dtype(dtype: type[np.generic], n_tokens: int) -> None:
    """Windows have the dtype of the ids, also where there is none."""
    inputs, targets = view_windows(np.arange(n_tokens).astype(dtype), 4, 2)

    assert inputs.dtype == targets.dtype == np.dtype(dtype)


@given(shape=window_shapes)
def test_a_window_is_required_or_explained(shape: Shape) -> None:
    """Where the loop gives no window, the error says n, max_length, and a max_length that does give one."""
    n_tokens, max_length, stride = shape
    rows, _ = reference.window_rows(range(n_tokens), max_length, stride)

    if rows:
        assert require_windows(n_tokens, max_length, stride, "story") == len(rows)
        return
    with pytest.raises(DataError) as raised:
        require_windows(n_tokens, max_length, stride, "story")
    message = str(raised.value)
    assert message.startswith(f"story: {n_tokens} tokens give no window of max_length {max_length}; ")
    if n_tokens > 1:
        assert message.endswith(f"the largest max_length that works is {n_tokens - 1}")
        assert reference.window_rows(range(n_tokens), n_tokens - 1, stride)[0]
        assert not reference.window_rows(range(n_tokens), n_tokens, stride)[0]
    else:
        assert message.endswith("a window needs at least 2 tokens")


@pytest.mark.parametrize(("max_length", "stride"), [(1, 1), (MAX_WINDOW, MAX_WINDOW), (256, 1)])
def test_sizes_in_range_pass(max_length: int, stride: int) -> None:
    """The smallest and the largest sizes are allowed."""
    check_window(max_length, stride)


@pytest.mark.parametrize("wrong", [0, -1, MAX_WINDOW + 1, 10**30])
def test_sizes_out_of_range_are_named(wrong: int) -> None:
    """A size out of range is a usage error with its name, its value and the range."""
    with pytest.raises(UsageError, match=f"max_length {wrong}: must be from 1 to {MAX_WINDOW}"):
        check_window(wrong, 1)
    with pytest.raises(UsageError, match=f"stride {wrong}: must be from 1 to {MAX_WINDOW}"):
        check_window(1, wrong)


# --- the account ----------------------------------------------------------------------------------


@given(shape=window_shapes)
@example(shape=(300, 4, 5))
@example(shape=(300, 4, 6))
def test_every_token_is_accounted_for(shape: Shape) -> None:
    """Each figure equals a count of the loop's places, and used, gap and tail add up to all tokens."""
    n_tokens, max_length, stride = shape
    rows, next_rows = reference.window_rows(range(n_tokens), max_length, stride)
    inputs, targets = ({place for row in part for place in row} for part in (rows, next_rows))
    used = inputs | targets
    behind = set(range(max(used, default=-1) + 1, n_tokens))

    c = cover(n_tokens, max_length, stride)

    assert c.n_tokens == n_tokens
    assert c.n_windows == len(rows)
    assert (c.n_input, c.n_target, c.n_used) == (len(inputs), len(targets), len(used))
    assert c.n_tail == len(behind)
    assert c.n_gap == len(set(range(n_tokens)) - used - behind)
    assert c.n_used + c.n_gap + c.n_tail == n_tokens
    if len(rows) > 1:
        assert c.overlap == len(set(rows[0]) & set(rows[1]))


@given(shape=window_shapes)
def test_targets_are_counted(shape: Shape) -> None:
    """How often each token is a target equals a count over the loop's target rows."""
    n_tokens, max_length, stride = shape
    _, next_rows = reference.window_rows(range(n_tokens), max_length, stride)
    counted = Counter(place for row in next_rows for place in row)

    assert target_counts(n_tokens, max_length, stride).tolist() == [counted[place] for place in range(n_tokens)]


# --- rows that stand apart ------------------------------------------------------------------------


@given(shape=window_shapes, cuts=cut_places)
@example(shape=(20, 4, 9), cuts=[4, 5, 9, 13, 14])
def test_rows_are_the_loops_for_any_blocks(shape: Shape, cuts: list[int]) -> None:
    """However the stream is cut into blocks, each window's max_length + 1 ids come, in order, and nothing else."""
    n_tokens, max_length, stride = shape
    ids = tokens(n_tokens)
    rows, next_rows = reference.window_rows(ids.tolist(), max_length, stride)

    taken = [int(token) for part in take_rows(partition(ids, cuts), max_length, stride) for token in part]

    assert taken == [token for row, following in zip(rows, next_rows, strict=True) for token in (*row, following[-1])]


def test_rows_hold_little_of_a_long_stream() -> None:
    """Rows come while the stream is read: the first one before more than its own blocks have been taken."""
    read: list[int] = []

    def blocks() -> Iterator[Ids]:
        for start in range(0, 1000, 10):
            read.append(start)
            yield tokens(1000)[start : start + 10]

    first = next(take_rows(blocks(), 4, 100))

    assert first.tolist() == tokens(5).tolist()
    assert read == [0]


# --- back to the stream ---------------------------------------------------------------------------


@given(shape=window_shapes)
def test_the_stream_comes_back_from_its_windows(shape: Shape) -> None:
    """Windows that leave no gap give back every token but the tail."""
    n_tokens, max_length, stride = shape
    assume(stride <= max_length < n_tokens)
    ids = tokens(n_tokens)

    back = stream_of(*view_windows(ids, max_length, stride), stride)

    assert back.tolist() == ids[: n_tokens - cover(n_tokens, max_length, stride).n_tail].tolist()


@given(n_tokens=st.integers(0, 40), start=st.integers(0, 45), count=st.integers(1, 45), cuts=cut_places)
def test_a_span_is_a_slice(n_tokens: int, start: int, count: int, cuts: list[int]) -> None:
    """A span of the stream is the slice of its ids, for any blocks; one that is not there is an error."""
    ids = tokens(n_tokens)

    if start + count <= n_tokens:
        for to_the_end in (False, True):
            span = take_span(partition(ids, cuts), start, count, name="story", to_the_end=to_the_end)
            assert span.tolist() == ids[start : start + count].tolist()
    else:
        with pytest.raises(DataError, match=f"story: {n_tokens} tokens; tokens {start} to {start + count - 1} were"):
            take_span(partition(ids, cuts), start, count, name="story")


@pytest.mark.parametrize(("to_the_end", "n_read"), [(False, 2), (True, 5)])
def test_a_span_reads_no_further_than_it_must(to_the_end: bool, n_read: int) -> None:
    """The stream is left as soon as the span is complete, unless its figures are wanted."""
    read: list[int] = []

    def blocks() -> Iterator[Ids]:
        for number in range(5):
            read.append(number)
            yield tokens(10)

    take_span(blocks(), 5, 15, name="story", to_the_end=to_the_end)

    assert len(read) == n_read


# --- growing pairs --------------------------------------------------------------------------------


@given(context_size=st.integers(1, 12), n_windows=st.integers(1, 6), pad_id=st.sampled_from([0, 50256]))
def test_pairs_grow_as_in_the_loop(context_size: int, n_windows: int, pad_id: int) -> None:
    """Each window's pairs are the loop's, padded on the right, and one window follows the other."""
    ids = tokens(context_size * n_windows + 1)
    expected = [
        pair
        for start in range(0, context_size * n_windows, context_size)
        for pair in reference.pair_rows(ids[start:].tolist(), context_size)
    ]

    pairs = grow_pairs(ids, context_size, n_windows=n_windows, pad_id=pad_id)

    assert list(pairs) == expected
    assert pairs.lengths.tolist() == [len(context) for context, _ in expected]
    assert pairs.targets.tolist() == [target for _, target in expected]
    assert pairs.contexts.tolist() == [context + [pad_id] * (context_size - len(context)) for context, _ in expected]


def test_pairs_of_the_course(verdict_ids: list[int]) -> None:
    """From token 50 of the course's text the first pair is 290 and 4920, as the course prints it."""
    assert verdict_ids[50:52] == [290, 4920]

    pairs = list(grow_pairs(np.array(verdict_ids[50:55]), 4))

    assert pairs[0] == ([290], 4920)
    assert pairs == list(reference.pair_rows(verdict_ids[50:55], 4))


@pytest.fixture
def verdict_ids(verdict: Path) -> list[int]:
    """The ids of the course's text."""
    return reference.encode(verdict.read_text(encoding="utf-8"))


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32])
def test_pairs_are_int64(dtype: type[np.generic]) -> None:
    """Contexts, lengths and targets are int64 whatever the ids are, also where the padding would not fit."""
    pairs = grow_pairs(np.arange(5).astype(dtype), 4, pad_id=199_999)

    assert pairs.contexts.dtype == pairs.lengths.dtype == pairs.targets.dtype == np.int64
    assert pairs.contexts[0].tolist() == [0, 199_999, 199_999, 199_999]
