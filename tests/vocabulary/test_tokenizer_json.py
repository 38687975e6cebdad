"""Promises of tokenizer.json read strictly: a wrong file is refused in a line, and equal files have one spelling."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.byte_level import added, document

from llmprep.errors import FileFormatError
from llmprep.vocabulary.tokenizer_json import TokenizerJson, read_tokenizer_json


def read(content: Any) -> TokenizerJson:
    return read_tokenizer_json("t.json", content if isinstance(content, bytes) else json.dumps(content).encode())


AB = {"ab": 256}
X = added("x", 7)
DEEP = json.loads("[" * 40 + "]" * 40)
WRONG = [
    (b"\xff{}", "decode byte 0xff"),
    (b'{"version": "1.0", "model"', "Expecting ':'"),
    (b"[]", "is no JSON object"),
    (b'{"a": 1, "b": 2, "a": 3}', "the key a stands twice"),
    (b'{"model": NaN}', "NaN is no number"),
    (b"[" * 100_000, "nested too deeply"),
    (document(AB, [], normalizer=DEEP), "nested more than 32 deep"),
    (b'{"model": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
    ({"version": "2.0"}, "version is '2.0'"),
    ({"version": "1.0"}, "model is missing"),
    ({"model": {"type": "GPT"}}, "model.type is 'GPT'"),
    ({"model": {"vocab": {"a": 1}}}, "model.type is None"),
    ({"model": {"type": "BPE", "merges": [], "x": DEEP}}, "nested more than 32 deep"),
    ({"model": {"type": [], "vocab": {}}}, "model.type is "),
    ({"model": {"type": "WordLevel", "vocab": {}}}, "model.vocab is no object of tokens"),
    ({"model": {"type": "BPE", "vocab": {"a": 0}}}, "model.merges is no list"),
    ({"model": {"type": "Unigram", "vocab": []}}, "model.vocab is no list"),
    ({"model": {"type": "Unigram", "vocab": [["a", 0], ["b", 1e999]]}}, "Infinity is no number"),
    (b'{"model": {"type": "Unigram", "vocab": [["a", 0], ["b", 1e999]]}}', "entry 1 is not a piece"),
    ({"model": {"type": "Unigram", "vocab": [["a", True]]}}, "entry 0 is not a piece"),
    (document({"ab": 2**31}, []), "'ab' has the id 2147483648"),
    (document({"ab": -1}, []), "'ab' has the id -1"),
    (document({"ab": True}, []), "'ab' has the id True"),
    (document({"ab": 97}, []), "'a' and 'ab' have one id, 97"),
    (document({"\ud800": 256}, []), "half of a surrogate pair"),
    (document(AB, [["a", "b"], ["a", "c"]]), "merge 1 names 'ac'"),
    (document(AB, [["ax", "b"]]), "merge 0 names 'ax'"),
    (document(AB, [["", "ab"]]), "merge 0 names ''"),
    (document(AB, ["a  b"]), "merge 0 is not a pair"),
    (document(AB, ["a b", ["a", "b"]]), "merge 1 is not a pair"),
    (document(AB, [["a", 1]]), "merge 0 is not a pair"),
    (document(AB, [], model_ignore_merges="false"), "model.ignore_merges not true or false"),
    (document(AB, [], model_continuing_subword_prefix=2), "model.continuing_subword_prefix is no text"),
    (document(AB, [], added_tokens={"x": 7}), "added_tokens is no list"),
    (document(AB, [], added_tokens=[X, "y"]), "token 1 is no object"),
    (document(AB, [], added_tokens=[added("", 7)]), "token 0 has no characters"),
    (document(AB, [], added_tokens=[X, added("x", 8)]), "'x' is added twice"),
    (document(AB, [], added_tokens=[added("x", 1.5)]), "'x', has the id 1.5"),
    (document(AB, [], added_tokens=[added("x", 2**31)]), "'x', has the id 2147483648"),
    (document(AB, [], added_tokens=[added("x", 7, lstrip=None)]), "lstrip is neither true nor false"),
]


@pytest.mark.parametrize(("content", "reason"), WRONG, ids=[reason for _, reason in WRONG])
def test_a_wrong_file_is_refused(content: Any, reason: str) -> None:
    """Each is refused with the name of the file and what is wrong in it, in one line."""
    with pytest.raises(FileFormatError) as caught:
        read(content)
    assert str(caught.value).startswith("t.json: not a valid tokenizer.json: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_of_one_meaning_have_one_spelling() -> None:
    """White space, order of keys, spelling of merges and what is no part of a stream change nothing; a merge does."""
    plain = document(AB | {"abc": 257}, [["a", "b"], ["ab", "c"]])
    post = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing"}]}
    other = document(
        {"abc": 257} | AB,
        ["#version: 0.2", "a b", "ab c"],
        truncation={"max_length": 512},
        padding={"strategy": "BatchLongest"},
        post_processor=post,
        model_dropout=0.1,
    )
    found = read(json.dumps(dict(reversed(other.items())), indent=2).encode("utf-8-sig"))
    assert found.canonical == read(plain).canonical != read(document(AB | {"abc": 257}, [["a", "b"]])).canonical
    assert json.loads(found.canonical) == found.document
    assert found.left_out == (
        "truncation to 512 tokens",
        "padding",
        "dropout 0.1",
        "a post-processor, TemplateProcessing",
    )


def test_a_model_of_no_type_is_of_merges() -> None:
    """Files of 2020 do not say that their model is BPE."""
    content = document(AB, [["a", "b"]])
    del content["model"]["type"]
    assert read(content).document["model"]["type"] == "BPE"


def test_merges_of_later_parts_have_their_prefix_once() -> None:
    """With a prefix for the later parts of a word, what a merge makes is not the two strings in a row."""
    vocab = {"a": 0, "##b": 1, "ab": 2}
    model = {"type": "BPE", "vocab": vocab, "merges": ["a ##b"], "continuing_subword_prefix": "##"}
    assert read({"model": model}).document["model"]["merges"] == [["a", "##b"]]


@pytest.mark.parametrize("vocab", [{"a": 0, "b": 1}, {"a": 5, "b": 6}, {"a": 1, "b": 2}])
def test_added_tokens_have_the_ids_that_the_library_gives(vocab: dict[str, int]) -> None:
    """An entry keeps its id, others are counted on from the number of entries; where the file differs, it is said."""
    tokens = [added("b", 9), added("x", 2), added("a", vocab["a"]), added("y", 70, special=False)]
    content = document({}, [], added_tokens=tokens, model_vocab=vocab)
    found = read(content)
    assert [(token.content, token.id, token.special) for token in found.added] == [
        ("b", vocab["b"], True), ("x", 2, True), ("a", vocab["a"], True), ("y", 3, False)
    ]  # fmt: skip
    assert found.left_out == (f"the stated ids of 2 added tokens, as of 'b', 9, which the library gives {vocab['b']}",)
    library = pytest.importorskip("tokenizers").Tokenizer.from_str(json.dumps(content))
    assert [library.token_to_id(token.content) for token in found.added] == [token.id for token in found.added]


def test_a_piece_of_a_unigram_model_keeps_its_place() -> None:
    """The ids of Unigram's pieces are their places, also where one is an added token."""
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["u", 0], ["p", -1.5]]}
    found = read({"added_tokens": [added("p", 1), added("q", 2)], "model": model})
    assert [token.id for token in found.added] == [1, 2]
    assert found.left_out == ()
