"""A ``tokenizer.json`` -> whether it has a part over which its library might end the process, or never end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmprep.vocabulary.patterns import find_known
from llmprep.vocabulary.proof import BYTE_LEVEL_PATTERN, flatten

PLAIN = frozenset(
    ("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Prepend", "Strip", "StripAccents",
     "BertPreTokenizer", "ByteLevel", "Digits", "Metaspace", "Punctuation", "UnicodeScripts", "Whitespace",
     "WhitespaceSplit")
)  # fmt: skip
"""Steps that hold no pattern and no table of the file's own."""


def is_hazardous(document: Mapping[str, Any]) -> bool:
    """Tell whether a file has to be tried in a process that can be stopped before this one loads it.

    A pattern that is not known may take exponential time, and a table, or a model's prefix, may end the process.
    """
    model = document["model"]
    steps = flatten(document.get("normalizer"), "normalizers") + flatten(document.get("pre_tokenizer"), "pretokenizers")
    return (model["type"] == "BPE" and bool(model.get("continuing_subword_prefix"))) or any(map(_is_hazard, steps))


def _is_hazard(step: Mapping[str, Any]) -> bool:
    match step:
        case {"type": "Split" | "Replace", "pattern": {"String": str(text)}} if text:
            return False
        case {"type": "Split" | "Replace", "pattern": {"Regex": str(pattern)}}:
            return pattern != BYTE_LEVEL_PATTERN and find_known([pattern]) is None
        case _:
            return step.get("type") not in PLAIN
