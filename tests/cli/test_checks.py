"""Promises of ``inspect --check``: what ruins a run is said, with a number, and ends in an exit code of its own."""

import json
from pathlib import Path

import pytest
from support.commands import Call, Ended
from support.reference import encode
from support.refusals import check_error
from support.small_vocabularies import write_vocabularies

from llmprep.store.check import check_store
from llmprep.store.reading import TokenStore

CHECKS = [
    "entropy", "commonest", "vocabulary_used", "end_of_text", "unknown", "empty_documents", "one_token_documents",
    "duplicates", "train_and_val", "model_vocab",
]  # fmt: skip

NO_SPLITS = "there are no splits train and val here"


def write_records(name: str, texts: list[str]) -> None:
    """Write JSON Lines of these texts."""
    Path(name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")


def check_failed(ended: Ended, name: str, checks: str) -> None:
    """Check that findings were said, and then that these checks failed."""
    assert (ended.code, len(ended.stdout) > 0) == (3, True)
    assert ended.notes == [f"llmprep: error: {name}: --check found what ruins a training run: {checks}"]


def paragraphs(story: Path) -> list[str]:
    """The story's paragraphs that are no copies of others."""
    return [*dict.fromkeys(part for part in story.read_text(encoding="utf-8").split("\n\n") if len(part) > 40)]


def test_a_sound_corpus_passes(call: Call, story: Path) -> None:
    """A store, its tokens file and its windows give a verdict or a reason for each check, under the same keys."""
    write_records("a.jsonl", paragraphs(story))
    for words in ("a.jsonl -o s/ --jobs 1 --val-fraction 0.2", "a.jsonl -o t.pt"):
        assert call("tokenize", *words.split()).code == 0
    assert call("window", "t.pt", "--max-length", "8", "-o", "w.pt").code == 0
    ids = encode("<|endoftext|>".join(paragraphs(story)))
    for name, not_made in (("s", {"unknown"}), ("t.pt", {"unknown", "train_and_val"}), ("w.pt", {*CHECKS[4:9]})):
        ended = call("inspect", name, "--check", "--model-vocab", "50257", "--json")
        checked = ended.value["checked"]
        verdicts = {check: checked[check]["verdict"] for check in CHECKS}
        assert (ended.code, [*checked]) == (0, CHECKS)
        assert verdicts == dict.fromkeys(CHECKS, "fine") | dict.fromkeys(not_made, "not checked")
        assert all({"verdict", "value", "says"} <= each.keys() for each in checked.values())
        commonest = checked["commonest"]["ids"][0]
        assert commonest == {"id": 262, "count": ids.count(262), "share": ids.count(262) / len(ids), "text": " the"}
    lines = call("inspect", "t.pt", "--check").lines
    shown = [line for line in lines if line[:13].strip() in ("fine", "not checked")]
    assert [line[14:].partition(":")[0].replace(" ", "_") for line in shown] == CHECKS
    assert shown[-1] == "not checked   model vocab: model_vocab, how many ids the model has room for, is not given"


def test_a_corpus_of_one_unknown_token_fails(call: Call) -> None:
    """A text in letters that a vocabulary does not have is nearly all one token: four checks see it."""
    pytest.importorskip("tokenizers")
    write_vocabularies()
    Path("a.txt").write_text("\u4e2d\u6587 " * 4999 + "one", encoding="utf-8")
    call("tokenize", "a.txt", "-o", "s/", "--jobs", "1", "--tokenizer", "wordpiece.json", "--eot", "[SEP]")
    ended = call("inspect", "s", "--check")
    (line,) = (line for line in ended.lines if " unknown: " in line)
    assert line == (
        "ruins a run   unknown: 99.99 % of the tokens are 1 [UNK], which stands for text that the vocabulary lacks"
    )
    check_failed(ended, "s", "entropy, commonest, unknown")
    write_records("a.jsonl", ["one \u4e2d", "two"])
    call("tokenize", "a.jsonl", "-o", "t.pt", "--tokenizer", "wordpiece.json", "--eot", "[UNK]")
    for files, count, verdict in (
        (["--tokenizer", "wordpiece.json", "--eot", "[UNK]"], 1, "ruins a run"),
        ([], None, "not checked"),
    ):
        unknown = call("inspect", "t.pt", "--check", "--json", *files).value["checked"]["unknown"]
        assert (unknown.get("count"), unknown["verdict"]) == (count, verdict)
    assert "--tokenizer" in unknown["says"]  # which says where the vocabulary is, that is not at hand


def test_documents_that_are_there_twice_fail(call: Call, story: Path) -> None:
    """Where every record is there twice, half of them are copies, and one is named by its file and number."""
    texts = [text for text in paragraphs(story) for _ in range(2)]
    write_records("a.jsonl", ["", *texts])
    call("tokenize", "a.jsonl", "-o", "t/", "--jobs", "1", "--shard-bytes", "9000")
    ended = call("inspect", "t", "--check", "--json")
    found = ended.value["checked"]["duplicates"]
    half = sum(len(encode(text)) for text in texts[::2])
    expected = ("ruins a run", len(texts) // 2, half, 2)
    assert (found["verdict"], found["n_copies"], found["n_tokens"], found["times"]) == expected
    assert found["says"].endswith("; document 2 of a.jsonl is there 2 times")
    check_failed(ended, "t", "duplicates")
    quiet = call("inspect", "t", "--check", "-q", "--svg", "p.svg")
    assert (quiet.code, quiet.stdout, len(quiet.notes)) == (3, b"", 1)
    assert "ruins" in Path("p.svg").read_text(encoding="utf-8")


def test_val_that_is_a_copy_of_train_fails(call: Call, story: Path) -> None:
    """The same file twice, the second half kept for validation: all of val is known from training."""
    for name in ("a.txt", "b.txt"):
        Path(name).write_text(story.read_text(encoding="utf-8"), encoding="utf-8")
    call("tokenize", "a.txt", "b.txt", "-o", "s/", "--jobs", "1", "--val-fraction", "0.5")
    ended = call("inspect", "s", "--check", "--json")
    found = ended.value["checked"]["train_and_val"]
    assert (ended.code, found["verdict"], found["value"], found["n_copies"]) == (3, "ruins a run", 1.0, 1)
    assert {each.check: each for each in check_store(TokenStore("s", "val"))}["train_and_val"].says == NO_SPLITS


def test_ends_that_stand_in_the_texts_are_told_from_separators(call: Call) -> None:
    """An end-of-text token that a text brings along is counted apart, and a model without room for it is named."""
    write_records("a.jsonl", ["one <|endoftext|> two", "three and four"])
    call("tokenize", "a.jsonl", "-o", "t.pt")
    ended = call("inspect", "t.pt", "--check", "--model-vocab", "50256", "--json")
    checked = ended.value["checked"]
    assert (checked["end_of_text"]["count"], checked["end_of_text"]["in_texts"]) == (2, 1)
    assert checked["commonest"]["value"] == 0.125  # of the others: the end of text, at 0.25, is judged by itself
    assert (checked["model_vocab"]["value"], checked["model_vocab"]["largest_id"]) == (2, 50256)
    check_failed(ended, "t.pt", "model vocab")
    write_records("a.jsonl", ["one", "two three"])
    call("tokenize", "a.jsonl", "-o", "t.pt", "--separator", "none")
    ends = call("inspect", "t.pt", "--check", "--json").value["checked"]["end_of_text"]
    assert (ends["verdict"], ends["says"][:4]) == ("look at this", "none")


def test_what_cannot_be_checked_is_refused(call: Call) -> None:
    """--check of what holds no stream of ids, and --model-vocab without --check, are errors of usage."""
    write_vocabularies()
    Path("a.txt").write_text("some words of text " * 9, encoding="utf-8")
    call("window", "a.txt", "--max-length", "4", "--stride", "6", "-o", "w.pt")
    lacks = "w.pt: holds no continuous token ids, as its windows leave gaps, so --check does not apply"
    check_error(call("inspect", "w.pt", "--check"), 2, lacks)
    check_error(call("inspect", "w.pt", "--model-vocab", "9"), 2, "--model-vocab: is only used with --check")
    vocabulary = "bytes.json: is a vocabulary, which holds no tokens; leave out --check"
    check_error(call("inspect", "bytes.json", "--check"), 2, vocabulary)
