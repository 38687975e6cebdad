"""Promises of default names: they follow the input, and never take the place of what was made from another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from support.commands import Call
from support.reference import encode


def write(name: str, text: str, seconds: int) -> None:
    """Write a text that was last changed so many seconds after now, in a folder that was last changed long ago."""
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    now = path.stat().st_mtime
    os.utime(path, (now + seconds, now + seconds))
    if path.parent != Path():
        os.utime(path.parent, (0, 0))


def ids_in(name: str) -> list[int]:
    """The ids that torch reads from a tokens file."""
    ids: list[int] = torch.load(name, weights_only=True)["token_ids"].tolist()
    return ids


def made() -> dict[str, bytes]:
    """The .pt files of the current folder."""
    return {path.name: path.read_bytes() for path in Path().glob("*.pt")}


def test_default_names_are_in_the_current_folder(call: Call) -> None:
    """Without -o a file is named after its input and its kind, and lies in the current folder, not beside the input."""
    write("far/tale.of.two.txt", "It was the best of times, it was the worst of times.", 0)

    call("tokenize", "far/tale.of.two.txt")
    call("window", "tale.of.two.tokens.pt", "--max-length", "4")
    call("embed", "tale.of.two.windows.pt", "--dim", "8")
    call("pairs", "far/tale.of.two.txt")

    assert made().keys() == {f"tale.of.two.{kind}.pt" for kind in ("tokens", "windows", "embeddings")}
    assert os.listdir("far") == ["tale.of.two.txt"]  # noqa: PTH208


@pytest.mark.parametrize(
    ("command", "first", "second", "reason"),
    [
        ("tokenize", "A1/wiki_00", "A2/wiki_00", "another wiki_00, not from A2/wiki_00"),
        ("window --max-length 2", "a.txt", "a.md", "a.txt, not from a.md"),
        ("tokenize", "A1/corpus/", "A2/corpus/", "another text, not from A2/corpus/"),
        ("window --max-length 2 --val-fraction 0.5", "a/", "a.txt", "text, not from a.txt"),
    ],
)
def test_a_default_name_keeps_what_was_made_from_others(
    call: Call, command: str, first: str, second: str, reason: str
) -> None:
    """Two inputs that give one name do not replace each other's file, unless -o or --force says so."""
    for name, text in ((first, "one two three four five six"), (second, "six five four three two one")):
        Path(name).parent.mkdir(exist_ok=True)
        write(f"{name}text" if name.endswith("/") else name, text, -10)
    assert call(*command.split(), first).code == 0
    before = made()

    ended = call(*command.split(), second)

    assert (ended.code, ended.stdout) == (6, b"")
    (line,) = ended.notes
    assert line.endswith(f".pt: was made from {reason}; name the output with -o, or --force")
    assert made() == before
    assert call(*command.split(), second, "-o", min(before).replace(".train", "")).code == 0
    assert made().keys() == before.keys()
    assert made() != before
    assert call(*command.split(), first, "--force").code == 0
    assert made() == before


def test_a_default_name_is_used_again(call: Call) -> None:
    """Run again, on the same text, on a copy of it, and when it was edited, a command replaces its own file."""
    write("a.txt", "one two three", -10)
    write("copy/a.txt", "one two three", -10)
    runs = [call("tokenize", name).code for name in ("a.txt", "a.txt", "copy/a.txt")]
    write("a.txt", "four five", 10)
    runs += [call("tokenize", "a.txt").code]
    runs += [call("window", name, "--max-length", "1").code for name in ("a.tokens.pt", "a.txt", "a.tokens.pt")]

    assert runs == [0] * 7
    assert ids_in("a.tokens.pt") == encode("four five")


def test_a_default_name_after_a_folder_that_has_changed(call: Call) -> None:
    """A folder that has got or lost a file since is the same folder, edited."""
    write("corpus/a.txt", "one two three", -10)
    write("corpus/b.txt", "four", -10)
    assert call("tokenize", "corpus").code == 0
    Path("corpus/b.txt").unlink()

    assert call("tokenize", "corpus").code == 0
    assert ids_in("corpus.tokens.pt") == encode("one two three")


def test_a_default_name_keeps_the_file_of_another_program(call: Call) -> None:
    """A .pt file that does not say what it was made from is kept; a damaged one is not worth it."""
    Path("a.txt").write_text("one", encoding="utf-8")
    torch.save({"x": torch.ones(2)}, "a.tokens.pt")

    ended = call("tokenize", "a.txt")

    assert ended.code == 6
    assert ended.notes[0].startswith("llmprep: error: a.tokens.pt: was made from ")
    assert "not from a.txt; name the output with -o, or --force" in ended.notes[0]
    Path("a.tokens.pt").write_bytes(Path("a.tokens.pt").read_bytes()[:-30])
    assert call("tokenize", "a.txt").code == 0
