"""Promises of the proof that tiktoken gives a file's ids: what it says is so, and what it cannot say it names."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from support.byte_level import ALPHABET, BYTE_LEVEL, added, document
from support.commands import SAMPLES
from support.strategies import PIECES

from llmprep.vocabulary.proof import BYTE_LEVEL_PATTERN, Obstacle, Proven, prove
from llmprep.vocabulary.tokenizer_json import read_tokenizer_json

WORDS = ["".join(word) for length in range(1, 9) for word in itertools.product("ab", repeat=length)] + [" ab"]


def proof(content: dict[str, Any]) -> Proven | Obstacle:
    return prove(read_tokenizer_json("t.json", json.dumps(content).encode()))


def ids_of_both(content: dict[str, Any], proven: Proven, texts: list[str]) -> tuple[list[list[int]], list[list[int]]]:
    """The ids of the library that defines them, and of tiktoken with what was proven."""
    library = pytest.importorskip("tokenizers").Tokenizer.from_str(json.dumps(content))
    encoding = tiktoken.Encoding("t", pat_str=proven.splits[0], mergeable_ranks=proven.ranks, special_tokens={})
    return [each.ids for each in library.encode_batch_fast(texts)], [encoding.encode(text) for text in texts]


def random_bpe(seed: int) -> tuple[dict[str, Any], bool]:
    """A file of entries over two letters, and whether it is as a trainer makes it: else something in it is changed."""
    drawn = random.Random(seed)  # noqa: S311 - no secret
    entries, merges = dict.fromkeys("ab", 0), list[list[str]]()
    for _ in range(drawn.randint(1, 12)):
        left, right = drawn.choices(list(entries), k=2)
        if left + right not in entries and len(left + right) < 7:
            entries[left + right] = 256 + len(merges)
            merges.append([left, right])
    del entries["a"], entries["b"]
    changes = [drawn.random() < 0.4 for _ in range(5)]
    if changes[0]:  # the splits of each entry, all at once
        merges = [[t[:i], t[i:]] for t in entries for i in range(1, len(t)) if {t[:i], t[i:]} <= {"a", "b", *entries}]
    if changes[1]:
        merges.insert(drawn.randrange(len(merges) + 1), drawn.choice(merges))
    if changes[2]:
        del merges[drawn.randrange(len(merges))]
    if changes[3]:
        entries |= {"".join(drawn.choices("ab", k=drawn.randint(2, 5))): 900, " ab": 901, "": 902}
    if changes[4]:
        one, two = drawn.choices(list(entries), k=2)
        entries[one], entries[two] = entries[two], entries[one]
    return document(entries, merges, model_ignore_merges=drawn.random() < 0.5), not any(changes)


@settings(max_examples=150)
@given(st.integers(0, 2**32))
def test_what_is_proven_gives_the_ids_of_the_library(seed: int) -> None:
    """Every word of two letters has the same ids, for any entries and merges that are said to be proven."""
    content, trained = random_bpe(seed)
    found = proof(content)
    if isinstance(found, Obstacle):
        assert not trained or content["model"]["ignore_merges"]
        return
    assert b"" not in found.ranks
    defined, ours = ids_of_both(content, found, WORDS)
    assert ours == defined


def split(pattern: str, behavior: str = "Isolated", *, invert: bool = False, kind: str = "Regex") -> dict[str, Any]:
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def steps(*inner: Any, kind: str = "pretokenizers") -> dict[str, Any]:
    return {"type": "Sequence", kind: list(inner)}


AFTER = BYTE_LEVEL | {"use_regex": False}
MADE = ({"ab": 256, "abc": 257}, [["a", "b"], ["ab", "c"]])
TAKEN = [
    ({}, (BYTE_LEVEL_PATTERN,), ""),
    ({"pre_tokenizer": {k: v for k, v in BYTE_LEVEL.items() if k != "use_regex"}}, (BYTE_LEVEL_PATTERN,), ""),
    ({"pre_tokenizer": steps(split("x|y"), AFTER)}, ("x|y",), ""),
    ({"pre_tokenizer": steps(split("x|y", "Removed", invert=True), AFTER)}, ("x|y",), ""),
    ({"pre_tokenizer": steps(steps(split("x"), split("y")), AFTER)}, ("x", "y"), ""),
    ({"pre_tokenizer": steps(split("x"), BYTE_LEVEL)}, ("x", BYTE_LEVEL_PATTERN), ""),
    ({"normalizer": steps(kind="normalizers")}, (BYTE_LEVEL_PATTERN,), ""),
    ({"normalizer": {"type": "NFC"}}, (BYTE_LEVEL_PATTERN,), "NFC"),
    ({"normalizer": steps({"type": "NFKC"}, kind="normalizers")}, (BYTE_LEVEL_PATTERN,), "NFKC"),
    ({"added_tokens": [added("<x>", 258, normalized=True)]}, (BYTE_LEVEL_PATTERN,), ""),
]


@pytest.mark.parametrize(("changes", "splits", "normalizer"), TAKEN)
def test_what_trainers_write_is_proven(changes: dict[str, Any], splits: tuple[str, ...], normalizer: str) -> None:
    """The splits, normalizer and added tokens of a file that is proven are those that it states."""
    found = proof(document(*MADE, **changes))
    assert isinstance(found, Proven)
    assert (found.splits, found.normalizer, len(found.ranks)) == (splits, normalizer, 258)
    assert [token.content for token in found.added] == [entry["content"] for entry in changes.get("added_tokens", [])]


ALL = {character: byte for byte, character in enumerate(ALPHABET)}
NO_C = {character: byte for character, byte in ALL.items() if character != "c"}
HINDERED = [
    ({"model_type": "WordLevel"}, "the model is WordLevel, not BPE"),
    ({"model_continuing_subword_prefix": "b", "model_merges": [["a", "b"]], "model_vocab": {"a": 0, "b": 1}},
     "the model's continuing_subword_prefix is 'b'"),
    ({"model_end_of_word_suffix": "</w>"}, "the model's end_of_word_suffix is '</w>'"),
    ({"model_vocab": NO_C, "model_merges": []}, "the byte 0x63 is no entry of the vocabulary"),
    ({"model_vocab": {**NO_C, "c": 99, "a" * 23_200: 256}, "model_merges": []}, "too long to merge"),
    ({"normalizer": {"type": "Lowercase"}}, "the normalizer is Lowercase"),
    ({"normalizer": steps({"type": "NFC"}, {"type": "NFC"}, kind="normalizers")}, "the normalizer is NFC, NFC"),
    ({"normalizer": "NFC"}, "the normalizer is 'NFC'"),
    ({"pre_tokenizer": None}, "the pre-tokenizers are none"),
    ({"pre_tokenizer": {"type": "Whitespace"}}, "the pre-tokenizers are Whitespace"),
    ({"pre_tokenizer": steps(AFTER, split("x"))}, "the pre-tokenizers are ByteLevel, Split"),
    ({"pre_tokenizer": steps(AFTER, AFTER)}, "the pre-tokenizers are ByteLevel, ByteLevel"),
    ({"pre_tokenizer": steps(split("x"), {"type": "Digits"}, AFTER)}, "are Split, Digits, ByteLevel"),
    ({"pre_tokenizer": BYTE_LEVEL | {"add_prefix_space": True}}, "ByteLevel adds a space"),
    ({"pre_tokenizer": steps(split("x", kind="String"), AFTER)}, "a Split is by a String, Isolated"),
    ({"pre_tokenizer": steps(split("x", "MergedWithNext"), AFTER)}, "a Split is by a Regex, MergedWithNext"),
    ({"pre_tokenizer": steps(split("x", "Removed"), AFTER)}, "a Split is by a Regex, Removed"),
    ({"pre_tokenizer": steps(split("x", invert=True), AFTER)}, "a Split is by a Regex, Isolated, inverted"),
    ({"pre_tokenizer": steps(split("x"), split("y", "Removed", invert=True), AFTER)}, "Removed, inverted"),
    ({"added_tokens": [added("<x>", 258, lstrip=True)]}, "the added token '<x>' is found with lstrip"),
    ({"added_tokens": [added("<x>", 258, rstrip=True)]}, "is found with rstrip"),
    ({"added_tokens": [added("<x>", 258, single_word=True)]}, "is found with single_word"),
    ({"added_tokens": [added("<x>", 258, normalized=True)], "normalizer": {"type": "NFC"}}, "is found after NFC"),
    ({"added_tokens": [added("<x>", 5)], "model_vocab": NO_C | {"c": 256}, "model_merges": []},
     "the added token '<x>' has the id of 'c', 256"),
    ({"model_vocab": NO_C | {"c": 99, "bc": 257, "ab": 256}, "model_merges": [["b", "c"], ["a", "b"]]},
     "the merges are not in the order of ids: 'a' 'b' makes 256, and 'b' 'c', which stands before it, 257"),
    ({"model_merges": [["a", "b"]], "model_ignore_merges": True},
     "token 257, 'abc', is the pair 'ab' 'c', which is not in merges"),
    ({"model_merges": [["a", "b"]], "model_ignore_merges": True,
      "model_vocab": ALL | {"ab": 256, "abc": 257, "zz": 258}},
     "token 258, 'zz', is the pair 'z' 'z'"),  # the shortest
]  # fmt: skip


@pytest.mark.parametrize(("changes", "reason"), HINDERED, ids=[reason for _, reason in HINDERED])
def test_what_stands_in_the_way_is_named(changes: dict[str, Any], reason: str) -> None:
    """Each thing for which tiktoken would give other ids is an obstacle, and the sentence says which it is."""
    found = proof(document(*MADE, **changes))
    assert isinstance(found, Obstacle)
    assert reason in found.reason


def test_only_bytes_of_texts_need_an_entry() -> None:
    """A vocabulary without the 13 bytes that no UTF-8 has is proven, without the entries that hold one."""
    vocab = {character: byte for byte, character in enumerate(ALPHABET) if byte not in {0xC0, 0xC1, *range(0xF5, 256)}}
    found = proof(document({}, [], model_vocab=vocab | {"ÿa": 300}, model_ignore_merges=True))
    assert isinstance(found, Proven)
    assert len(found.ranks) == 243


@pytest.mark.parametrize("looked_up", [False, True])
def test_a_trained_vocabulary_is_proven(looked_up: bool) -> None:
    """What the library's own trainer makes of a text is proven, and gives its ids on that text and on hard ones."""
    tokenizers = pytest.importorskip("tokenizers")
    text = (SAMPLES / "story.txt").read_text(encoding="utf-8")
    trained = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=looked_up))
    trained.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=1500, initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator(text.splitlines(keepends=True), trainer)
    content = json.loads(trained.to_str())
    found = proof(content)
    assert isinstance(found, Proven)
    defined, ours = ids_of_both(content, found, [text, *PIECES, "".join(PIECES)])
    assert ours == defined
