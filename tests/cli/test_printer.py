"""Promises of what commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from support.app import STAGES
from support.commands import Call, Ended, Run, clean_environment
from support.reference import encode
from support.terminal import Terminal

SHORT = {"tokenize": [], "pairs": [], "window": ["--max-length", "4"], "embed": ["--max-length", "4", "--dim", "4"]}
"""Options with which each command runs on a short text."""

FIGURES = {"command", "n_tokens", "n_special", "encoding", "sources", "content_sha256", "output"}
WINDOWS = {*FIGURES, "output_bytes", "max_length", "stride", "n_windows", "coverage", "windows"}
KEYS = {
    "tokenize": {*FIGURES, "output_bytes", "n_distinct", "n_chars", "chars_per_token", "first_ids"},
    "window --explain": WINDOWS,
    "window --val-fraction 0.2": {"command", "train", "val"},
    "embed --batches 1": {*FIGURES, "shape", "first_batch", "token_table", "position_table", "token_table_begins"},
}


@pytest.mark.parametrize("line", KEYS)
def test_json_is_one_object_with_stable_keys(call: Call, story: Path, line: str) -> None:
    """``--json`` prints one object on one line, with exactly these keys, and says which command it is from."""
    ended = call(*line.split(), "--json", story)

    assert ended.code == 0
    assert ended.value.keys() == KEYS[line]
    assert ended.value["command"] == line.split(maxsplit=1)[0]
    assert all(ended.value[part].keys() == WINDOWS for part in ("train", "val") if part in ended.value)


def test_json_is_ascii(call: Call) -> None:
    """Nothing in the object acts on a terminal, whatever the text: it is ASCII without control characters."""
    Path("a.txt").write_text("\x1b[2J \u202e caf\u00e9 \x9b \u4e2d one two three", encoding="utf-8")

    ended = call("pairs", "--context-size", "8", "--json", "a.txt")

    assert re.fullmatch(rb"[ -~]+\n", ended.stdout)


@pytest.mark.parametrize("command", STAGES)
def test_notes_go_to_standard_error_and_quiet_prints_nothing(call: Call, command: str) -> None:
    """What was dropped, skipped or found is noted apart from the result; with ``-q`` the same file is all there is."""
    Path("marked.txt").write_bytes(b"\xef\xbb\xbf" + b"one two<|endoftext|>three four five six " * 9)
    Path("empty.txt").touch()

    loud = call(command, "empty.txt", "marked.txt", "-o", "loud.pt", *SHORT[command])
    quiet = call(command, "empty.txt", "marked.txt", "-o", "quiet.pt", *SHORT[command], "-q")

    assert loud.code == 0
    assert all(line.startswith("llmprep: note: ") for line in loud.notes)
    notes = [line.removeprefix("llmprep: note: ") for line in loud.notes if "windows x" not in line]
    assert notes[:2] == ["1 empty input skipped: empty.txt", "marked.txt: byte order mark dropped"]
    assert notes[2].startswith("<|endoftext|> stands 9 times in the text itself")
    assert not any("note" in line or "mark" in line for line in loud.lines)
    assert quiet == Ended(0, b"", b"")
    assert Path("quiet.pt").read_bytes() == Path("loud.pt").read_bytes()


def test_quiet_wins_over_json(call: Call, story: Path) -> None:
    """With ``-q`` there is no object either."""
    assert call("tokenize", story, "--quiet", "--json") == Ended(0, b"", b"")


# --- files on standard output ---------------------------------------------------------------------


@pytest.mark.parametrize("command", STAGES)
def test_a_file_on_standard_output_is_the_file(call: Call, story: Path, command: str) -> None:
    """``-o -`` writes the same bytes to standard output, and what is said of them to standard error."""
    filed = call(command, story, *SHORT[command], "-o", "there.pt")
    piped = call(command, story, *SHORT[command], "-o", "-")

    assert (filed.code, piped.code) == (0, 0)
    assert piped.stdout == Path("there.pt").read_bytes()
    said = [line.replace("there.pt: ", "-: ") for line in filed.lines]
    assert [line for line in piped.notes if not line.startswith("llmprep: note: ")] == said


def test_tokens_through_a_pipe_are_windowed_the_same(call: Call, llmprep: Run, story: Path) -> None:
    """``tokenize -o - | window -`` writes byte for byte what ``window`` writes from the text."""
    shape = ["--max-length", "16", "--stride", "8"]
    call("window", story, *shape, "-o", "direct.pt")

    llmprep("window", "-", *shape, "-o", "piped.pt", stdin=call("tokenize", story, "-o", "-").stdout)

    assert Path("piped.pt").read_bytes() == Path("direct.pt").read_bytes()


@pytest.mark.slow
def test_text_through_two_pipes_is_embedded_the_same(call: Call, llmprep: Run, story: Path) -> None:
    """``window - -o - | embed -`` embeds what ``embed`` embeds from the text."""
    call("embed", story, "--max-length", "8", "--dim", "16", "-o", "direct.pt")

    windows = llmprep("window", "-", "-o", "-", "--max-length", "8", stdin=story.read_bytes()).stdout
    assert llmprep("embed", "-", "--dim", "16", "-o", "piped.pt", stdin=windows).returncode == 0

    direct, piped = (torch.load(name, weights_only=True)["input_embeddings"] for name in ("direct.pt", "piped.pt"))
    assert torch.equal(direct, piped)


def into(stdout: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run llmprep with a file as its standard output."""
    with Path(stdout).open("wb") as file:
        command = [sys.executable, "-m", "llmprep", *arguments]
        return subprocess.run(command, stdout=file, stderr=subprocess.PIPE, env=clean_environment(), check=False)


@pytest.mark.parametrize(
    ("command", "name"), [("tokenize", "/dev/stdout"), ("pairs", "/proc/self/fd/1"), ("window", "w.pt")]
)
def test_standard_output_by_another_name(call: Call, story: Path, command: str, name: str) -> None:
    """What is the same file as standard output behaves as ``-``: it gets the file alone, and the words go elsewhere."""
    ended = into("w.pt", command, story, "-o", name)

    assert ended.returncode == 0
    assert len(ended.stderr.splitlines()) > 3
    assert Path("w.pt").read_bytes() == call(command, story, "-o", "-").stdout


def test_the_null_device_takes_file_and_words(call: Call, story: Path) -> None:
    """``-o /dev/null > /dev/null`` is silent: both are thrown away."""
    ended = into(os.devnull, "tokenize", story, "-o", os.devnull)

    assert (ended.returncode, ended.stderr) == (0, b"")


# --- terminals ------------------------------------------------------------------------------------


def sent(call: Call, arguments: Sequence[str | Path]) -> str:
    """What a command sends to a terminal that is its standard output."""
    with Terminal() as terminal, terminal.instead_of("stdout"):
        assert call(*arguments).code == 0
    return terminal.shown.decode()


def test_a_terminal_gets_colours(call: Call, story: Path) -> None:
    """On a terminal the preview is coloured, and has the same ids as in a pipe."""
    shown = sent(call, ["tokenize", story])

    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    ids = [int(i) for line in lines if re.fullmatch(r"[\d ]+", line) for i in line.split()]
    assert "\x1b[30;106m" in shown
    assert ids == encode(story.read_text(encoding="utf-8"))[: len(ids)]
    assert len(ids) > 20
    for line in ("pairs {}", "window {} --max-length 4 --preview 1", "embed {} --max-length 4 --batches 1"):
        assert "\x1b[" in sent(call, line.format(story).split()), line


def test_no_color_is_heeded(call: Call, story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR a terminal is sent no colour."""
    monkeypatch.setenv("NO_COLOR", "1")

    shown = sent(call, ["tokenize", story])

    codes = {code for found in re.findall(r"\x1b\[([0-9;]*)m", shown) for code in found.split(";")}
    assert "Ele" in shown
    assert codes <= {"0", "1", "2", "3"}


def test_json_on_a_terminal_is_plain(call: Call, story: Path) -> None:
    """``--json`` looks the same on a terminal as in a pipe."""
    assert json.loads(sent(call, ["pairs", story, "--json"])) == call("pairs", story, "--json").value
