"""Text made safe to show, numbers and sizes in words, and the lines that a pipe gets."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmprep.windows.pairs import Pairs

Decode = Callable[[Sequence[int]], str]
"""Ids -> their text."""

TABLE_COLUMNS = 56
"""A terminal of fewer columns gets lines: a table of pairs would cut its words."""
_UNITS = ("kB", "MB", "GB", "TB", "PB")
_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of control, format and surrogate characters, and of line and paragraph separators."""
_JOINERS = "\u200c\u200d"
"""Zero-width (non-)joiners shape Indic and Persian letters and emoji, and do nothing else to a terminal."""


def visible(text: str) -> str:
    r"""Return ``text`` with every character that would act on a terminal written as Python's escape for it.

    These are control characters (C0, C1, DEL), bidirectional overrides and other invisible format characters, line and
    paragraph separators, and lone surrogates. All other characters stay as they are.

    >>> print(visible("red \x1b[31m\n"))
    red \x1b[31m\n
    """
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(char: str) -> str:
    if char in _NAMED:
        return _NAMED[char]
    if char in _JOINERS or unicodedata.category(char) not in _HARMFUL:
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def number(value: int) -> str:
    """Return a whole number with its digits grouped by thousands.

    >>> number(5145)
    '5,145'
    """
    return f"{value:,}"


def size(n_bytes: int) -> str:
    """Return a number of bytes as people read it: in the largest power of 1000 that leaves 1.0 or more.

    >>> size(812), size(41264), size(5_266_432)
    ('812 bytes', '41.3 kB', '5.3 MB')
    """
    if n_bytes < 1000:
        return f"{n_bytes} bytes"
    largest = len(_UNITS)
    power = next((k for k in range(1, largest) if n_bytes < 999.95 * 1000**k), largest)  # 999.95 rounds to 1000.0
    return f"{n_bytes / 1000**power:.1f} {_UNITS[power - 1]}"


def pair_lines(pairs: Sequence[tuple[list[int], int]] | Pairs, decode: Decode | None) -> Iterator[str]:
    """Yield pairs of a context and its target in the reference's two forms: all of them as ids, then all as text.

    Without ``decode``, as where the vocabulary is missing, there are only the lines of ids.

    >>> list(pair_lines([([290], 4920)], None))
    ['[290] ----> 4920']
    """
    for context, target in pairs:
        yield f"{context} ----> {target}"
    if decode is not None:
        for context, target in pairs:
            yield f"{visible(decode(context))} ----> {visible(decode([target]))}"
