"""The normal form of a text as the ``tokenizers`` library makes it, by Python's own tables where that is proven equal.

The library's tables are those of about Unicode 9, Python's are newer: they differ in characters that came later. A
character that both know never changes, as Unicode promises, and so the two agree on a text without such characters.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from typing import Literal

import numpy as np

NormalForm = Literal["NFC", "NFD", "NFKC", "NFKD"]
COMPARED = ("14.0.0", "15.0.0", "15.1.0", "16.0.0")
"""The Unicode versions of Pythons whose forms of every character were compared with the library's."""
DIFFERING = (
    (0x307, 0x307),
    (0x7FD, 0x7FD),
    (0x897, 0x89F),
    (0x8CA, 0x8D3),
    (0x9FE, 0x9FE),
    (0xC3C, 0xC3C),
    (0xD3B, 0xD3C),
    (0xEBA, 0xEBA),
    (0x1715, 0x1715),
    (0x1ABF, 0x1ACE),
    (0x1DF6, 0x1DFA),
    (0x32FF, 0x32FF),
    (0xA7F2, 0xA7F4),
    (0xA82C, 0xA82C),
    (0xAB69, 0xAB69),
    (0x105C9, 0x105C9),
    (0x105E4, 0x105E4),
    (0x10781, 0x10785),
    (0x10787, 0x107B0),
    (0x107B2, 0x107BA),
    (0x10D24, 0x10D27),
    (0x10D69, 0x10D6D),
    (0x10EAB, 0x10EAC),
    (0x10EFD, 0x10EFF),
    (0x10F46, 0x10F50),
    (0x10F82, 0x10F85),
    (0x11070, 0x11070),
    (0x1133B, 0x1133B),
    (0x11383, 0x11383),
    (0x11385, 0x11385),
    (0x1138E, 0x1138E),
    (0x11391, 0x11391),
    (0x113B8, 0x113B8),
    (0x113BB, 0x113BB),
    (0x113C2, 0x113C2),
    (0x113C5, 0x113C5),
    (0x113C7, 0x113C9),
    (0x113CE, 0x113D0),
    (0x1145E, 0x1145E),
    (0x11839, 0x1183A),
    (0x11930, 0x11930),
    (0x11938, 0x11938),
    (0x1193D, 0x1193E),
    (0x11943, 0x11943),
    (0x119E0, 0x119E0),
    (0x11A34, 0x11A34),
    (0x11A47, 0x11A47),
    (0x11A99, 0x11A99),
    (0x11D42, 0x11D42),
    (0x11D44, 0x11D45),
    (0x11D97, 0x11D97),
    (0x11F41, 0x11F42),
    (0x1611E, 0x16129),
    (0x1612F, 0x1612F),
    (0x16D67, 0x16D6A),
    (0x16FF0, 0x16FF1),
    (0x1CCD6, 0x1CCF9),
    (0x1E030, 0x1E06D),
    (0x1E08F, 0x1E08F),
    (0x1E130, 0x1E136),
    (0x1E2AE, 0x1E2AE),
    (0x1E2EC, 0x1E2EF),
    (0x1E4EC, 0x1E4EF),
    (0x1E5EE, 0x1E5EF),
    (0x1F16C, 0x1F16C),
    (0x1FBF0, 0x1FBF9),
)
"""Characters of which any of these Pythons and the library make other forms, or that they put in another order or join
otherwise, as ranges. `tests/support/normal_forms.py` derives them."""

LAST_SHORT = 0xFFFF


def is_normal(data: bytes, form: NormalForm) -> bool:
    """Tell whether UTF-8 text is proven to be its own normal form, by what is not ASCII in it.

    An ASCII character never changes, and never joins with what stands before it. So of each stretch of others only the
    character before it is looked at too.
    """
    values = np.frombuffer(data, np.uint8)
    others = values >= 0x80
    if not others.any():
        return True
    looked_at = others.copy()
    looked_at[:-1] |= others[1:]
    text = values[looked_at].tobytes().decode()
    return normalise(text, form) == text


def normalise(text: str, form: NormalForm) -> str | None:
    """Return the normal form that the library makes of a text, or None where it is not proven that Python makes it.

    It is made of the text between added tokens, which are to be found before: the library looks for them in the text
    as it is, and never in what became of it, so a token written in full-width letters stays text. A normal form of the
    whole would make a token of it, and could join marks over the end of one.
    """
    if text.isascii():
        return text
    if _holds_differing(text) or not (unicodedata.unidata_version in COMPARED or _is_old(text)):
        return None
    return unicodedata.normalize(form, text)


def _is_old(text: str) -> bool:
    """Tell whether every character was there in Unicode 3.2, whose table every Python has: no later one changes it."""
    return all(unicodedata.ucd_3_2_0.category(character) != "Cn" for character in set(text))


def _holds_differing(text: str) -> bool:
    """Tell whether a text holds a character of `DIFFERING`, by tables: a pattern for ranges over U+FFFF has none."""
    few, later = _patterns()
    if few.search(text):
        return True
    codes = {ord(character) for character in later.findall(text)}
    return any(low <= code <= high for code in codes for low, high in DIFFERING)


@functools.cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    low = "".join(f"{chr(low)}-{chr(high)}" for low, high in DIFFERING if high <= LAST_SHORT)
    return re.compile(f"[{low}]"), re.compile(f"[{chr(LAST_SHORT + 1)}-{chr(sys.maxunicode)}]")
