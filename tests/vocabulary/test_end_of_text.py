"""Promises of the token that ends a text: who names it, and what is said."""

import pytest

from llmprep.errors import FileFormatError, UsageError
from llmprep.vocabulary.end_of_text import choose_end_of_text, read_config_token

CHAT = ("<|im_start|>", "<|endoftext|>", "<|im_end|>")
CONFIG = "tokenizer_config.json"


def test_the_token_is_the_one_that_is_named() -> None:
    """The user names it, or else the file, or its name does; what else it might be is said where there was a choice."""
    assert choose_end_of_text("t", CHAT, asked="<|im_end|>", stated="<|endoftext|>") == ("<|im_end|>", "")
    said = "end of text is <|im_end|> (tokenizer_config.json), not <|endoftext|>; see --eot"
    assert choose_end_of_text("t", CHAT, stated="<|im_end|>", stated_by=CONFIG) == ("<|im_end|>", said)
    assert choose_end_of_text("t", CHAT, stated="</s>", stated_by=CONFIG)[0] == "<|endoftext|>"
    assert choose_end_of_text("t", ["<|end_of_text|>", "<|eot_id|>"])[0] == "<|end_of_text|>"
    assert choose_end_of_text("t", ["<|endoftext|>"]) == ("<|endoftext|>", "")
    assert choose_end_of_text("t", ()) == (None, "")


def test_where_nobody_names_it_the_candidates_are() -> None:
    """An error lists the likeliest tokens first, at most eight, and how many more there are."""
    many = ["<pad>", *(f"<|{k}|>" for k in range(10)), "<|bos|>", "<eos>", "\x1b[31m"]
    with pytest.raises(
        UsageError, match=r"^t: does not say which token ends a text; name it with --eot: it has <eos>, "
    ):
        choose_end_of_text("t", many)
    with pytest.raises(UsageError, match=r"<eos>, <\|bos\|>, <pad>, <\|0\|>, .* and 6 others$"):
        choose_end_of_text("t", many)
    with pytest.raises(UsageError, match="does not say"):
        choose_end_of_text("t", ["<|endoftext|>", "<|end_of_text|>"])
    with pytest.raises(UsageError, match=r"^--eot '\\x1b\[0m': no special token of t; it has none$"):
        choose_end_of_text("t", (), asked="\x1b[0m")


def test_the_configuration_names_a_token() -> None:
    """Its eos_token is a text, or an object with one; null and nothing name none."""
    assert [read_config_token("c", data) for data in (b"{}", b'{"eos_token": null}', b'{"eos_token": "a"}')] == [
        None, None, "a"
    ]  # fmt: skip
    assert read_config_token("c", b'{"eos_token": {"content": "</s>", "lstrip": false}}') == "</s>"
    with pytest.raises(FileFormatError, match="its eos_token is no text"):
        read_config_token("c", b'{"eos_token": 7}')
