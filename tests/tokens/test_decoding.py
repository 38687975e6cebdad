"""Promises of decoding: any ids give the text that tiktoken's ``decode`` gives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference
from support.strategies import adversarial_text
from support.streams import EOT, Load

from llmprep.tokens.decoding import decode_ids, token_table

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
