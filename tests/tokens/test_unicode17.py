"""Promises of the table of new code points: it is what the two backends differ in, and each is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.new_code_points import as_ranges, derive

from llmprep.tokens.unicode17 import NEW_CODE_POINTS, has_new_code_point


def test_every_new_code_point_is_noticed() -> None:
    """Each code point of the table is found in bytes, its neighbours outside the table are not; ranges are in order."""
    listed = {code for low, high in NEW_CODE_POINTS for code in range(low, high + 1)}
    beside = {code + step for code in listed for step in (-1, 1)} - listed

    assert [code for code in sorted(listed) if not has_new_code_point(f"a{chr(code)}b".encode())] == []
    assert [code for code in sorted(beside) if has_new_code_point(f"a{chr(code)}b".encode())] == []
    assert not has_new_code_point(b"plain words")
    assert as_ranges(listed) == NEW_CODE_POINTS


@pytest.mark.slow
def test_the_table_is_what_the_libraries_differ_in(vocab_dir: Path) -> None:
    """Comparing both libraries over every code point gives the table again."""
    assert derive(vocab_dir) == NEW_CODE_POINTS
