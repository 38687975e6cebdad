"""Promises of a look without a file: what is shown is what a file would show, nothing is written, and that is said."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from support.commands import Call, Run
from support.processes import shell
from support.reference import encode
from support.refusals import Refusal, check_refusal, each_row, names
from support.strategies import adversarial_text

NOTHING = "nothing written; -o FILE writes it"
LINES = ["tokenize", "window --max-length 2", "window --max-length 2 --stride 1 --dtype uint16 --val-fraction 0.5"]


@pytest.mark.parametrize("line", [*LINES, "pairs", "tokenize --ids", "tokenize --count"])
def test_a_look_shows_what_a_file_would(line: str, call: Call, llmprep: Run) -> None:
    """A given text and standard input show word for word what a file shows, write nothing, and say so at the end."""
    text = "caf\u00e9, \u4e2d\u6587\r\n" + " one two three" * 30  # a size that no name brings over an edge
    Path("a.txt").write_bytes(text.encode())
    looks = [call(*line.split(), "--text", text).stdout, llmprep(*line.split(), "-", stdin=text.encode()).stdout]
    assert names(Path()) == {"a.txt"}
    shown = call(*line.split(), "a.txt").stdout.decode()
    for stem in ("a.tokens.pt", "a.train.windows.pt", "a.val.windows.pt", "a.windows.pt"):
        shown = shown.replace(f"{stem}:", f"{NOTHING}:")
    assert [look.decode().replace(" --text", " a.txt").replace(" -\n", " a.txt\n") for look in looks] == [shown] * 2
    assert (line in LINES) == (NOTHING in shown)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=adversarial_text.filter(lambda text: text and "\0" not in text))
@example(text="-")
def test_a_given_text_is_a_text(text: str, call: Call) -> None:
    """Any text on the command line gives the ids that a file of it gives, and becomes a file of its own."""
    ended = call("tokenize", f"--text={text}", "-o", "x.pt", "--newlines", "keep", "--json")
    if text == "\ufeff":
        assert ended.notes[-1] == "llmprep: error: --text: empty: 0 tokens"
        return
    made = torch.load("x.pt", weights_only=True)
    assert made["token_ids"].tolist() == encode(text.removeprefix("\ufeff"))
    assert ended.value["sources"] == made["meta"]["sources"]
    assert made["meta"]["sources"][0]["name"] == "text"


def test_bytes_that_are_no_text_are_refused_with_their_place(llmprep: Run) -> None:
    """A word of the command line that is not UTF-8 is refused as a file would be."""
    ended = llmprep("tokenize", "--text", b"caf\xe9")
    assert ended.returncode == 3
    assert ended.stderr.startswith(b"llmprep: error: --text: not valid UTF-8 at byte 3 (0xe9); ")


def test_a_forgotten_output_is_said(tmp_path: Path) -> None:
    """Whoever redirects standard output and forgets ``-o -`` is told that it gets no .pt file."""
    note = ["llmprep: note: standard output got what was shown, and no .pt file; -o - writes one there"]
    assert shell("echo one two | llmprep tokenize - > t.pt", tmp_path).notes == note
    assert shell("echo one two | llmprep tokenize - | cat", tmp_path).notes == []


def test_as_json_no_output_is_null(call: Call) -> None:
    """The one object has no output, and what the file would have been."""
    value = call("tokenize", "--text", "one two", "--json").value
    assert (value["output"], value["n_tokens"], value["first_ids"]) == (None, 2, encode("one two"))
    parts = call("window", "--text", "one two three four", "--max-length", "1", "--json", "--val-fraction", "0.5").value
    assert [parts[part]["output"] for part in ("train", "val")] == [None, None]


ITSELF = "--text: is the text itself; leave out FILE... and --files-from"
NO_NAME = "is only used with -o, without which nothing of --text is written"
WRONG = {
    "an input too": Refusal(None, "--text x a.txt", 2, ITSELF, commands=["tokenize", "pairs", "window", "embed"]),
    "a list too": Refusal(None, "tokenize --text x --files-from -", 2, ITSELF),
    "bad files": Refusal(None, "tokenize --text x --on-bad skip", 2, "--on-bad, --skip-binary: are for files; ..."),
    "embed": Refusal(None, "embed --text x", 2, "--text has no name; name the output with -o"),
    "quiet": Refusal(None, "--text x -q", 2, "--text has no name; ...", commands=["tokenize", "window"]),
    "force": Refusal(None, "--text x --force", 2, f"--force: {NO_NAME}", commands=["tokenize", "window"]),
    "dry run": Refusal(None, "--text x --dry-run", 2, "--dry-run: ...at once; ...", commands=["tokenize", "window"]),
    "dry run with -o": Refusal(None, "tokenize --text x --dry-run -o x.pt", 2, "--dry-run: ...at once; ..."),
    "store": Refusal(None, "tokenize --text x -o s/", 2, "--text: a token store is built from files; ..."),
    "short": Refusal(None, "window --text x", 3, "--text: 1 token gives no window of max_length 256; ..."),
}


@each_row(WRONG)
def test_a_look_that_makes_no_sense_is_refused(refusal: Refusal, call: Call) -> None:
    """What takes no given text, or would neither show nor write, is one line."""
    check_refusal(call, refusal)


def test_no_name_stands_for_nothing_written(call: Call) -> None:
    """An output that is a device is said to be written, whatever its name."""
    Path("temporary file").symlink_to(os.devnull)
    assert (
        call("tokenize", "--text", "a b", "-o", "temporary file").lines[-1].startswith("temporary file: token_ids [2]")
    )
