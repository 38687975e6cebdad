"""What becomes of text that a ``tokenizer.json`` has no entry for: a token stands for it, or no id tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmprep.vocabulary.byte_alphabet import LETTERS
from llmprep.vocabulary.tokenizer_json import step_types

_FALLBACK = [f"<0x{byte:02X}>" for byte in range(256)]


def find_unknown(document: Mapping[str, Any]) -> int | None:
    """Return the id that stands for what has no entry, None where everything has one, or nothing stands for it."""
    model = document["model"]
    if has_every_byte(document):
        return None
    token = model.get("unk_token")
    named = model["vocab"].get(token) if isinstance(token, str) and model["type"] != "Unigram" else None
    stated = model.get("unk_id") if model["type"] == "Unigram" else named
    return stated if type(stated) is int else None


def may_drop(document: Mapping[str, Any]) -> bool:
    """Tell whether there may be characters that get no id at all: other models without such a token refuse the text."""
    model = document["model"]
    return model["type"] == "BPE" and model.get("unk_token") is None and not has_every_byte(document)


def has_every_byte(document: Mapping[str, Any]) -> bool:
    """Tell whether each byte is an entry, so that there is no text without one."""
    model = document["model"]
    vocab = {entry[0] for entry in model["vocab"]} if isinstance(model["vocab"], list) else model["vocab"]
    steps = (("pre_tokenizer", "pretokenizers"), ("normalizer", "normalizers"))
    if any("ByteLevel" in step_types(document.get(name), key) for name, key in steps):
        return all(letter in vocab for letter in LETTERS)
    return model.get("byte_fallback") is True and all(byte in vocab for byte in _FALLBACK)
