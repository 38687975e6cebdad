"""Which special token ends a text: the one that is asked for, or else the one that is stated, or plainly named so."""

from __future__ import annotations

import re
from collections.abc import Collection

from llmprep.errors import FileFormatError, UsageError, plural, shorten, visible_name
from llmprep.vocabulary.strict_json import read_json_object

SHOWN, SAID = 8, 2
"""Candidates that an error shows, and that a note does."""
_PLAIN = ("endoftext",)
_LIKELY = (r"end.?of.?(text|sentence|document|file)", r"^\W*(eos|eot|eod|/s)\W*$", r"eos|eot|eod|/s\b", r"bos|end|sep")
"""What a token that ends texts may be called, the likeliest first; the last is only a guess."""


def choose_end_of_text(
    name: str, tokens: Collection[str], *, asked: str | None = None, stated: str | None = None, stated_by: str = ""
) -> tuple[str | None, str]:
    """Return the token that ends a text, and a sentence where there was a choice; None without special tokens.

    ``asked`` is the user's, ``stated`` that of the file, or of the file ``stated_by`` beside it. Raises `UsageError`
    where nobody names one, or the user one that is not there.
    """
    if asked is not None:
        if asked not in tokens:
            raise UsageError(f"--eot {visible_name(asked)}: no special token of {name}; {_list(tokens)}")
        return asked, ""
    if not tokens:
        return None, ""
    chosen = stated if stated in tokens else None
    source = f" ({stated_by})" if chosen is not None and stated_by else ""
    if chosen is None:
        plain = [token for token in tokens if "".join(filter(str.isalpha, token)).lower() in _PLAIN]
        if len(plain) != 1:
            reason = f"does not say which token ends a text; name it with --eot: {_list(tokens)}"
            raise UsageError.lacking(name, reason, "eot", min(tokens, key=_unlikeliness))
        chosen = plain[0]
    others = [token for token in tokens if token != chosen and _unlikeliness(token) < len(_LIKELY) - 1]
    if not others:
        return chosen, ""
    return chosen, f"end of text is {visible_name(chosen)}{source}, not {_first(others, SAID)}; see --eot"


def read_config_token(name: str, data: bytes) -> str | None:
    """Return the end-of-text token that a ``tokenizer_config.json`` names, None where it names none.

    Raises `FileFormatError` for what is no JSON object.

    >>> read_config_token("c", b'{"eos_token": {"content": "</s>"}}'), read_config_token("c", b'{"eos_token": "<eos>"}')
    ('</s>', '<eos>')
    """
    token = read_json_object(name, data).get("eos_token")
    content = token.get("content") if isinstance(token, dict) else token
    if content is not None and not isinstance(content, str):
        raise FileFormatError(f"{name}: its eos_token is no text")
    return content


def _list(tokens: Collection[str]) -> str:
    return f"it has {_first(tokens)}" if tokens else "it has none"


def _first(tokens: Collection[str], count: int = SHOWN) -> str:
    """Return the likeliest tokens in words, and how many more there are."""
    ordered = sorted(tokens, key=_unlikeliness)
    shown = ", ".join(visible_name(shorten(token)) for token in ordered[:count])
    return f"{shown} and {plural(len(ordered) - count, 'other')}" if len(ordered) > count else shown


def _unlikeliness(token: str) -> int:
    return next((k for k, pattern in enumerate(_LIKELY) if re.search(pattern, token, re.IGNORECASE)), len(_LIKELY))
