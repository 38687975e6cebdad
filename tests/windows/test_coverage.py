"""Promises of coverage: an account of every token that adds up."""

from __future__ import annotations

from collections import Counter

from hypothesis import example, given
from support import reference
from support.strategies import window_shapes

from llmprep.windows.coverage import Coverage, cover, target_counts


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
    tail = set(range(max(used, default=-1) + 1, n_tokens))
    n_gap = len(set(range(n_tokens)) - used - tail)
    overlap = len(set(range(max_length)) & set(range(stride, stride + max_length))) if rows else 0
    counted = Counter(place for row in next_rows for place in row)

    account = cover(n_tokens, max_length, stride)

    figures = (n_tokens, len(rows), len(inputs), len(targets), len(used), n_gap, len(tail), overlap)
    assert account == Coverage(*figures)
    assert account.n_used + account.n_gap + account.n_tail == n_tokens
    assert target_counts(n_tokens, max_length, stride).tolist() == [counted[place] for place in range(n_tokens)]
