"""Compares two lines of the ``tokenizers`` library on vocabulary files: what `llmprep.tokens.lines` must know.

With the line that defines, and then with the other in a folder of its own (``pip install --target OTHER --no-deps``):

    PYTHONPATH=. python tests/support/library_lines.py write 1 IDS.npz FILE.json ...
    PYTHONPATH=.:OTHER python tests/support/library_lines.py compare 1 IDS.npz FILE.json ...

Each code point that is not listed there yet stands in several surroundings, or each twentieth, with 20 in the place of
1, and random texts are made of them. What differs is printed, and the exit code is 1.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from llmprep.tokens.lines import find_differing
from llmprep.tokens.tokenizers import Tokenizers, library_line
from llmprep.vocabulary.tokenizer_json import read_tokenizer_json

AROUND = ("a{0}b", " {0} ", "1{0}2", "'{0}s", ".{0}{0}", "e{0}\u0301", "\n{0}\u3042")
MANY = ((0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0x17000, 0x18CD5), (0x20000, 0x323AF), (0xE0200, 0x10FFFF))
"""Blocks of characters that are alike, of which every 97th is tried."""
N_RANDOM = 20_000
PART = 2000


def code_points() -> list[int]:
    """The code points to try: those that are not listed, and no halves of a pair."""
    alike = {code for low, high in MANY for code in range(low, high) if code % 97}
    every = (code for code in range(0x110000) if not 0xD800 <= code < 0xE000 and code not in alike)
    return [code for code in every if find_differing(chr(code)) is None]


def texts(step: int) -> Iterator[str]:
    """Each code point in its surroundings, and then random texts."""
    codes = code_points()[::step]
    yield from (" ".join(around.format(chr(code)) for around in AROUND) for code in codes)
    draw = random.Random(0)  # noqa: S311 - texts, no secret
    near = [code for code in codes if code < 0x3100]
    for _ in range(N_RANDOM // step):
        yield "".join(chr(draw.choice(near if draw.random() < 0.8 else codes)) for _ in range(draw.randint(2, 20)))


def ids_of(path: str, step: int) -> np.ndarray:
    """A hash of the ids of each text."""
    tokenizer = Tokenizers(read_tokenizer_json(path, Path(path).read_bytes()).canonical)
    every = [*texts(step)]
    found = []
    for start in range(0, len(every), PART):
        part = tokenizer.encode_many([text.encode() for text in every[start : start + PART]], special=True)
        found += [int.from_bytes(hashlib.sha256(ids.tobytes()).digest()[:8]) for ids in part]
    return np.array(found, np.uint64)


def main(verb: str, step: str, kept: str, *paths: str) -> int:
    """Write the hashes of some files, or compare them; returns the exit code."""
    if verb == "write":
        np.savez(kept, **{path: ids_of(path, int(step)) for path in paths})  # type: ignore[arg-type]
        return 0
    every, differ = [*texts(int(step))], 0
    for path, ids in np.load(kept).items():
        if path in paths:
            wrong = np.flatnonzero(ids != ids_of(path, int(step)))
            differ += len(wrong)
            shown = "".join(f"    {every[number]!a:.100}\n" for number in wrong[:20])
            sys.stdout.write(f"{path}: {len(wrong)} of {len(ids)} differ in tokenizers {library_line()}\n{shown}")
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
