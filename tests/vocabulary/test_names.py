"""Promises of names: an encoding or a model is what tiktoken says it is; near names are suggested."""

from __future__ import annotations

import pytest
import tiktoken
from tiktoken.model import MODEL_TO_ENCODING

from llmprep.errors import VocabularyError
from llmprep.vocabulary.definitions import encoding_names
from llmprep.vocabulary.names import resolve_encoding

VERSIONS = ("gpt-4o-2024-08-06", "gpt-4-0314", "gpt-3.5-turbo-0301", "ft:gpt-4o:mine", "o1-x")


def test_every_name_means_what_it_means_to_tiktoken() -> None:
    """Encodings, models, and models with a version after their name resolve as tiktoken resolves them."""
    assert sorted(encoding_names()) == sorted(tiktoken.list_encoding_names())
    assert [resolve_encoding(name) for name in encoding_names()] == list(encoding_names())
    for model in (*MODEL_TO_ENCODING, *VERSIONS):
        assert resolve_encoding(model) == tiktoken.encoding_name_for_model(model)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gpt-2x", "did you mean .*"), ("gtp2", "did you mean .*gpt2.*"), ("GPT2", "did you mean gpt2.*"),
        ("cl100k", ".*cl100k_base.*"), ("o200k-base", ".*o200k_base.*"), ("Llama", "known are gpt2, r50k_base.*"),
        ("", "known are gpt2, r50k_base.*"), ("x" * 99, "known are gpt2, r50k_base.*"),
    ],
)  # fmt: skip
def test_an_unknown_name_gets_near_ones(name: str, hint: str) -> None:
    """An unknown name is an error that begins with the option and says what could be meant, in a short line."""
    shown = f"{'x' * 39}..." if len(name) > 40 else name
    with pytest.raises(VocabularyError, match=f"^--encoding {shown}: unknown; {hint}$"):
        resolve_encoding(name)
