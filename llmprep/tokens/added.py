"""Added tokens in a text, found as the ``tokenizers`` library finds them before it normalises and splits.

Twice it looks from left to right for the longest token that begins at a place: first for those that are not
normalized, then, in what is left, for the others. A special token that is to stay text is found all the same, and what
it covers is looked at no more in that pass: a token within it is not found.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from llmprep.vocabulary.stated import AddedToken

MAX_BEGINNINGS = 3
"""Of how many beginnings that are in a text a pattern of their own is made: for more there is one pattern for all."""
MAX_DEPTH = 50
"""How many tokens, each of which begins the next, a pattern nests."""
Parts: TypeAlias = list[tuple[bytes, int | None]]


class AddedTokens:
    """Finds added tokens in UTF-8 text. Safe to use from several threads.

    Takes tokens that need only be found: raises `ValueError` for ``lstrip``, ``rstrip`` and ``single_word``. For a
    vocabulary with a normalizer none may be ``normalized``: these the library looks for in the normalised text.
    An empty token is never found. Of two of one content, the id of the last counts, and both are special if one is.
    """

    def __init__(self, tokens: Sequence[AddedToken]) -> None:
        if any(token.lstrip or token.rstrip or token.single_word for token in tokens):
            raise ValueError("only tokens without lstrip, rstrip and single_word are found here")
        self._ids = {token.content.encode(): token.id for token in tokens if token.content}
        self._special = {token.content.encode() for token in tokens if token.special}
        self._passes = [
            _Finder(token.content.encode() for token in tokens if token.content and token.normalized is normalized)
            for normalized in (False, True)
        ]

    def split(self, data: bytes, *, special: bool) -> Parts:
        """Return the parts of a text in order: a token with its id, or text between with None, never empty.

        Without ``special``, special tokens stay text.
        """
        parts: Parts = [(data, None)] if data else []
        for finder in self._passes:
            pattern = finder.in_text(data)
            if pattern and pattern.search(data):
                parts = [*itertools.chain.from_iterable(self._cut(part, pattern, special=special) for part in parts)]
        return parts

    def holds_any(self, data: bytes) -> bool:
        """Tell whether a text holds a token, be it special or not."""
        patterns = (finder.in_text(data) for finder in self._passes)
        return any(pattern.search(data) for pattern in patterns if pattern)

    def _cut(self, part: tuple[bytes, int | None], pattern: re.Pattern[bytes], *, special: bool) -> Parts:
        text, known = part
        if known is not None:
            return [part]
        parts: Parts = []
        end = 0
        for found in pattern.finditer(text):
            if not special and found[0] in self._special:
                continue
            if found.start() > end:
                parts.append((text[end : found.start()], None))
            parts.append((found[0], self._ids[found[0]]))
            end = found.end()
        if end < len(text):
            parts.append((text[end:], None))
        return parts


class _Finder:
    """Finds the longest of some tokens at the leftmost place, in parts that hold the beginning of one."""

    def __init__(self, contents: Iterable[bytes]) -> None:
        self._groups = {_beginning(group): group for group in _by_first_byte(sorted(set(contents)))}
        self._compiled: dict[tuple[bytes, ...], re.Pattern[bytes]] = {}

    def in_text(self, data: bytes) -> re.Pattern[bytes] | None:
        """Return a pattern for the tokens that may be in a text; None if none can be, which is quick to see.

        A pattern for one beginning searches many times faster than one for several.
        """
        present = tuple(beginning for beginning in self._groups if beginning in data)
        if len(present) > MAX_BEGINNINGS:
            present = tuple(self._groups)
        if present and present not in self._compiled:
            tokens = [*itertools.chain.from_iterable(self._groups[beginning] for beginning in present)]
            self._compiled[present] = re.compile(_tree(tokens))
        return self._compiled.get(present)


def _tree(tokens: list[bytes], depth: int = 0) -> bytes:
    """Return sorted tokens as a pattern for the longest, a tree of beginnings; what is too deep for one is a list."""
    if depth > MAX_DEPTH:
        return b"(?:" + b"|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) + b")"
    branches = []
    for group in _by_first_byte(filter(None, tokens)):
        beginning = _beginning(group)
        rest = _tree([token[len(beginning) :] for token in group], depth + 1) if len(group) > 1 else b""
        branches.append(re.escape(beginning) + rest)
    whole = b"|".join(branches)
    if b"" in tokens:
        return b"(?:" + whole + b")?"
    return b"(?:" + whole + b")" if len(branches) > 1 else whole


def _by_first_byte(tokens: Iterable[bytes]) -> list[list[bytes]]:
    return [list(group) for _, group in itertools.groupby(tokens, lambda token: token[0])]


def _beginning(tokens: list[bytes]) -> bytes:
    """Return what all of some sorted tokens begin with: the first and the last differ soonest."""
    pairs = zip(tokens[0], tokens[-1], strict=False)
    return tokens[0][: next((n for n, (one, other) in enumerate(pairs) if one != other), len(tokens[0]))]
