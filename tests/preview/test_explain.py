"""Promises of explanations: they stay as they are, and each mark is what counting token by token gives."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.golden import check_golden

from llmprep.preview.explain import coverage_lines, explain_lines
from llmprep.windows.coverage import cover

SHAPES = {
    "explain_4_4.txt": (4, 4),
    "explain_4_1.txt": (4, 1),
    "explain_256_128.txt": (256, 128),
    "explain_4_9.txt": (4, 9),
}


@pytest.mark.parametrize("name", SHAPES)
def test_explanations_are_as_they_were(name: str) -> None:
    """The account and the explanation of a max_length and a stride, for a text of 5,145 tokens, are a golden file."""
    coverage = cover(5145, *SHAPES[name])
    lines = [*coverage_lines(coverage, *SHAPES[name]), "", *explain_lines(coverage, *SHAPES[name])]
    check_golden(name, "\n".join(lines) + "\n")


@given(length=st.integers(1, 30), stride=st.integers(1, 9))
def test_the_drawing_is_a_brute_force_drawing(length: int, stride: int) -> None:
    """Where a column is one token, each window's marks and each target's count stand where a loop puts them."""
    starts = range(0, 4 * stride, stride)
    counts = [sum(i + 1 <= t <= i + length for i in starts) for t in range(3 * stride + length + 1)]

    lines = list(explain_lines(cover(1000, length, stride), length, stride))

    assert lines[3:7] == [f"window {k} {' ' * i}{'#' * length}>" for k, i in enumerate(starts)]
    assert lines[7] == f"target   {''.join(map(str, counts))}"


@given(length=st.integers(1, 2000), stride=st.integers(1, 2000))
def test_a_drawing_fits_and_is_true_to_scale(length: int, stride: int) -> None:
    """Any shape is drawn in at most 60 columns and a label, its windows and the numbers above them to scale."""
    lines = list(explain_lines(cover(100_000, length, stride), length, stride))

    ruler, _, scale = lines[2].removeprefix("token    ").partition("   (each column is ")
    unit = int("0" + re.sub(r"\D", "", scale)) or 1
    drawn = [line[9:] for line in lines[3:7]]
    assert all(len(line) <= 62 for line in drawn)
    assert [len(line) - len(line.lstrip(" ")) for line in drawn] == [k * stride // unit for k in range(4)]
    assert all(int(number[0]) == number.start() * unit for number in re.finditer(r"\d+", ruler))
