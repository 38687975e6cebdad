"""Ranks and special tokens -> whether tiktoken can encode any text with them, to ids that mean one thing each."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from llmprep.errors import FileFormatError, LlmprepError, shorten, visible_name
from llmprep.vocabulary.ranks import Ranks

MAX_ID = 2**31 - 1
"""The largest id: what int32 holds."""
MAX_LENGTH = 10_000
"""How many letters a special token may have: tiktoken makes one regular expression of all, of limited size."""
UTF8_BYTES = frozenset(range(256)) - {0xC0, 0xC1, *range(0xF5, 0x100)}
"""The 243 bytes that UTF-8 may hold."""


def check_sound(name: str, ranks: Ranks, special_tokens: Mapping[str, int]) -> None:
    """Refuse ranks, each with an id of its own, and special tokens with which not every text has ids of one meaning.

    Every byte that UTF-8 may hold has to have a rank: tiktoken ends a process that meets one without. Raises
    `FileFormatError`.
    """
    missing = min(UTF8_BYTES - {token[0] for token in ranks if len(token) == 1}, default=None)
    if missing is not None:
        shown = f" ({chr(missing)!r})" if chr(missing).isprintable() and missing < 0x80 else ""
        raise FileFormatError(f"{name}: has no entry for the byte 0x{missing:02x}{shown}, which a text may hold")
    check_ids(name, (*ranks.values(), *special_tokens.values()))
    check_special_tokens(name, special_tokens, FileFormatError)
    taken = set(ranks.values())
    for token, number in special_tokens.items():
        if number in taken:
            raise FileFormatError(
                f"{name}: the special token {visible_name(token)} has the id {number} of another entry"
            )


def check_ids(name: str, ids: tuple[int, ...]) -> None:
    """Refuse ids below 0 or beyond int32. Raises `FileFormatError`."""
    wrong = next((number for number in (min(ids, default=0), max(ids, default=0)) if not 0 <= number <= MAX_ID), None)
    if wrong is not None:
        raise FileFormatError(f"{name}: the id {wrong} is not from 0 to {MAX_ID}")


def check_special_tokens(where: str, tokens: Mapping[str, int], error: type[LlmprepError]) -> None:
    """Refuse special tokens that are empty or very long, share an id, or begin with one another.

    Where one begins with another, tiktoken finds whichever it happens to try first.
    """
    owners: dict[int, str] = {}
    for token, number in tokens.items():
        if not token:
            raise error(f"{where}: a special token is empty; leave out the one with the id {number}")
        if not token.isprintable() and any(0xD800 <= ord(letter) < 0xE000 for letter in token):
            raise error(f"{where}: the special token {token!r} holds half a character, which no text does")
        if len(token) > MAX_LENGTH:
            raise error(f"{where}: the special token {_show(token)} has {len(token)} letters, of at most {MAX_LENGTH}")
        if (other := owners.setdefault(number, token)) != token:
            raise error(f"{where}: the special tokens {_show(other)} and {_show(token)} have one id, {number}")
    ordered = sorted(tokens)
    for first, second in pairwise(ordered):
        if second.startswith(first):
            raise error(
                f"{where}: the special token {_show(second)} begins with another, {_show(first)}; leave out one"
            )


def _show(token: str) -> str:
    return visible_name(shorten(token))
