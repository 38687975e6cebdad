"""Promises of `pack`, and of what `inspect` says of its indexes."""

from pathlib import Path

from support.commands import Call
from support.refusals import check_error
from support.stores import build, json_lines, write_files

FACTS = ["rows", "fill_percent", "documents", "split", "cuts", "tokens", "lost", "repeated", "filler", "targets"]

NOWHERE = ("--index-dir", "no")


def test_a_packing_says_what_becomes_of_each_token(call: Call) -> None:
    """In words, as one object, or not at all; a second time nothing is written; inspecting says and verifies it."""
    write_files(Path(), {"texts.jsonl": json_lines(["one two three", "four " * 20, "five six", "seven"])})
    build("texts.jsonl", "store", None)
    words = call("pack", "store", "--max-length", "9")
    again = call("pack", "store", "--max-length", "9", "--json")
    cut = call("pack", "store", "--max-length", "9", "--truncate").lines
    sewn = call("pack", "store", "--max-length", "9", "--overlap", "1").lines
    path = again.value["output"]
    assert words.lines == [
        "3 rows of 10 tokens, 100.00 % full: 4 documents, 1 of them longer than a row and cut at 2 places",
        "30 tokens: each in one row",
        "24 targets within a document; 2 after a cut are none, which --overlap 1 mends",
        f"{path}: {Path(path).stat().st_size / 1e3:.1f} kB",
    ]
    assert call("pack", "store", "--max-length", "9").lines[-1] == words.lines[-1].replace(": ", ": unchanged, ")
    assert (call("pack", "store", "-q", "--max-length", "9").lines, again.value["unchanged"]) == ([], True)
    assert [key.removeprefix("n_") for key in again.value][-len(FACTS) :] == FACTS
    assert cut[:2] == [
        "2 rows of 10 tokens, 90.00 % full: 4 documents, 1 of them longer than a row and truncated",
        "30 tokens: 12 lost, each other one in one row",
    ]
    assert sewn[1:3] == ["30 tokens: each in one row, 2 in a second one too", "26 targets within a document"]
    inspected = call("inspect", "store", "--verify", "--json").value
    assert inspected["packings"][Path(path).name] == {key: again.value[key] for key in [*again.value][-len(FACTS) :]}
    assert len([line for line in inspected["verified"] if line.startswith("packed-9-")]) == 3
    (line,) = [line for line in call("inspect", "store").lines if line.startswith(Path(path).name)]
    assert line.partition(" ")[2] == (
        "rows 3, fill_percent 100.0, documents 4, split 1, cuts 2, tokens 30, lost 0, repeated 0, filler 0, targets 24"
    )
    facts = call("inspect", path, "--verify").lines
    assert "kind             packing" in facts
    assert facts[-1] == "verified: 30 tokens in rows, 0 of them twice, and 0 lost"


def test_what_cannot_be_packed_is_refused(call: Call) -> None:
    """A text, and a split that is not there, are one line; so is a folder that is not."""
    write_files(Path(), {"a.txt": "words"})
    build("a.txt", "store", None)
    refused = [call("pack", *arguments) for arguments in (["a.txt"], ["store", "--split", "x"], ["store", *NOWHERE])]
    assert [(each.code, each.notes[0].split(": ")[2:4]) for each in refused] == [
        (2, ["a.txt", "is not a token store; make one with llmprep tokenize a.txt -o FOLDER/"]),
        (1, ["split x", "this store has none; build it with --val-fraction"]),
        (1, ["no", "is not a folder that can be written to, where the index of packed rows would lie; name another"]),
    ]


def test_a_damaged_index_may_be_removed(call: Call) -> None:
    """A store beside an index that cannot be read says which it is, and that nothing is lost with it."""
    write_files(Path(), {"a.txt": "words and more words"})
    build("a.txt", "store", None)
    path = Path(call("pack", "store", "--max-length", "2", "--json").value["output"])
    path.write_bytes(path.read_bytes()[:-30])
    for options in ([], ["--verify"]):
        check_error(
            call("inspect", "store", *options),
            4,
            f"{path}: not a .pt file, ...; an index can be removed, and packed again",
        )
