"""Derive the code points for which gigatoken and tiktoken give different ids, as ranges.

``python tests/support/new_code_points.py FOLDER`` prints them for `llmprep.tokens.unicode17.NEW_CODE_POINTS`. Each code
point is put between letters, digits, spaces, a contraction and itself, for each pattern that both libraries know.
"""

import itertools
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from llmprep.tokens.gigatoken import Gigatoken
from llmprep.tokens.tiktoken import tiktoken_encoding
from llmprep.vocabulary.loading import load_vocabulary

AROUND = " a{0}b {0}A{0}1{0}2 x{0}'ve{0} {0}{0}\n{0}.{0} end"
SHORT = " a{0}b x'{0}e 1{0}\n{0} "
"""For the code points from `UNASSIGNED` on, nearly all of which stand for nothing."""
UNASSIGNED = 0x33500


def block(first: int, step: int = 1) -> list[int]:
    """The 256 code points from one on; with a step, every so many where all but those of one plane stand for nothing.

    The planes from `UNASSIGNED` on are of two categories, unassigned and private, and plane 14 has the others.
    """
    alike = first >= UNASSIGNED and first >> 16 != 14
    return [code for code in range(first, first + 256, step if alike else 1) if not 0xD800 <= code < 0xE000]


def as_ranges(codes: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Join neighbours: {1, 2, 3, 7} becomes ((1, 3), (7, 7))."""
    runs = itertools.groupby(enumerate(sorted(codes)), lambda pair: pair[1] - pair[0])
    held = ([code for _, code in run] for _, run in runs)
    return tuple((run[0], run[-1]) for run in held)


def derive(folder: Path, step: int = 1) -> tuple[tuple[int, int], ...]:
    """Return the ranges over all encodings, given a folder with cl100k_base and o200k_base, and a step of `block`."""
    found: set[int] = set()
    for encoding in ("r50k_base", "cl100k_base", "o200k_base"):
        vocabulary = load_vocabulary(encoding, folder)
        exact, fast = tiktoken_encoding(vocabulary), Gigatoken(vocabulary)

        def differ(codes: Sequence[int], exact: Any = exact, fast: Gigatoken = fast) -> bool:
            around = SHORT if step > 1 and min(codes, default=0) >= UNASSIGNED else AROUND
            text = "".join(around.format(chr(code)) for code in codes)
            return bool(exact.encode(text, disallowed_special=()) != fast.encode(text.encode(), special=False).tolist())

        for first in range(0, sys.maxunicode + 1, 256):
            codes = block(first, step)
            if differ(codes):
                found.update(code for code in codes if differ([code]))
    return as_ranges(found)


if __name__ == "__main__":
    for low, high in derive(Path(sys.argv[1])):
        sys.stdout.write(f"    (0x{low:X}, 0x{high:X}),\n")
