"""Text, names and files that would act on a terminal: everything is shown, made visible, in short lines."""

import json
import os
import re
import subprocess
import sys
import termios
import unicodedata
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from support.commands import Call, Ended, clean_environment
from support.reference import encode, tiktoken_encoding
from support.refusals import check_refused

from llmprep.preview.plain import visible
from llmprep.ptfile.reading import read_pt
from llmprep.store.sealed import seal

HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
ACTING = (
    "\x1b[31mred\x1b[0m bell\x07 \x1b]52;c;aGk=\x07 \x1b]8;;http://a\x1b\\link \x1b[2J \x9b1m\x85 "
    "\u202eevil\u202c \u2066x\u2069 [bold] [/b] :smile: [link=b]c[/link] \\[d] \u2028\x00\x7f end"
)
"""Escapes, marks of direction, and what rich would take for markup."""
LONG = "k\x1b[2J" * 3000


def check_inert(shown: str) -> None:
    """Check that nothing in a text acts on a terminal."""
    acts = {char for char in shown if char not in "\u200c\u200d\n" and unicodedata.category(char) in HARMFUL}
    assert not acts


def check_ended(ended: Ended, codes: tuple[int, ...] = (0,)) -> None:
    """Check that a command line ended so, and that each line that it printed is short and inert."""
    assert ended.code in codes
    check_inert((ended.stdout + ended.stderr).decode())
    assert max(map(len, [*ended.lines, *ended.notes])) < 600


def decode(*ids: int) -> str:
    """The text of ids, made visible, as are the bytes of a part of a character."""
    return visible(tiktoken_encoding("gpt2").decode_bytes(ids).decode("utf-8", "backslashreplace"))


def test_a_pipe_gets_no_escape_and_loses_nothing(call: Call) -> None:
    """In a pipe, no command's output holds a character that acts, and all of the text is there, made visible."""
    Path("a.txt").write_bytes(ACTING.encode())
    ids = encode(ACTING)

    tokenized = call("tokenize", "a.txt")
    paired = call("pairs", "a.txt", "--context-size", str(len(ids) - 1))
    windowed = call("window", "a.txt", "--max-length", "8", "--preview", "9")

    for ended in (tokenized, paired, windowed):
        check_inert((ended.stdout + ended.stderr).decode())
    assert "|".join(map(decode, ids[:16])) in tokenized.lines
    assert f"{decode(*ids[:-1])} ----> {decode(ids[-1])}" in paired.lines
    for start in range(0, min(72, len(ids) - 8), 8):
        assert f"{decode(*ids[start : start + 8])} ----> {decode(ids[start + 8])}" in windowed.lines


def test_errors_are_inert(call: Call) -> None:
    """What an error repeats of a command line is made visible, on one line, and markup in it stays."""
    Path("a.txt").write_text("one two three")
    for code, *arguments in (
        (1, "tokenize", ACTING.replace("/", "").replace("\x00", "")),
        (5, "tokenize", "a.txt", "--encoding", "\x1b]0;title\x07[red]"),
        (2, "tokenize", "a.txt", "--\x1b[31m\u202e"),
        (2, "\x1b[2J[/b]"),
        (2, "window", "a.txt", "--dtype", "\x9b2J\n:smile:"),
        (1, "tokenize", "a.txt", "-o", "\x1b[2J/o.pt"),
    ):
        ended = check_refused(call, *map(str, arguments), code=int(code), line="...")
        for markup in ("[/b]", "[red]", ":smile:", "[bold]"):
            assert (markup in str(arguments)) == (markup in ended.notes[0])


NAMES = {
    "a newline": "new\nline.txt",
    "markup and an escape": "[bold]:smile:\x1b[31m.txt",
    "an option": "--help",
    "an override": "\u202etxt.exe",
    "bytes that are not UTF-8": os.fsdecode(b"caf\xe9\xff.txt"),
    "a quote and a star": "a'\"*?$(b).txt",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_a_hostile_file_name_works_and_is_shown_escaped(call: Call, name: str) -> None:
    """Each command reads a file of any name, writes beside it, and prints the name so that it does nothing."""
    reason = "no file matches" if set(name) & set("*?[") else "no such file or directory"
    check_refused(call, "tokenize", "--", name, code=1, line=f"{visible(name)}: {reason}")
    Path(name).write_text("one two three four five six")
    stem = Path(name).stem

    commands = ("tokenize", "tokenize --count", "window --max-length 2", "embed --max-length 2 --dim 2", "pairs")
    tokenized, counted, *others = (call(*command.split(), "--", name) for command in commands)

    for ended in (tokenized, counted, *others):
        check_ended(ended)
    assert all(Path(f"{stem}.{kind}.pt").is_file() for kind in ("tokens", "windows", "embeddings"))
    assert tokenized.lines[-1].startswith(f"{visible(stem)}.tokens.pt: ")
    assert counted.lines == [f"6 {visible(name)}"]
    (source,) = read_pt(Path(f"{stem}.tokens.pt")).meta["sources"]
    assert source["name"] == os.fsencode(name).decode("utf-8", "backslashreplace")


def test_long_and_many_names_in_a_file_are_cut_short(call: Call) -> None:
    """However many and long the names are that a file holds, a message about them stays one short line."""
    long = [f"{number}{'k' * 3000}" for number in range(50)]
    Path("a.jsonl").write_text(json.dumps(dict.fromkeys(long, "")), encoding="utf-8")
    pa.parquet.write_table(pa.table({name: ["x"] for name in long}), "a.parquet")
    torch.save({name: torch.zeros(1) for name in long}, "tensors.pt")
    torch.save(dict.fromkeys(long, 1), "values.pt")
    for name in ("a.jsonl", "a.parquet", "tensors.pt", "values.pt"):
        for command in ("tokenize", "inspect"):
            check_ended(call(command, name), (3, 4))


FORGED: dict[str, dict[str, object]] = {
    "an option": {"options": {LONG: LONG}},
    "many options": {"options": dict.fromkeys(map(str, range(5000)), 1)},
    "a source": {"sources": [{"name": LONG, "bytes": 1, "sha256": "\x9b31m", "tokens": 3, "documents": 1}]},
    "a number": {"n_vocab": 10**600},
    **{key: {key: LONG} for key in ("format", "kind", "encoding", "vocab_sha256", "content_sha256")},
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_what_a_file_says_of_itself_is_shown_in_short_lines(forged: dict[str, object], call: Call) -> None:
    """However long a file's own words are, and whatever is in them, each line about it is short and inert."""
    Path("a.txt").write_text("a few words")
    call("tokenize", "a.txt", "-o", "x.pt")
    held = torch.load("x.pt", weights_only=True)
    torch.save({**held, "meta": held["meta"] | forged}, "x.pt")
    for command in ("inspect", "inspect --verify", "pairs", "tokenize -o out.pt"):
        check_ended(call(*command.split(), "x.pt"), (0, 2, 3, 4, 5))


@pytest.mark.parametrize(("name", "part"), [("plan", "options"), ("manifest", "options"), ("manifest", "splits")])
def test_what_a_store_says_of_itself_is_shown_in_short_lines(name: str, part: str, call: Call) -> None:
    """The same of a manifest and a plan that were changed and sealed again."""
    Path("a.txt").write_text("a few words")
    commands = ("tokenize a.txt -o st/ --jobs 1 --val-fraction 0.5", "inspect st", "inspect st --verify")
    assert call(*commands[0].split()).code == 0
    path = Path("st") / f"{name}.json"
    values = json.loads(path.read_bytes())
    del values["seal_sha256"]
    values[part][LONG] = [0, 0] if part == "splits" else LONG
    path.write_bytes(seal(values))
    for command in reversed(commands):
        check_ended(call(*command.split()), tuple(range(7)))


def test_a_true_terminal_has_tables_and_nothing_that_acts(tmp_path: Path) -> None:
    """On a terminal of 60 columns ``window`` draws a table, no wider than that, of a text that would act on it."""
    (tmp_path / "a.txt").write_bytes(ACTING.encode())
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 60))
    child = subprocess.Popen(
        [sys.executable, "-m", "llmprep", "window", "a.txt", "--max-length", "4", "-o", "o.pt"],
        cwd=tmp_path, env=clean_environment({"TERM": "xterm-256color"}), stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = bytearray()
    with suppress(OSError):  # EIO: the other end is closed
        while data := os.read(ours, 4096):
            shown += data
    os.close(ours)

    words = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode().replace("\r\n", "\n"))
    assert child.wait(10) == 0
    check_inert(words)
    assert "window 0" in words
    assert b"\x1b[" in shown
    assert max(map(len, words.splitlines()[-20:])) <= 60
