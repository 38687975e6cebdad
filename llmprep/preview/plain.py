"""Text made safe to show, and the plain lines that a pipe gets."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence

Decode = Callable[[Sequence[int]], str]

UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"
"""Zero-width joiners shape Indic and Persian letters and emoji, and do nothing else to a terminal."""


def visible(text: str) -> str:
    r"""Return ``text`` with every character that would act on a terminal written out.

    Control characters (C0, C1, DEL), bidirectional overrides, other invisible format characters, line and paragraph
    separators and lone surrogates become escapes; everything else stays.

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
    """Group digits by thousands.

    >>> number(5145)
    '5,145'
    """
    return f"{value:,}"


def plural(count: int, noun: str) -> str:
    """Return the count with its noun.

    >>> plural(1, "window"), plural(1286, "window")
    ('1 window', '1,286 windows')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size(n_bytes: int) -> str:
    """Return bytes as people read them, in powers of 1000.

    >>> size(812), size(41264), size(5_266_432)
    ('812 bytes', '41.3 kB', '5.3 MB')
    """
    if n_bytes < 1000:
        return f"{n_bytes} bytes"
    power = next((k for k in range(1, 5) if n_bytes < 999.95 * 1000**k), 5)
    return f"{n_bytes / 1000**power:.1f} {UNITS[power]}"


def pair_lines(pairs: Iterable[tuple[list[int], int]], decode: Decode | None) -> Iterator[str]:
    """Yield the reference's two forms: each context and its target as ids, then all again as text.

    >>> list(pair_lines([([290], 4920)], None))
    ['[290] ----> 4920']
    """
    listed = list(pairs)
    for context, target in listed:
        yield f"{context} ----> {target}"
    if decode is not None:
        for context, target in listed:
            yield f"{visible(decode(context))} ----> {visible(decode([target]))}"


def row_pairs(inputs: Sequence[int], target: int, most: int) -> list[tuple[list[int], int]]:
    """Return up to ``most`` growing contexts inside one window, each with its target."""
    ids = [*inputs, target]
    return [(ids[:k], ids[k]) for k in range(1, min(most, len(inputs)) + 1)]


def ellipsis(shown: int, of: int, noun: str) -> str:
    """Say what a preview leaves out; empty if nothing."""
    return f"... and {plural(of - shown, noun)} more" if of > shown else ""
