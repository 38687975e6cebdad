"""A vocabulary -> its fingerprint: a hash of all that decides which ids a text becomes.

That of a ``tokenizer.json`` covers how its ids become text too, and options that are spelled out or left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

LINE = "tokenizers 0.23"
"""The release line of the ``tokenizers`` library that defines a ``tokenizer.json``. The line after it, 1.0, has the
tables of Unicode 17, and gives other ids for what that added."""


def fingerprint_of_ranks(
    ranks_sha256: str, pattern: str, special_tokens: Mapping[str, int], end_of_text: str | None
) -> str:
    """Return the fingerprint of a vocabulary that tiktoken defines; ``ranks_sha256`` is of the ranks as it writes them.

    >>> fingerprint_of_ranks("00", "[a-z]+", {"<|endoftext|>": 3}, "<|endoftext|>")[:16]
    '5b1d9b3ed2c5ef3c'
    """
    stated = {"ranks": ranks_sha256, "pattern": pattern, "special_tokens": {**special_tokens}}
    return _hash({"definition": "tiktoken", **stated, "end_of_text": end_of_text, "normalizer": ""})


def fingerprint_of_json(canonical_sha256: str, end_of_text: str | None) -> str:
    """Return the fingerprint of a ``tokenizer.json``, of whose canonical form the hash is given.

    Its ranks, pattern, special tokens and normalizer stand in that form.
    """
    return _hash({"definition": LINE, "tokenizer": canonical_sha256, "end_of_text": end_of_text})


def _hash(stated: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(stated, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
