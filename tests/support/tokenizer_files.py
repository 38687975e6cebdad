"""Texts of a tokenizer.json, made small."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from llmprep.vocabulary.stated import AddedToken


def byte_level(added: Sequence[AddedToken] = (), merges: Sequence[tuple[str, str]] = (), **parts: Any) -> str:
    """A byte-level BPE without a pattern, of the 256 bytes and what the merges give, with other parts where given."""
    from tokenizers import pre_tokenizers

    vocab = {token: n for n, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    for pair in merges:
        vocab.setdefault("".join(pair), len(vocab))
    model = {"type": "BPE", "vocab": vocab, "merges": [list(pair) for pair in merges]}
    split = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    whole = {"version": "1.0", "added_tokens": [asdict(token) for token in added], "normalizer": None}
    return json.dumps(whole | {"pre_tokenizer": split, "model": model} | parts)
