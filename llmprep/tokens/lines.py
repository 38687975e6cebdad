"""The characters on which the two lines of the ``tokenizers`` library differ: 0.23, which defines the ids, and 1.0.

Their tables are of different versions of Unicode. In patterns they differ on letters, marks, digits, punctuation and
symbols that Unicode 17 added; in normal forms on what came after about Unicode 9, as Python and 0.23 do; where
punctuation ends a word, as in BERT's, on punctuation after Unicode 9. A text with none of these has the same ids.
"""

from __future__ import annotations

import functools
from itertools import chain

from llmprep.tokens.normalizing import DIFFERING
from llmprep.tokens.unicode17 import NEW_CODE_POINTS

ALSO = (
    (0x61D, 0x61D),
    (0x9FD, 0x9FD),
    (0xA76, 0xA76),
    (0xC77, 0xC77),
    (0xC84, 0xC84),
    (0x166D, 0x166D),
    (0x1B4E, 0x1B4F),
    (0x1B7D, 0x1B7F),
    (0x20C1, 0x20C1),
    (0x2B96, 0x2B96),
    (0x2E43, 0x2E4F),
    (0x2E52, 0x2E5D),
    (0x3040, 0x3040),
    (0xFBC3, 0xFBD2),
    (0xFD90, 0xFD91),
    (0xFDC8, 0xFDCE),
    (0x10D6E, 0x10D6E),
    (0x10EAD, 0x10EAD),
    (0x10ED0, 0x10ED6),
    (0x10ED8, 0x10ED8),
    (0x10F55, 0x10F59),
    (0x10F86, 0x10F89),
    (0x111C9, 0x111C9),
    (0x113D4, 0x113D5),
    (0x113D7, 0x113D8),
    (0x1144B, 0x1144F),
    (0x1145A, 0x1145B),
    (0x1145D, 0x1145D),
    (0x11660, 0x1166C),
    (0x116B9, 0x116B9),
    (0x1183B, 0x1183B),
    (0x11944, 0x11946),
    (0x119E2, 0x119E2),
    (0x11A3F, 0x11A46),
    (0x11A9A, 0x11A9C),
    (0x11A9E, 0x11AA2),
    (0x11B00, 0x11B09),
    (0x11BE1, 0x11BE1),
    (0x11C41, 0x11C45),
    (0x11C70, 0x11C71),
    (0x11EF7, 0x11EF8),
    (0x11F43, 0x11F4F),
    (0x11FFF, 0x11FFF),
    (0x12FF1, 0x12FF2),
    (0x16D6D, 0x16D6F),
    (0x16E97, 0x16E9A),
    (0x16FE2, 0x16FE2),
    (0x1CCFA, 0x1CCFC),
    (0x1CEBA, 0x1CED0),
    (0x1CEE0, 0x1CEF0),
    (0x1E5FF, 0x1E5FF),
    (0x1E95E, 0x1E95F),
    (0x1F6D8, 0x1F6D8),
    (0x1F777, 0x1F777),
    (0x1F779, 0x1F779),
    (0x1F8D0, 0x1F8D4),
    (0x1F8D6, 0x1F8D6),
    (0x1F8D8, 0x1F8D8),
    (0x1FA54, 0x1FA54),
    (0x1FA56, 0x1FA57),
    (0x1FA8E, 0x1FA8E),
    (0x1FAC8, 0x1FAC8),
    (0x1FACD, 0x1FACD),
    (0x1FAEF, 0x1FAEF),
    (0x1FBFA, 0x1FBFA),
)
"""Further characters on which 0.23.3 and 1.0.0rc3 differ, as ranges. Found with the patterns of DeepSeek, Qwen 3, Llama
3, GPT-2 and GPT-4o, with each normaliser and each rule that splits, around every such character."""


def find_differing(text: str) -> str | None:
    """Return a character of a text on which the two lines may differ, the first by number; None if there is none."""
    return None if text.isascii() else min(_characters() & set(text), default=None)


@functools.cache
def _characters() -> frozenset[str]:
    ranges = chain(NEW_CODE_POINTS, DIFFERING, ALSO)
    return frozenset(chr(code) for low, high in ranges for code in range(low, high + 1))
