"""Promises of default names: they come from the input, and never take the place of what was made from another."""

import os
from pathlib import Path

import pytest
import torch
from support.commands import Call
from support.reference import encode


def write(name: str, text: str, seconds: int) -> None:
    """Write a text that was last changed so many seconds after now, in a folder that was last changed long ago."""
    path = Path(f"{name}text" if name.endswith("/") else name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (path.stat().st_mtime + seconds,) * 2)
    if path.parent != Path():
        os.utime(path.parent, (0, 0))


def made() -> dict[str, bytes]:
    """The .pt files of the current folder."""
    return {path.name: path.read_bytes() for path in Path().glob("*.pt")}


@pytest.mark.parametrize(
    ("command", "first", "second", "reason"),
    [
        ("tokenize", "A1/wiki_00", "A2/wiki_00", "another wiki_00, not from A2/wiki_00"),
        ("window --max-length 2", "a.txt", "a.md", "a.txt, not from a.md"),
        ("tokenize", "A1/corpus/", "A2/corpus/", "another text, not from A2/corpus/"),
        ("window --max-length 2 --val-fraction 0.5", "a/", "a.txt", "text, not from a.txt"),
    ],
)
def test_what_was_made_from_others_is_kept(call: Call, command: str, first: str, second: str, reason: str) -> None:
    """Two inputs that give one name do not replace each other's file, unless -o or --force says so."""
    for name, text in ((first, "one two three four five six"), (second, "six five four three two one")):
        write(name, text, -10)
    assert call(*command.split(), first).code == 0
    before = made()
    ended = call(*command.split(), second)
    assert (ended.code, ended.stdout, made()) == (6, b"", before)
    (line,) = ended.notes
    assert line.endswith(f".pt: was made from {reason}; name the output with -o, or --force")
    assert call(*command.split(), second, "-o", min(before).replace(".train", "")).code == 0
    assert (made().keys(), made() == before) == (before.keys(), False)
    assert call(*command.split(), first, "--force").code == 0
    assert made() == before


def test_a_default_name_is_used_again(call: Call) -> None:
    """Run again, on a copy, on a text that was edited or a folder that lost a file, a command replaces its own file."""
    for name in ("a.txt", "copy/a.txt", "corpus/a.txt", "corpus/b.txt"):
        write(name, "one two three", -10)
    runs = [call("tokenize", name).code for name in ("a.txt", "a.txt", "copy/a.txt", "corpus")]
    write("a.txt", "four five", 10)
    Path("corpus/b.txt").unlink()
    runs += [call("tokenize", name).code for name in ("a.txt", "corpus")]
    runs += [call("window", name, "--max-length", "1").code for name in ("a.tokens.pt", "a.txt", "a.tokens.pt")]
    assert runs == [0] * 9
    for name, text in {"a.tokens.pt": "four five", "corpus.tokens.pt": "one two three"}.items():
        assert torch.load(name, weights_only=True)["token_ids"].tolist() == encode(text)


def test_a_default_name_keeps_the_file_of_another_program(call: Call) -> None:
    """A .pt file that does not say what it was made from is kept; a damaged one is not worth it."""
    Path("a.txt").write_text("one", encoding="utf-8")
    torch.save({"x": torch.ones(2)}, "a.tokens.pt")
    ended = call("tokenize", "a.txt")
    assert (ended.code, "not from a.txt; name the output with -o, or --force" in ended.notes[0]) == (6, True)
    Path("a.tokens.pt").write_bytes(Path("a.tokens.pt").read_bytes()[:-30])
    assert call("tokenize", "a.txt").code == 0
