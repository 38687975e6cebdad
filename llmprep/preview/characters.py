r"""Tokens' bytes -> what is shown of each, and which tokens share a character that was split between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Protocol

from llmprep.errors import plural
from llmprep.preview.fitting import columns_of
from llmprep.preview.plain import visible

REACH = 3
"""A character has at most four bytes: tokens further apart than this share none."""
NAMED = 3
"""How many split characters are named."""


class Shown(Protocol):
    """Ids -> what is shown of them: their text, in which a part of a character is its bytes; and the bytes of each."""

    def __call__(self, ids: Sequence[int], /) -> str:
        """Return the text of ids."""

    def tokens(self, ids: Sequence[int]) -> list[bytes]:
        """Return the bytes of each id."""


@dataclass(frozen=True, slots=True)
class Group:
    r"""Neighbouring tokens, mostly one, that no character is shared with from outside; ``text`` is that of all.

    ``labels`` say what each token alone is: its characters, and ``\xe4`` for a byte that is only a part of one.
    """

    first: int
    labels: tuple[str, ...]
    text: str


def group_tokens(tokens: Sequence[bytes]) -> Iterator[Group]:
    r"""Yield the groups of some tokens, in order; all text in them is `visible`, whatever the bytes are.

    >>> [(group.labels, group.text) for group in group_tokens([b"a", b"\xe4\xb8", b"\xad"])]
    [(('a',), 'a'), (('\\xe4\\xb8', '\\xad'), '中')]
    """
    data = b"".join(tokens)
    chars, places = _characters(data), [0, *accumulate(map(len, tokens))]
    labels = [_label(data, begin, end, chars) for begin, end in pairwise(places)]
    cuts = [k for k, place in enumerate(places) if place in chars or place == len(data)]
    for first, end in pairwise(cuts):
        text = "".join(chars[place][1] for place in range(places[first], places[end]) if place in chars)
        yield Group(first, tuple(labels[first:end]), text)


def _characters(data: bytes) -> Mapping[int, tuple[int, str]]:
    """Return, by the place of its first byte, each character's length in bytes and what is shown of it."""
    found: dict[int, tuple[int, str]] = {}
    place = 0
    for char in data.decode("utf-8", "surrogateescape"):
        broken = "\ud800" <= char <= "\udfff"
        width = 1 if broken else len(char.encode())
        found[place] = width, f"\\x{data[place]:02x}" if broken else visible(char)
        place += width
    return found


def _label(data: bytes, begin: int, end: int, chars: Mapping[int, tuple[int, str]]) -> str:
    """Return what is shown of one token's bytes: the characters that lie in it whole, and else bytes."""
    shown: list[str] = []
    while begin < end:
        width, char = chars.get(begin, (end - begin + 1, ""))
        whole = begin + width <= end
        shown.append(char if whole else f"\\x{data[begin]:02x}")
        begin += width if whole else 1
    return "".join(shown)


def split_lines(rows: Iterable[Sequence[int]], shown: Shown) -> Iterator[str]:
    """Say of each distinct character in rows of ids that is split, of the first few of them, which tokens it is."""
    found: dict[tuple[str, ...], str] = {}
    for ids in rows:
        found.update({group.labels: group.text for group in group_tokens(shown.tokens(ids)) if len(group.labels) > 1})
    for labels in list(found)[:NAMED]:
        tokens = " ".join(map(seen, labels))
        yield f"{seen(found[labels])} is {plural(len(labels), 'token')}: {tokens}"
    if len(found) > NAMED:
        yield f"... and {plural(len(found) - NAMED, 'more character')} like these"


def seen(text: str) -> str:
    """Return a visible text with its spaces as ``\u2423``, and with an escape for what takes no column of its own."""
    spaced = text.replace(" ", "\u2423")
    return spaced if columns_of(spaced) else spaced.encode("ascii", "backslashreplace").decode()
