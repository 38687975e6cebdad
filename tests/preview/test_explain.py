"""Promises of explanations: each figure and each mark is what counting token by token gives."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.golden import check_golden
from support.strategies import window_shapes

from llmprep.preview.explain import coverage_lines, explain_lines
from llmprep.windows.coverage import cover


def figures(line: str) -> list[int]:
    """The whole numbers in a line."""
    return [int(digits.replace(",", "")) for digits in re.findall(r"\d[\d,]*\d|\d", line)]


@pytest.mark.parametrize(
    ("name", "max_length", "stride"),
    [
        ("explain_4_4.txt", 4, 4), ("explain_4_1.txt", 4, 1),
        ("explain_256_128.txt", 256, 128), ("explain_4_9.txt", 4, 9),
    ],
)  # fmt: skip
def test_explanations_are_as_they_were(name: str, max_length: int, stride: int) -> None:
    """The explanation of a max_length and a stride, for a text of 5,145 tokens, is its golden file."""
    coverage = cover(5145, max_length, stride)

    lines = [*coverage_lines(coverage, max_length, stride), "", *explain_lines(coverage, max_length, stride)]

    check_golden(name, "\n".join(lines) + "\n")


@given(shape=window_shapes)
def test_the_account_of_tokens_is_a_brute_force_count(shape: tuple[int, int, int]) -> None:
    """Every figure of the account equals what counting token by token gives, and the sum that it states is true."""
    n, length, stride = shape
    windows = [range(i, i + length + 1) for i in range(0, n - length, stride)]
    inputs = {i for window in windows for i in window[:-1]}
    targets = {i for window in windows for i in window[1:]}
    used = inputs | targets
    tail = n - 1 - max(used, default=-1)
    gap = n - len(used) - tail
    shared = len(set(range(length)) & set(range(stride, stride + length))) if windows else 0

    first, second, third = coverage_lines(cover(n, length, stride), length, stride)

    assert figures(first) == [n, len(windows), length, stride]
    assert figures(second) == [len(inputs), len(targets), len(used)]
    gaps = [gap] if stride > length else []
    assert figures(third) == [*gaps, tail, len(used), gap, tail, n, shared]


@given(length=st.integers(1, 30), stride=st.integers(1, 9))
def test_the_drawing_is_a_brute_force_drawing(length: int, stride: int) -> None:
    """Where a column is one token, each window's marks and each target's count stand where a loop puts them."""
    n_tokens = 3 * stride + length + 1
    counts = [sum(i + 1 <= t <= i + length for i in range(0, 4 * stride, stride)) for t in range(n_tokens)]

    lines = list(explain_lines(cover(1000, length, stride), length, stride))

    drawn = [line[9:] for line in lines if line.startswith("window ")]
    assert drawn == [" " * i + "#" * length + ">" for i in range(0, 4 * stride, stride)]
    (row,) = [line for line in lines if line.startswith("target ")]
    assert row[9:] == "".join(map(str, counts))


@given(length=st.integers(1, 2000), stride=st.integers(1, 2000))
def test_a_drawing_fits_and_is_true_to_scale(length: int, stride: int) -> None:
    """Any shape is drawn in at most 60 columns and a label, its windows and the numbers above them to scale."""
    lines = list(explain_lines(cover(100_000, length, stride), length, stride))

    (ruler,) = [line[9:] for line in lines if line.startswith("token ")]
    unit = max(figures(ruler.partition("(")[2]), default=1)
    drawn = [line[9:] for line in lines if line.startswith("window ")]
    assert all(len(line) <= 62 for line in drawn)
    assert [len(line) - len(line.lstrip(" ")) for line in drawn] == [k * stride // unit for k in range(4)]
    for number in re.finditer(r"\d+", ruler.partition("(")[0]):
        assert int(number[0]) == number.start() * unit


@given(shape=window_shapes.filter(lambda shape: shape[0] > shape[1]))
def test_consequences_are_a_brute_force_count(shape: tuple[int, int, int]) -> None:
    """The average, the gaps and the tail that the explanation names are what counting gives."""
    n, length, stride = shape
    starts = range(0, n - length, stride)
    targets = [i + 1 + k for i in starts for k in range(length)]
    tail = n - 1 - max(targets)

    text = "\n".join(explain_lines(cover(n, length, stride), length, stride))

    if stride < length:
        assert f"A token is a target {len(targets) / len(set(targets)):.1f} times on average" in text
        assert f"neighbours share {length - stride} of {length} tokens" in text
    elif stride == length:
        assert "Each token is a target once per epoch, all but the first" in text
    else:
        between = stride - length - 1
        assert f"between two windows {between} token{'s' * (between != 1)} are read by none" in text
        assert f"{between * (len(starts) - 1)} of {n} in this text" in text
    assert (f"The tail, the last {tail} token{'s' * (tail != 1)}, fills no window" in text) == (tail > 0)
    assert ("there is no tail" in text) == (tail == 0)
