"""Promises of spooling: a stream comes back whole and read-only, and leaves no file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmprep.tokens.spooling import spool


@settings(max_examples=30)
@given(blocks=st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=9), max_size=9))
def test_a_spooled_stream_is_the_stream(blocks: list[list[int]], folder: Path) -> None:
    """What goes through the temporary file comes back the same, cannot be written, and leaves no name."""
    ids: Any = spool((np.array(block, np.uint32) for block in blocks), folder)

    assert ids.dtype == np.dtype("<u4")
    assert ids.tolist() == [token for block in blocks for token in block]
    assert list(folder.iterdir()) == []
    if len(ids):
        with pytest.raises(ValueError, match="read-only"):
            ids[0] = 7
