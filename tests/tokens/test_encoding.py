"""Promises of `encode_text` and of decoding: tiktoken's ids of a text, and its text of any ids."""

import urllib.request
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import reference
from support.commands import SAMPLES
from support.strategies import adversarial_text
from support.streams import EOT, Load

from llmprep.choices import Special
from llmprep.errors import DataError, LlmprepError, UsageError, VocabularyError
from llmprep.tokens.decoding import decode_ids, token_table
from llmprep.tokens.encoding import encode_text


@settings(max_examples=15)
@given(text=adversarial_text, special=st.sampled_from(("allow", "text")))
@example("a\ud800b \udc00 \ud83d\ude00 joined, caf\u00e9 \ud83d", "allow")
def test_ids_are_those_of_tiktokens_encode(text: str, special: Special) -> None:
    """A text in memory gives tiktoken's ids as it is: carriage returns, marks, halves of surrogate pairs, emptiness."""
    ids = encode_text(text, special=special)
    assert ids.dtype == np.int64
    assert ids.tolist() == reference.encode(text, special=special)


REFUSED: list[tuple[dict[str, Any], type[LlmprepError], str]] = [
    ({"text": b"text"}, UsageError, "text: must be a str, not bytes$"),
    ({"special": "all"}, UsageError, "special 'all': must be allow, text, error$"),
    ({"special": {EOT}}, UsageError, "special .*: must be allow, text, error$"),
    ({"encoding": None}, VocabularyError, "must be the name of an encoding or a model, not a "),
    ({"encoding": ["gpt2"]}, VocabularyError, "must be the name of an encoding or a model, not a "),
    ({"encoding": "gtp2"}, VocabularyError, "did you mean gpt2"),
    ({"vocab_dir": ""}, UsageError, "vocab_dir: is empty"),
    ({"text": f"caf\u00e9{EOT}", "special": "error"}, DataError, r"^text: special token <\|endoftext\|> .* at byte 5;"),
]


@pytest.mark.parametrize(("choices", "error", "message"), REFUSED)
def test_anything_else_is_one_error_of_ours(choices: dict[str, Any], error: type[LlmprepError], message: str) -> None:
    """What is no text, no name of an encoding, no choice that there is, or no text that may be encoded is refused."""
    with pytest.raises(error, match=message):
        encode_text(**{"text": "text", **choices})


def test_a_download_is_announced_by_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a vocabulary has to be fetched that is said; that it could not be is an error."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("LLMPREP_VOCAB_DIR", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", Mock(side_effect=OSError("no network in tests")))
    failing = pytest.raises(VocabularyError, match="no network in tests")
    with pytest.warns(UserWarning, match=r"^downloading cl100k_base\.tiktoken from "), failing:
        encode_text("text", "cl100k_base")


@pytest.mark.parametrize("encoding", ["gpt2", "cl100k_base"])
def test_ids_decode_as_tiktoken_decodes_them(encoding: str, load: Load) -> None:
    """A text's ids give the text; ids in any order, which cut characters, what tiktoken gives; an unused one U+FFFD."""
    table, theirs = token_table(load(encoding)), reference.tiktoken_encoding(encoding)
    specials = {theirs.encode_single_token(token): token.encode() for token in theirs.special_tokens_set}
    assert table == {rank: token for token, rank in theirs._mergeable_ranks.items()} | specials
    assert decode_ids([64, 200_000, 65], table) == "a\ufffdb"
    for path in SAMPLES.iterdir():
        text = path.read_text(encoding="utf-8") + EOT
        ids = reference.encode(text, encoding)
        assert decode_ids(ids, table) == text
        assert decode_ids(sorted(ids), table) == theirs.decode(sorted(ids))
