"""Promises of any vocabulary in any command: its ids are those of the library that defines it, and it is known again.

A row for each kind of file; of the kinds of a tokenizer.json two are such that only the tokenizers library can encode.
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.byte_level import added, document
from support.commands import Call
from support.strategies import adversarial_text
from support.vocabularies import STORY, Kind, make_kinds

from llmprep.choices import Reading, TokenizerFile
from llmprep.errors import LlmprepError, UsageError, VocabularyError
from llmprep.formats.vocabularies import decode_ids
from llmprep.inputs import open_tokens
from llmprep.pytorch.datasets import WindowDataset
from llmprep.pytorch.loaders import create_dataloader
from llmprep.showing import Tokens
from llmprep.tokens.encoding import encode_text
from llmprep.vocabulary import building
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.vocabulary.opening import open_expected, open_with_fingerprint

LOSES = {"unigram": "text", "wordpiece": "text", "nfc": "form"}
QUICK = ("bpe", "unigram", "ranks", "minbpe-bare")
SLOW = ("nfc", "bare", "wordpiece", "pickle", "tekken", "minbpe")
DOCUMENTS = [
    "the [EOT] and </s> and [SEP], then [EOS], <|bos|>, <|end|>; e\u0301\u4e2d\u6587 12345!\r\n",
    *STORY.split("\n\n")[:9],
    "<|endoftext|>",
    STORY,
]


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kind]:
    """The vocabularies, by name; nobody changes them."""
    return make_kinds(tmp_path_factory.mktemp("kinds"))


@pytest.fixture(params=[*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def name(request: pytest.FixtureRequest) -> str:
    """The name of one of them after the other."""
    return str(request.param)


@pytest.fixture
def kind(kinds: dict[str, Kind], name: str) -> Kind:
    """The vocabulary of that name."""
    return kinds[name]


def written(folder: Path, documents: Sequence[str]) -> list[str]:
    """Documents in a text, in records and in a compressed text, as names in their order."""
    (folder / "a.txt").write_bytes(documents[0].encode())
    (folder / "b.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents[1:-1]))
    (folder / "c.txt.gz").write_bytes(gzip.compress(documents[-1].encode()))
    return ["a.txt", "b.jsonl", "c.txt.gz"]


def ids_of(path: str) -> list[int]:
    """The ids of a file or store."""
    return [number for block in open_tokens([path]) for number in block.tolist()]


def said(call: Call, *words: str, code: int = 0) -> str:
    """What a command prints, on both streams; it ends with this code."""
    ended = call(*words)
    assert ended.code == code, ended.stderr
    return (ended.stdout + ended.stderr).decode()


def test_every_command_gives_the_ids_that_are_defined(call: Call, kind: Kind, tmp_path: Path) -> None:
    """A list, a tokens file, a store, windows and pairs hold the same ids, whatever the input; each can be checked."""
    files = written(tmp_path, DOCUMENTS)
    texts = [DOCUMENTS[0].replace("\r\n", "\n"), *DOCUMENTS[1:]]
    expected = kind.stream(texts)
    listed = said(call, "tokenize", *files, *kind.options, "--ids").splitlines()
    parts = [texts[:1], texts[1:-1], texts[-1:]]
    assert [[*map(int, line.split())] for line in listed[:3]] == [*map(kind.stream, parts)]
    said(call, "tokenize", *files, *kind.options, "-o", "t.pt")
    said(call, "tokenize", *files, *kind.options, "-o", "s/", "--shard-bytes", "9000")
    said(call, "window", *files, *kind.options, "-o", "w.pt", "--max-length", "4", "--explain", "--html", "w.html")
    assert ids_of("t.pt") == ids_of("s") == expected
    rows = WindowDataset("w.pt")
    assert rows[:][0].tolist() == [expected[k : k + 4] for k in range(0, len(expected) - 4, 4)]
    pairs = json.loads(said(call, "pairs", "a.txt", *kind.options, "--json").splitlines()[0])
    assert pairs["pairs"][0]["context"] == kind.define(texts[0])[:1]
    for path in ("t.pt", "w.pt", "s"):
        assert "content_sha256" in said(call, "inspect", path, "--verify")
    if kind.eot_id is None:
        assert "leave it out" in said(call, "pairs", "a.txt", *kind.options, "-o", "p.pt", code=2)
    embedded = said(call, "embed", "w.pt", "--dim", "2", "--batches", "1")
    assert f"token table [{load_vocabulary(kind.file).n_vocab}, 2]" in embedded


def test_ids_are_text_by_the_file_or_a_folder_that_holds_it(call: Call, kind: Kind, name: str, tmp_path: Path) -> None:
    """A store carries its vocabulary; a file names it by fingerprint; bytes are told only where none are lost."""
    (tmp_path / "a.txt").write_text(STORY[:3000])
    said(call, "tokenize", "a.txt", *kind.options, "-o", "s/")
    said(call, "tokenize", "a.txt", *kind.options, "-o", "t.pt")
    own = kind.options[:-2] if kind.eot_id is None else kind.options
    assert "not at hand; name its file with --tokenizer" in said(call, "decode", "t.pt", code=5)
    shown = {said(call, "decode", *words) for words in (["s"], ["t.pt", *own], ["t.pt", "--vocab-dir", "s"])}
    assert (shown == {STORY[:3000]}) == (LOSES.get(name) != "text")
    assert len(shown) == 1
    place = json.loads(said(call, "inspect", "s", "--where", "1", "--max-length", "32", "--json"))["shown"][0]["places"]
    begin = len(b"".join(load_vocabulary(kind.file).token_table()[number] for number in ids_of("s")[:32]))
    assert place[0]["begin"] == (None if LOSES.get(name) == "text" else begin)


def test_another_vocabulary_is_refused(call: Call, kinds: dict[str, Kind], tmp_path: Path) -> None:
    """By fingerprint: of one name and one file with another end-of-text token too; a store says what was, and is."""
    (tmp_path / "a.txt").write_text("the end")
    file = kinds["ranks"].file
    own, other = kinds["ranks"].options, [*kinds["ranks"].options[:-1], "<|bos|>"]
    for output in ("t.pt", "s/"):
        said(call, "tokenize", "a.txt", *own, "-o", output)
    shorts = [load_vocabulary(each).fingerprint[:12] for each in (file, replace(file, eot="<|bos|>"))]
    made = f"was made with own.tiktoken (fingerprint {shorts[0]})"
    for path in ("t.pt", "s"):
        assert f"{made}, and this one's fingerprint is {shorts[1]}" in said(call, "decode", path, *other, code=2)
        assert made in said(call, "window", path, "--encoding", "gpt2", code=2)
    was = f"encoding was own.tiktoken (fingerprint {shorts[0]}), is own.tiktoken (fingerprint {shorts[1]}); --restart"
    assert was in said(call, "tokenize", "a.txt", *other, "-o", "s/", code=6)
    said(call, "tokenize", "a.txt", *other, "-o", "s/", "--restart")
    assert "vocabulary.json has the fingerprint" in said(call, "inspect", "s", "--verify")
    assert said(call, "decode", "s", *other) == "the end"


def test_a_file_is_known_again_by_its_fingerprint(kinds: dict[str, Kind]) -> None:
    """Without --eot: each token that may end a text is tried, of a file that says all of itself; another is no such."""
    for name in ("bpe", "bare", "pickle", "tekken", "minbpe", "ranks"):
        vocabulary, path = load_vocabulary(kinds[name].file), kinds[name].file.path
        assert open_with_fingerprint(path, vocabulary.fingerprint) == (None if name == "ranks" else vocabulary)
        assert open_with_fingerprint(path, "0" * 64) is None
    other = open_expected(TokenizerFile(kinds["bare"].file.path), "0" * 64)
    assert other == load_vocabulary(kinds["bare"].file)


def test_joined_documents_are_normalised_apart(call: Call) -> None:
    """A mark that begins one is not composed with what ends the other; no token is found that was not written."""
    from tokenizers import Tokenizer

    tokens = [added("</s>", 256), added("[K]", 257)]
    content = json.dumps(document({}, [], normalizer={"type": "NFC"}, added_tokens=tokens))
    Path("tokenizer.json").write_text(content)
    defining, own = Tokenizer.from_str(content), ("--tokenizer", ".", "--eot", "</s>", "-o", "t.pt", "--force")
    plain = ["plain", "e", "\u0301 begins", "cafe\u0301", "<", "\u0338", "\u1100\u1161"]
    for texts in (plain[:2], plain, [*plain, "[\u212a]"], [*plain, "[K]"]):
        Path("a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        expected = [n for text in texts for n in (256, *defining.encode(text, add_special_tokens=False).ids)][1:]
        for backend in ("tokenizers", "tiktoken", "gigatoken"):
            said(call, "tokenize", "a.jsonl", *own, "--backend", backend)
            assert ids_of("t.pt") == expected, (backend, texts)


@pytest.mark.slow
def test_a_store_carries_its_vocabulary(call: Call, kinds: dict[str, Kind], tmp_path: Path) -> None:
    """It names the vocabulary of other texts; tasks write the same; damaged, missing or exchanged, that is said."""
    (tmp_path / "a.txt").write_text(STORY[:9000])
    bpe, shards = kinds["bpe"], ("--shard-bytes", "2000")
    said(call, "tokenize", "a.txt", *bpe.options, "-o", "s/", *shards, "--jobs", "2")
    for task in ("2/2", "1/2"):
        said(call, "tokenize", "a.txt", *bpe.options, "-o", "parts/", *shards, "--task", task)
    said(call, "merge", "parts/")
    for path in Path("s").rglob("*.*"):
        assert path.read_bytes() == Path("parts", path.relative_to("s")).read_bytes()
    said(call, "tokenize", "a.txt", "--tokenizer", "s", "-o", "t.pt")
    assert ids_of("t.pt") == bpe.define(STORY[:9000])
    said(call, "tokenize", "a.txt", *kinds["unigram"].options, "-o", "other/")
    said(call, "tokenize", "a.txt", "-o", "gpt2/")
    assert "carries no vocabulary: name the encoding" in said(call, "tokenize", "--tokenizer", "gpt2", "a.txt", code=5)
    own = Path("s/vocabulary.json")
    changes = {
        "its fingerprint is": Path("other/vocabulary.json").read_bytes(),
        "damaged": own.read_bytes()[:-9],
        "is missing": None,
    }
    for word, data in changes.items():
        own.unlink()
        if data is not None:
            own.write_bytes(data)
        assert word in said(call, "inspect", "s", "--verify", code=4)
        assert ("damaged or another" in said(call, "decode", "s", code=5)) == (data is not None)
        assert said(call, "decode", "s", "--tokenizer", bpe.file.path) == STORY[:9000]  # --eot: by the fingerprint
        said(call, "tokenize", "a.txt", *bpe.options, "-o", "s/", *shards)
        assert own.read_bytes() == Path("parts/vocabulary.json").read_bytes()


def test_an_encoding_that_was_fetched_travels_in_a_store(call: Call, vocab_dir: Path, tmp_path: Path) -> None:
    """A store of cl100k_base is text again where no folder, cache or network has its ranks."""
    (tmp_path / "a.txt").write_text(STORY[:3000])
    said(call, "tokenize", "a.txt", "--encoding", "gpt-4", "--vocab-dir", str(vocab_dir), "-o", "s/")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(tmp_path)
    shutil.move("s", "moved")
    assert said(call, "decode", "moved") == STORY[:3000]


def test_python_takes_the_same(kind: Kind, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts, tokens, files and data sets give these ids, also in another process with another current folder."""
    monkeypatch.chdir(Path(kind.file.path).parent)
    beside = None if kind.file.special_tokens is None else Path(kind.file.special_tokens).name
    file = TokenizerFile(Path(kind.file.path).name, kind.file.pattern, beside, kind.file.eot)
    text, expected = STORY[:2000], kind.define(STORY[:2000])
    (tmp_path / "a.txt").write_text(text)
    tokens = Tokens.of_text(text, tokenizer=file)
    sets = [
        WindowDataset(source, max_length=4, stride=1, tokenizer=file)
        for source in (tmp_path / "a.txt", tokens, expected)
    ]
    for each in [*sets, *pickle.loads(pickle.dumps(sets))]:  # noqa: S301 - our own
        assert each[len(each) - 1][1].tolist() == expected[-4:]
        assert "\u00b7" in each._repr_html_() or "the" in each._repr_html_()
    batch = next(iter(create_dataloader(tmp_path / "a.txt", 2, 8, 8, shuffle=False, tokenizer=kind.file)))
    assert batch[0].flatten().tolist() == expected[:16]
    with closing(open_tokens(tmp_path / "a.txt", Reading(tokenizer=kind.file))) as stream:
        assert [i for block in stream for i in block.tolist()] == expected
    with pytest.raises(UsageError, match="both name a vocabulary"):
        Reading("gpt2", tokenizer=kind.file.path)
    with pytest.raises(UsageError, match=r"^tokenizer: must be the path of a file, or a TokenizerFile, not a int$"):
        Reading(tokenizer=5)  # type: ignore[arg-type] # as who uses no types may
    vocabulary = load_vocabulary(kind.file)
    sizes = vocabulary.token_bytes
    assert (sizes.dtype.name, sizes.shape) == ("int32", (vocabulary.n_vocab,))
    assert vocabulary.loses == LOSES.get(name, "nothing")
    if vocabulary.loses != "text":
        assert tokens.text == decode_ids(expected, tokenizer=kind.file) == text
        assert sizes[expected].sum() == len(text.encode())


@settings(max_examples=25)
@given(st.lists(st.sampled_from([*"a1 .\n'", *DOCUMENTS[0].split(), "\u0301", "\u1100\u1161"]) | adversarial_text))
def test_any_text_has_the_ids_that_are_defined(kinds: dict[str, Kind], parts: list[str]) -> None:
    """Whatever it holds, special tokens whole and in part included."""
    text = "".join(parts)
    for name in (*QUICK[:3], *SLOW[:5]):  # encoders of eight are kept
        kind = kinds[name]
        assert encode_text(text, tokenizer=kind.file).tolist() == kind.define(text), name


def test_a_small_text_needs_no_proof(call: Call, kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that defines the ids encodes it, and nobody asks who else could: that would take a second."""
    kind, text = kinds["nfc"], STORY[:2000]
    Path("a.txt").write_text(text)
    monkeypatch.setattr(building, "_prove", Mock(side_effect=AssertionError("proven")))
    options = ["a.txt", "--tokenizer", kind.file.path, "--eot", str(kind.file.eot)]
    for command in (["tokenize", "--ids"], ["window", "--max-length", "4", "--json"], ["pairs", "--context-size", "2"]):
        assert call(*command, *options).code == 0
    assert [*map(int, call("tokenize", "--ids", *options).stdout.split())] == kind.define(text)


def test_a_file_that_was_changed_is_read_again(kinds: dict[str, Kind], tmp_path: Path) -> None:
    """A tokenizer that is trained again under its name gives its new ids, to who encodes and who decodes."""
    path = str(shutil.copy(kinds["bpe"].file.path, tmp_path))
    file = TokenizerFile(path, eot="[EOT]")
    assert encode_text("the sea", tokenizer=file).tolist() == kinds["bpe"].define("the sea")
    assert decode_ids([5], tokenizer=file)
    changed = json.loads(Path(path).read_text())
    changed["model"] |= {"vocab": {token: 999 - n for token, n in changed["model"]["vocab"].items()}, "merges": []}
    changed["added_tokens"][1] |= {"id": changed["model"]["vocab"]["[EOT]"]}
    changed["added_tokens"][0] |= {"id": changed["model"]["vocab"]["[UNK]"]}
    Path(path).write_text(json.dumps(changed))
    ids = encode_text("the sea", tokenizer=file).tolist()
    assert ids == [changed["model"]["vocab"][letter] for letter in "the\u0120sea"]
    assert decode_ids(ids, tokenizer=file) == "the sea"


def test_an_end_of_text_that_a_model_makes_is_counted_or_refused(
    call: Call, kinds: dict[str, Kind], tmp_path: Path
) -> None:
    """A Unigram model makes it of full-width letters too, and of text that is to stay text, where that is refused."""
    unigram = kinds["unigram"]
    (tmp_path / "a.txt").write_text("the \uff1c/s\uff1e sea </s>")
    assert unigram.define("the \uff1c/s\uff1e sea </s>").count(unigram.eot_id or 0) == 2
    assert "found 2 times" in said(call, "tokenize", "a.txt", *unigram.options, "--ids")
    (tmp_path / "b.jsonl").write_text('{"text": "the sea"}\n{"text": "the </s>"}\n')
    for name in ("a.txt", "b.jsonl"):
        refused = said(call, "tokenize", name, *unigram.options, "--special", "text", "--ids", code=3)
        assert name in refused
        assert "makes its end-of-text token </s> of plain text too" in refused
    for other in ("bpe", "wordpiece"):
        kept = said(call, "tokenize", "--text", f"a{kinds[other].file.eot}", *kinds[other].options, "--special", "text")
        assert f" {kinds[other].eot_id}\n" not in kept


NAMED_WRONGLY: dict[str, tuple[type[LlmprepError], dict[str, str]]] = {
    "if that is a file, say --tokenizer": (VocabularyError, {"encoding": "tokenizer.json"}),
    "fetch its tokenizer.json": (VocabularyError, {"tokenizer": "someone/some-model"}),
    "name one or the other": (UsageError, {"encoding": "gpt2", "tokenizer": "tokenizer.json"}),
    "name it with --eot: it has ": (UsageError, {"tokenizer": "tokenizer.json"}),
}


@pytest.mark.parametrize("words", NAMED_WRONGLY)
def test_what_names_no_vocabulary_is_told_how(
    words: str, kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file as an encoding, a model of a hub, two names, a file that leaves its end of text open."""
    monkeypatch.chdir(Path(kinds["bpe"].file.path).parent)
    expected, names = NAMED_WRONGLY[words]
    with pytest.raises(expected, match=words):
        encode_text("a", **names)  # type: ignore[arg-type]
