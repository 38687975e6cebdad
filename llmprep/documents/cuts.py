"""Where a text may be cut, what joins small texts in one block, and which texts are not joined.

A block ends at a *safe cut*: after a letter or digit of `_LETTERS` and before an ASCII space, tab, CR or LF, or an
ideographic comma or full stop. There, encoding the two sides apart gives the ids of encoding them together, for the
patterns that are known to allow it, as those of r50k, p50k, cl100k and o200k: each of them ends a piece between these
two, and none depends on what came before it. A cut never splits a UTF-8 character or a CRLF.

Text without such a place for a long stretch (compact JSON, minified code, hexadecimal digits) is cut at a *second cut*
instead: after an ASCII letter or digit and before ASCII punctuation, or between a letter and a digit, both of ASCII. It
is as exact; where the shards of a store begin and end does not depend on it.

A vocabulary decides which of these may be used, so that no special token is split: its `Cuts`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

_LETTERS = (
    rb"[A-Za-z0-9]",
    rb"\xc3[\x80-\x96\x98-\xb6\xb8-\xbf]|[\xc4\xc5][\x80-\xbf]",  # Latin, U+00C0 to U+017F without the two signs
    rb"\xce[\xb1-\xbf]|\xcf[\x80-\x8e]",  # Greek small letters
    rb"[\xd0\xd1][\x80-\xbf]",  # Cyrillic, U+0400 to U+047F
    rb"\xd7[\x90-\xaa]",  # Hebrew
    rb"\xd8[\xa1-\xba]|\xd9[\x81-\x8a]",  # Arabic, U+0621 to U+064A
    rb"\xe0\xa4[\x95-\xb9]|\xe0\xb8[\x81-\xae]",  # Devanagari and Thai consonants
    rb"\xe3(?:\x81[\x81-\xbf]|\x82[\x80-\x93\xa1-\xbf]|\x83[\x80-\xba])",  # kana
    rb"[\xe5-\xe8][\x80-\xbf]{2}",  # Han, U+5000 to U+8FFF
    rb"\xea[\xb0-\xbf][\x80-\xbf]|[\xeb\xec][\x80-\xbf]{2}",  # Hangul, U+AC00 to U+CFFF
)
"""Letters and digits, in UTF-8, that every version of Unicode that a backend carries knows as such."""
SAFE_CUT = re.compile(rb"(?:" + rb"|".join(_LETTERS) + rb")(?=[ \t\r\n]|\xe3\x80[\x81\x82]|\xef\xbc\x8c)")
_SIGNS = rb'!"#$%&()*+,-./:;<=>?@[\]^`{}~'
"""All ASCII punctuation but the apostrophe (a contraction goes on with it), and ``|`` and ``_``, which come after
letters in special tokens."""
REACH = 5
"""How many bytes at the end of some data may be of a cut that is seen only with the bytes after them: 3 + 3 - 1."""
_DEPTH = 3
"""How often a pattern for any of many strings branches by their next byte."""


def second_cut(tokens: Iterable[bytes] = ()) -> re.Pattern[bytes]:
    """Return a pattern for second cuts, but for those between two such characters as stand together in a token.

    >>> [place.end() for place in second_cut([b"<think>", b"<x1|"]).finditer(b"a<b>c,1d2")]
    [1, 5, 7]
    """
    held = {token[k - 1 : k + 1] for token in tokens for k in range(1, len(token))}
    words = {pair for pair in held if pair[:1].isalnum() and pair.isascii()}
    signs = bytes(sign for sign in _SIGNS if not any(pair[1] == sign for pair in words))
    kinds = [rb"[A-Za-z0-9](?=[" + re.escape(signs) + rb"])"] if signs else []
    if not any(pair[:1].isalpha() and pair[1:].isdigit() for pair in words):
        kinds.append(rb"[A-Za-z](?=[0-9])")
    if not any(pair[:1].isdigit() and pair[1:].isalpha() for pair in words):
        kinds.append(rb"[0-9](?=[A-Za-z])")
    return re.compile(rb"|".join(kinds) or rb"(?!)")


SECOND_CUT = second_cut()


def _any_of(strings: Sequence[bytes], depth: int = _DEPTH) -> bytes:
    """Return a pattern that is found in just the texts that hold any of some strings, which are sorted.

    What they begin with in common is found quickly, and many are told apart by a few bytes each.
    """
    n_same = next((k for k, (a, b) in enumerate(zip(strings[0], strings[-1], strict=False)) if a != b), len(strings[0]))
    begin = strings[0][:n_same]
    rests = [string[len(begin) :] for string in strings]
    if not rests[0]:
        return re.escape(begin)  # the shortest of them is found wherever the others are
    groups = [[*group] for _, group in groupby(rests, lambda rest: rest[:1])] if depth else [[rest] for rest in rests]
    return re.escape(begin) + b"(?:" + b"|".join(_any_of(group, depth - 1) for group in groups) + b")"


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where texts may be cut, and how small ones are joined, as the vocabulary allows that encodes them.

    Where cuts are not ``allowed``, each document is encoded whole; ``second`` matches up to a second cut. ``joint`` is
    what joins small documents, None where each goes alone; ``specials`` are strings in UTF-8 of which a document must
    hold none to be joined.
    """

    allowed: bool = True
    joint: bytes | None = b"<|endoftext|>"
    specials: tuple[bytes, ...] = (b"<|",)
    second: re.Pattern[bytes] = SECOND_CUT
    _special: re.Pattern[bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pattern = re.compile(_any_of(sorted(set(self.specials))) if self.specials else rb"(?!)")
        object.__setattr__(self, "_special", pattern)

    def may_hold_special(self, data: bytes) -> bool:
        """Tell whether a document holds one of ``specials``."""
        return self._special.search(data) is not None


TIKTOKEN_CUTS = Cuts()
"""Those of tiktoken's own encodings, whose special tokens all begin with ``<|`` and hold no place to cut."""


def find_safe_cut(data: bytes, after: int) -> int | None:
    """Return the first safe cut at or after a position, None if there is none, without looking at what is before."""
    places = SAFE_CUT.finditer(data, max(0, after - REACH))
    found = next((place for place in places if place.end() >= after), None)
    return found and found.end()


def last_safe_cut(data: bytes, cut: re.Pattern[bytes] = SAFE_CUT) -> int:
    r"""Return the last position in ``data`` where text may be cut, 0 if there is none.

    >>> last_safe_cut(b"I HAD always")
    5
    >>> last_safe_cut("\u4e2d\u6587\u3002\u4e2d".encode()), last_safe_cut(b"f(x)\n")
    (6, 0)
    """
    start, step = len(data), 512
    while start:
        end, start = start, max(0, start - step)
        found = [place.end() for place in cut.finditer(data, start, end + REACH)]
        if found:
            return found[-1]
        step *= 2
    return 0
