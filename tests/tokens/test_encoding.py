"""Promises of `encode_text` and of decoding: tiktoken's ids of a text, and its text of any ids."""

import urllib.request
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import reference
from support.commands import SAMPLES
from support.strategies import adversarial_text
from support.streams import EOT, Load

from llmprep.choices import Special
from llmprep.errors import DataError, LlmprepError, UsageError, VocabularyError
from llmprep.formats.vocabularies import decode_ids
from llmprep.tokens.decoding import Decoder
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
    ({"encoding": "gpt2", "tokenizer": "t"}, UsageError, "name one or the other"),
    ({"tokenizer": object()}, UsageError, "tokenizer: must be the path of a file, or a TokenizerFile, not a object"),
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
    decoder, theirs = Decoder.of(load(encoding)), reference.tiktoken_encoding(encoding)
    specials = {theirs.encode_single_token(token): token.encode() for token in theirs.special_tokens_set}
    assert decoder.table == {rank: token for token, rank in theirs._mergeable_ranks.items()} | specials
    assert decoder.text([64, 200_000, 65]) == "a\ufffdb"
    for path in SAMPLES.iterdir():
        text = path.read_text(encoding="utf-8") + EOT
        ids = reference.encode(text, encoding)
        assert decoder.text(ids) == text
        assert decoder.text(sorted(ids)) == theirs.decode(sorted(ids))
        assert decoder.data(sorted(ids)) == theirs.decode_bytes(sorted(ids))


@settings(max_examples=15)
@given(text=adversarial_text, cut=st.integers(0, 40))
def test_decoded_ids_are_tiktokens_text(text: str, cut: int) -> None:
    """`decode_ids` gives a text back from its ids, and of any part of them what tiktoken's ``decode`` gives."""
    ids = reference.encode(text)
    assert decode_ids(ids) == text
    for kind in (list, tuple, np.array, torch.tensor):
        assert decode_ids(kind(ids[cut:])) == reference.tiktoken_encoding("gpt2").decode(ids[cut:])


WRONG_IDS: list[tuple[Any, str]] = [
    ([464, -1], r"^ids: id -1 at \[1\] is negative$"),
    ([464, 50257], "^ids: id 50257, item 1, is not in gpt2, whose ids go from 0 to 50256$"),
    ([464, 1.5], "^ids: item 1 is a float; need whole numbers$"),
    (torch.ones(2), r"^ids: shape \(2,\), dtype float32; need \(n,\) whole numbers$"),
    ([[464]], "^ids: item 0 is a list; need whole numbers$"),
    ("464", "^ids: a str holds no token ids; give an array or a list of ids$"),
    (464, "^ids: a int holds no token ids; give an array or a list of ids$"),
]


@pytest.mark.parametrize(("ids", "message"), WRONG_IDS)
def test_what_is_no_id_is_not_decoded(ids: Any, message: str) -> None:
    """Whatever is no whole number, or no id of the vocabulary, is refused, with its place."""
    with pytest.raises(UsageError, match=message):
        decode_ids(ids)
