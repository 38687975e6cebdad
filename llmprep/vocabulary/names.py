"""The name of an encoding or a model -> the encoding."""

from __future__ import annotations

import difflib
import os

from llmprep.errors import VocabularyError, shorten
from llmprep.vocabulary.definitions import encoding_names


def known_names() -> list[str]:
    """Return the names of all encodings and of the models that tiktoken knows."""
    from tiktoken.model import MODEL_TO_ENCODING

    return sorted({*encoding_names(), *MODEL_TO_ENCODING})


def resolve_encoding(name: str) -> str:
    """Return the encoding for an encoding's or a model's name; `VocabularyError` suggests near misses.

    >>> resolve_encoding("gpt-4o")
    'o200k_base'
    """
    from tiktoken.model import MODEL_PREFIX_TO_ENCODING, MODEL_TO_ENCODING

    if not isinstance(name, str):
        raise VocabularyError(f"encoding: must be the name of an encoding or a model, not a {type(name).__name__}")
    encodings = encoding_names()
    if name in encodings:
        return name
    if name in MODEL_TO_ENCODING:
        return MODEL_TO_ENCODING[name]
    for prefix, encoding in MODEL_PREFIX_TO_ENCODING.items():
        if name.startswith(prefix):
            return encoding
    near = difflib.get_close_matches(name.lower(), [*{*encodings, *MODEL_TO_ENCODING}], n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(encodings)} and model names"
    is_path = "/" in name or name.endswith((".json", ".model", ".tiktoken", ".pkl"))
    if is_path or os.path.exists(name):  # noqa: PTH110 - a name may be too long for a path
        hint = "if that is a file, say --tokenizer, in Python tokenizer= or a Path"
    raise VocabularyError(f"--encoding {shorten(name)}: unknown; {hint}")
