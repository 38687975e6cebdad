"""Promises of contexts: their lengths, and which reach into another document, are what counting them gives."""

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import window_shapes

from llmprep.windows.contexts import longest_contexts, sees_across


@given(shape=window_shapes)
def test_the_longest_contexts_are_counted(shape: tuple[int, int, int]) -> None:
    """For any text and windows, the longest contexts are those that a loop over all pairs finds."""
    n_tokens, max_length, stride = shape
    longest: dict[int, int] = {}
    for start in range(0, n_tokens - max_length, stride):
        longest |= {start + k: max(k, longest.get(start + k, 0)) for k in range(1, max_length + 1)}
    wanted = [list(longest.values()).count(k) for k in range(1, max_length + 1)]
    assert longest_contexts(n_tokens, max_length, stride).tolist() == wanted


@given(ids=st.lists(st.integers(0, 2), max_size=12))
def test_a_position_sees_across_where_its_context_holds_another_document(ids: list[int]) -> None:
    """That is, where a token that is no separator stands before a separator in it."""
    contexts = [ids[: k + 1] for k in range(len(ids))]
    assert sees_across(ids, 0) == [any(c[i] and 0 in c[i:] for i in range(len(c))) for c in contexts]
