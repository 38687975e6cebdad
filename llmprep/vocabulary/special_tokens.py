"""The file that ``--special-tokens`` names: a JSON object, token -> id."""

from __future__ import annotations

from typing import Any

from llmprep.errors import FileFormatError, shorten, visible_name
from llmprep.vocabulary.sound import check_ids, check_special_tokens
from llmprep.vocabulary.strict_json import read_json_object


def read_special_tokens(name: str, data: bytes) -> dict[str, int]:
    """Read special tokens and their ids.

    Raises `FileFormatError`, also where one is empty or begins with another, or where two have one id.

    >>> read_special_tokens("special.json", b'{"<|endoftext|>": 50256}')
    {'<|endoftext|>': 50256}
    """
    return check_tokens(name, read_json_object(name, data))


def check_tokens(name: str, tokens: dict[str, Any]) -> dict[str, int]:
    """Return special tokens that JSON holds, if each has an id. Raises as `read_special_tokens`."""
    for token, number in tokens.items():
        if type(number) is not int:
            raise FileFormatError(
                f"{name}: the id of {visible_name(token)} is no whole number: {visible_name(shorten(str(number)))}; "
                f"--special-tokens takes a JSON object of tokens and their ids"
            )
    check_ids(name, tuple(tokens.values()))
    check_special_tokens(name, tokens, FileFormatError)
    return tokens
