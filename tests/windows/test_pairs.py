"""Promises of pairs: contexts that grow as in the course's loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import reference

from llmprep.windows.pairs import grow_pairs
from llmprep.windows.views import Ids


@pytest.mark.parametrize("dtype", [np.uint16, np.int64])
@given(context_size=st.integers(1, 12), n_windows=st.integers(1, 6), pad_id=st.sampled_from([0, 199_999]))
def test_pairs_grow_as_in_the_loop(dtype: type, context_size: int, n_windows: int, pad_id: int) -> None:
    """Each window's pairs, or those of one, are the loop's, in int64, padded on the right; windows come in turn."""
    ids: Ids = (np.arange(context_size * n_windows + 1) * 7 + 3).astype(dtype)
    starts = range(0, context_size * n_windows, context_size)
    expected = [pair for start in starts for pair in reference.pair_rows(ids[start:].tolist(), context_size)]

    pairs = grow_pairs(ids, context_size, n_windows=n_windows, pad_id=pad_id)

    assert list(pairs) == expected
    assert pairs.lengths.tolist() == [len(context) for context, _ in expected]
    assert pairs.targets.tolist() == [target for _, target in expected]
    assert pairs.contexts.tolist() == [context + [pad_id] * (context_size - len(context)) for context, _ in expected]
    first = grow_pairs(ids, context_size)
    assert list(first) == expected[:context_size]
    assert first.contexts[0].tolist() == [ids[0]] + [0] * (context_size - 1)
    assert pairs.contexts.dtype == pairs.lengths.dtype == pairs.targets.dtype == np.int64
