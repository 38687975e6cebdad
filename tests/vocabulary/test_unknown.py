"""Promises of text that a tokenizer.json has no entry for: what becomes of it is what its library does, and is said."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.byte_level import ALPHABET, added, document
from support.commands import Call
from support.small_vocabularies import write_vocabularies

from llmprep.choices import TokenizerFile
from llmprep.vocabulary.loading import load_vocabulary

SPACED = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "never", "split": False}
LETTERS: dict[str, Any] = {"type": "BPE", "vocab": {"a": 0, "b": 1, "\u2581": 2, "[X]": 3}, "merges": []}
BYTES = {f"<0x{byte:02X}>": 4 + byte for byte in range(256)}
WORDS = {"a": 0, "b": 1, "[X]": 3}
PIECES = [["[X]", -9.0], ["a", -1.0], ["b", -1.0], ["\u2581", -2.0]]
MODELS: dict[str, tuple[dict[str, Any], int | None, bool]] = {
    "a token": (LETTERS | {"unk_token": "[X]"}, 3, False),
    "nothing": (LETTERS, None, True),
    "bytes": (LETTERS | {"byte_fallback": True, "vocab": LETTERS["vocab"] | BYTES}, None, False),
    "some bytes": (LETTERS | {"byte_fallback": True, "vocab": LETTERS["vocab"] | {"<0x0A>": 4}}, None, True),
    "pieces": ({"type": "Unigram", "unk_id": 0, "vocab": PIECES}, 0, False),
    "words": (
        {
            "type": "WordPiece",
            "unk_token": "[X]",
            "vocab": WORDS,
            "max_input_chars_per_word": 9,
            "continuing_subword_prefix": "##",
        },
        3,
        False,
    ),
    "whole words": ({"type": "WordLevel", "unk_token": "[X]", "vocab": WORDS}, 3, False),
}


def whole(model: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer.json of a model, with an end-of-text token and one of no meaning."""
    number = 9 if len(model["vocab"]) < 9 else 300
    tokens = [added("</s>", number + 1), added("[A]", number)]
    return document({}, [], pre_tokenizer=SPACED, added_tokens=tokens) | {"model": model}


@pytest.mark.parametrize("name", MODELS)
def test_the_token_is_the_librarys(name: str, tmp_path: Path) -> None:
    """What stands for a character without an entry is what the library gives for it; bytes are entries."""
    tokenizers = pytest.importorskip("tokenizers")
    model, unknown, drops = MODELS[name]
    content = json.dumps(whole(model))
    (tmp_path / "t.json").write_text(content)
    said: list[str] = []
    found = load_vocabulary(TokenizerFile(str(tmp_path / "t.json"), eot="</s>"), announce=said.append).unknown_id
    ids = tokenizers.Tokenizer.from_str(content).encode("\u4e2d", add_special_tokens=False).ids
    assert ids == ([] if drops else [228 + 4, 184 + 4, 173 + 4] if name == "bytes" else [found])
    assert (found, any("left out of the ids" in line for line in said)) == (unknown, drops)


def test_byte_level_vocabularies_know_every_byte(tmp_path: Path) -> None:
    """One that has them all has no unknown text, whatever token it names; one that lacks a byte has some."""
    for vocab, unknown in (({*ALPHABET, "?"}, None), ({*ALPHABET, "?"} - {"a"}, 500)):
        entries = {letter: number for number, letter in enumerate(sorted(vocab))} | {"?": 500}
        stated = document({}, [], added_tokens=[added("</s>", 300)])
        stated["model"] |= {"vocab": entries, "unk_token": "?"}
        (tmp_path / "t.json").write_text(json.dumps(stated))
        assert load_vocabulary(TokenizerFile(str(tmp_path / "t.json"), eot="</s>")).unknown_id == unknown


def test_a_token_that_nobody_names_is_none(tmp_path: Path) -> None:
    """An entry that is spelt as JSON's null is in Python is an entry as any."""
    model = LETTERS | {"vocab": LETTERS["vocab"] | {"None": 4}, "unk_token": None}
    (tmp_path / "t.json").write_text(json.dumps(whole(model)))
    assert load_vocabulary(TokenizerFile(str(tmp_path / "t.json"), eot="</s>")).unknown_id is None


def test_the_end_of_text_that_stands_for_unknown_text_joins_nothing(call: Call) -> None:
    """Small files and records are encoded apart; such an end is counted, refused where text stays text, and kept."""
    pytest.importorskip("tokenizers")
    stated = document({"</s>": 300}, [], added_tokens=[added("</s>", 300)])
    del stated["model"]["vocab"]["z"]
    stated["model"] |= {"unk_token": "</s>"}
    Path("t.json").write_text(json.dumps(stated))
    Path("a").mkdir()
    for name, text in {"1.txt": "a", "2.txt": "az", "3.txt": "b"}.items():
        Path("a", name).write_text(text)
    Path("r.jsonl").write_text('{"text": "a"}\n{"text": "az"}\n{"text": "b"}\n')
    Path("known.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    own = ("--tokenizer", "t.json", "--eot", "</s>", "-o", "t.pt", "--force")
    for name in ("a", "r.jsonl"):
        ended = call("tokenize", name, *own)
        assert (ended.code, sum("once in the text itself" in note for note in ended.notes)) == (0, 1), ended
        assert torch.load("t.pt")["token_ids"].tolist() == [97, 300, 97, 300, 300, 98]
        assert call("tokenize", name, *own, "--separator", "none").code == 0
        assert torch.load("t.pt")["token_ids"].tolist() == [97, 97, 300, 98]
        assert call("tokenize", name, *own, "--special", "text").code == 3
    assert not any("no entry" in note for note in call("tokenize", "known.jsonl", *own).notes)


@pytest.mark.parametrize(("vocabulary", "token"), [("unigram.json", 0), ("wordpiece.json", 1)])
@pytest.mark.parametrize("output", ["t.pt", "s/"])
def test_each_input_that_holds_such_text_is_counted(call: Call, vocabulary: str, token: int, output: str) -> None:
    """By every reader: files that are joined, records, one text; nothing is said of those that have none."""
    pytest.importorskip("tokenizers")
    write_vocabularies()
    Path("a").mkdir()
    for name, text in {"a.txt": "one two", "b.txt": "one \u4e2d", "c.txt": "\u4e2d", "d.txt": "three"}.items():
        Path("a", name).write_text(text, encoding="utf-8")
    Path("a/e.jsonl").write_text('{"text": "one"}\n{"text": "\\u4e2d"}\n')
    Path("a/f.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    eot = "</s>" if vocabulary == "unigram.json" else "[SEP]"
    ended = call("tokenize", "a", "--tokenizer", vocabulary, "--eot", eot, "-o", output)
    assert ended.code == 0, ended
    said = f"a/b.txt (and 2 more): holds text that {vocabulary} has no entry for, where its token {token} stands"
    assert [note for note in ended.notes if "entry" in note] == [f"llmprep: note: {said}"]
