"""Code points that Unicode 17 added, which the two backends treat differently."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from llmprep.documents.cuts import find_safe_cut, last_safe_cut

Ranges: TypeAlias = tuple[tuple[int, int], ...]

NEW_CODE_POINTS = (
    (0x88F, 0x88F),
    (0xC5C, 0xC5C),
    (0xCDC, 0xCDC),
    (0x1ACF, 0x1ADD),
    (0x1AE0, 0x1AEB),
    (0xA7CE, 0xA7CF),
    (0xA7D2, 0xA7D2),
    (0xA7D4, 0xA7D4),
    (0xA7F1, 0xA7F1),
    (0x10940, 0x10959),
    (0x10EC5, 0x10EC7),
    (0x10EFA, 0x10EFB),
    (0x11B60, 0x11B67),
    (0x11DB0, 0x11DDB),
    (0x11DE0, 0x11DE9),
    (0x16EA0, 0x16EB8),
    (0x16EBB, 0x16ED3),
    (0x16FF2, 0x16FF6),
    (0x187F8, 0x187FF),
    (0x18D09, 0x18D1E),
    (0x18D80, 0x18DF2),
    (0x1E6C0, 0x1E6DE),
    (0x1E6E0, 0x1E6F5),
    (0x1E6FE, 0x1E6FF),
    (0x2B73A, 0x2B73F),
    (0x2CEA2, 0x2CEAD),
    (0x323B0, 0x33479),
)
"""Code points that Unicode 17 added and that any of the patterns treats as a letter, digit or mark, as ranges.
`tests/support/new_code_points.py` derives them by comparing both libraries over every code point."""
NEAR_BYTES = 4096
"""How much text between two new code points is left to tiktoken too: going back and forth costs more."""


def has_new_code_point(data: bytes, more: Ranges = ()) -> bool:
    """Tell whether UTF-8 text holds one of `NEW_CODE_POINTS`, or of ``more``, which the backends treat differently."""
    return next(find_new_code_points(data, more), None) is not None


def find_new_code_points(data: bytes, more: Ranges = ()) -> Iterator[int]:
    """Yield where each of `NEW_CODE_POINTS`, and of ``more``, in UTF-8 text begins, in bytes."""
    if data.isascii() or not _may_have_new(data, more):
        return
    text, n_chars, place = data.decode(), 0, 0
    for found in _pattern(more).finditer(text):
        place += len(text[n_chars : found.start()].encode())
        n_chars = found.start()
        yield place


def _may_have_new(data: bytes, more: Ranges) -> bool:
    """Tell whether any character begins with the same two bytes as a new one: quick to rule out."""
    beginnings, leads = _beginnings(more)
    values = np.frombuffer(data, np.uint8)
    return any(beginnings[lead, values[np.flatnonzero(values == lead) + 1]].any() for lead in leads if lead in data)


@functools.cache
def _beginnings(more: Ranges) -> tuple[npt.NDArray[np.bool_], list[int]]:
    """Return whether a new code point begins with two bytes, by the first and the second; and those first bytes."""
    found = np.zeros((256, 256), np.bool_)
    for low, high in (*NEW_CODE_POINTS, *more):
        for code in range(low, high + 1):
            found[*chr(code).encode()[:2]] = True
    return found, np.flatnonzero(found.any(axis=1)).tolist()


@functools.cache
def _pattern(more: Ranges) -> re.Pattern[str]:
    ranges = (*NEW_CODE_POINTS, *more)
    return re.compile("[" + "".join(f"{chr(low)}-{chr(high)}" for low, high in ranges) + "]")


def split_at_new(data: bytes, newer: Ranges = ()) -> Iterator[tuple[bytes, bool]]:
    """Yield the parts of UTF-8 text, each with whether it holds a new code point, and so is not for gigatoken.

    Such a part reaches from the safe cut before to the one after, and over what comes soon after.
    """
    spans: list[list[int]] = []
    for place in find_new_code_points(data, newer):
        before = spans[-1][1] if spans else 0
        if not spans or place >= before + NEAR_BYTES:
            spans.append([before + last_safe_cut(data[before:place]), before])
        if place >= spans[-1][1]:
            spans[-1][1] = find_safe_cut(data, place) or len(data)
    if not spans:
        yield data, False
        return
    for (start, end), before in zip(spans, [0, *(end for _, end in spans)], strict=False):
        if start > before:
            yield data[before:start], False
        yield data[start:end], True
    if spans[-1][1] < len(data):
        yield data[spans[-1][1] :], False
