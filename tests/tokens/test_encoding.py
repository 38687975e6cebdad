"""Promises of `encode_text` and of decoding: tiktoken's ids of a text, and its text of any ids."""

from __future__ import annotations

import shutil
import urllib.request
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import reference
from support.strategies import adversarial_text
from support.streams import EOT, Load

from llmprep.choices import Special
from llmprep.errors import DataError, LlmprepError, UsageError, VocabularyError
from llmprep.tokens.decoding import decode_ids, token_table
from llmprep.tokens.encoding import _text_encoder, encode_text


@settings(max_examples=15)
@given(text=adversarial_text, special=st.sampled_from(("allow", "text")))
@example("a\ud800b \udc00 \ud83d\ude00 joined, caf\u00e9 \ud83d", "allow")
def test_ids_are_those_of_tiktokens_encode(text: str, special: Special) -> None:
    """A text in memory gives tiktoken's ids as it is, carriage returns, marks and emptiness included.

    Halves of surrogate pairs are joined or replaced, as tiktoken joins and replaces them.
    """
    ids = encode_text(text, special=special)

    assert ids.dtype == np.int64
    assert ids.tolist() == reference.encode(text, special=special)


NO_NAME = "must be the name of an encoding or a model, not a"


@pytest.mark.parametrize(
    ("arguments", "choices", "error", "message"),
    [
        *(
            ((value,), {}, UsageError, f"text: must be a str, not {type(value).__name__}$")
            for value in (b"text", Path("story.txt"), None, ["text"], 5, np.array(["text"]))
        ),
        *(
            (("text",), {"special": value}, UsageError, r"special .*: must be allow, text, error$")
            for value in ("all", "", None, {EOT}, ["allow"], np.array(["allow", "text"]))
        ),
        *(
            (("text", value), {}, VocabularyError, f"{NO_NAME} {type(value).__name__}")
            for value in (None, 5, b"gpt2", ["gpt2"], reference.tiktoken_encoding("gpt2"))
        ),
        (("text", "gtp2"), {}, VocabularyError, "did you mean gpt2"),
        (("text",), {"vocab_dir": ""}, UsageError, "vocab_dir: is empty"),
        ((f"caf\u00e9{EOT}",), {"special": "error"}, DataError, r"^text: special token <\|endoftext\|> .* at byte 5;"),
    ],
)
def test_anything_else_is_one_error_of_ours(
    arguments: tuple[Any, ...], choices: dict[str, Any], error: type[LlmprepError], message: str
) -> None:
    """What is no text, no name of an encoding, no choice that there is, or no text that may be encoded is refused."""
    with pytest.raises(error, match=message):
        encode_text(*arguments, **choices)


def test_an_encoder_is_built_once() -> None:
    """Calls with one encoding, by its name or a model's, and one ``special`` share an encoder."""
    _text_encoder.cache_clear()

    for special in get_args(Special) * 3:
        for name in ("gpt2", "gpt-2"):
            encode_text("I HAD always thought", name, special=special)

    assert _text_encoder.cache_info().misses == 3
    assert encode_text("I HAD  always", "text-davinci-003").tolist() == reference.encode("I HAD  always", "p50k_base")


def test_a_vocabulary_that_was_missing_is_looked_for_again(
    vocab_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a vocabulary could not be loaded is not remembered: once it is there, it is taken."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in tests")

    _text_encoder.cache_clear()
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.delenv("LLMPREP_VOCAB_DIR", raising=False)

    with (
        pytest.warns(UserWarning, match=r"^downloading cl100k_base\.tiktoken from "),
        pytest.raises(VocabularyError, match="no network in tests"),
    ):
        encode_text("text", "cl100k_base")
    shutil.copy(vocab_dir / "cl100k_base.tiktoken", tmp_path)

    assert encode_text("text", "cl100k_base").tolist() == reference.encode("text", "cl100k_base")


ENCODINGS = ("gpt2", "p50k_base", "cl100k_base", "o200k_base")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_ids_decode_as_tiktoken_decodes_them(encoding: str, load: Load) -> None:
    """A text's ids give the text; ids in any order, which cut characters, give what tiktoken gives."""
    table = token_table(load(encoding))
    theirs = reference.tiktoken_encoding(encoding)

    @settings(max_examples=30)
    @given(text=adversarial_text, ids=st.lists(st.sampled_from(sorted(table)) | st.integers(0, 255), max_size=20))
    def check(text: str, ids: list[int]) -> None:
        assert decode_ids(reference.encode(text + EOT, encoding), table) == text + EOT
        assert decode_ids(ids, table) == theirs.decode(ids)

    check()


def test_the_table_has_every_id_and_no_other(load: Load) -> None:
    """The table holds every id of tiktoken's encoding, special ones included; an unused id decodes to U+FFFD."""
    theirs = reference.tiktoken_encoding("cl100k_base")
    specials = {theirs.encode_single_token(token): token.encode() for token in theirs.special_tokens_set}

    table = token_table(load("cl100k_base"))

    assert table == {rank: token for token, rank in theirs._mergeable_ranks.items()} | specials
    assert decode_ids([64, 100_256, 65], table) == "a\ufffdb"
