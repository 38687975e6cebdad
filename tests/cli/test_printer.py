"""Promises of what commands print, besides the words: files and words keep apart, terminals get colours and no more.

Last, of the words: a golden file is a session in a folder of texts, each command with what it prints, standard error
after ``2>``, and its exit code if that is not 0; then the files that are new.
"""

import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import SAMPLES, Call, Ended, Run, clean_environment
from support.golden import GOLDEN, check_golden
from support.reference import encode
from support.small_vocabularies import write_vocabularies
from support.terminal import Terminal

from llmprep.cli import printer
from llmprep.cli.printer import Printer


@pytest.mark.parametrize(
    "line", ["tokenize", "pairs", "window --max-length 4", "embed --max-length 4 --dim 4"], ids=lambda line: line[:6]
)
def test_a_file_on_standard_output_is_the_file(call: Call, story: Path, line: str) -> None:
    """``-o -`` writes the same bytes to standard output, and the words to standard error; ``-q`` only the bytes."""
    filed, piped, quiet = (call(*line.split(), story, *end.split()) for end in ("-o there.pt", "-o -", "-o - -q"))
    assert (filed.code, piped.code) == (0, 0)
    assert piped.stdout == Path("there.pt").read_bytes()
    said = [line.replace("there.pt: ", "-: ") for line in filed.lines]
    assert [line for line in piped.notes if not line.startswith("llmprep: note: ")] == said
    assert quiet == Ended(0, piped.stdout, b"")


@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_long_results_are_printed_in_parts(
    count: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines and lists come whole, as if printed at once, and no more of them is asked for than fits a part."""
    monkeypatch.setattr(printer, "PART_CHARS", 30)
    items = [{"text": f"caf\u00e9 {k}"} for k in range(count)]
    Printer(as_json=True).object({"a": 1}, items=iter(items), more=[])
    assert capsys.readouterr().out == json.dumps({"a": 1, "items": items, "more": []}) + "\n"
    Printer().lines(f"line {k}" for k in range(count))
    assert capsys.readouterr().out.splitlines() == [f"line {k}" for k in range(count)]
    with pytest.raises(ZeroDivisionError):
        Printer().lines(f"line {60 // (9 - k)}" for k in range(count + 10))
    assert len(capsys.readouterr().out) > 30


def test_tokens_through_a_pipe_are_windowed_the_same(call: Call, llmprep: Run, story: Path) -> None:
    """``tokenize -o - | window -`` writes byte for byte what ``window`` writes from the text."""
    call("window", story, "--max-length", "16", "-o", "direct.pt")
    llmprep("window", "-", "--max-length", "16", "-o", "piped.pt", stdin=call("tokenize", story, "-o", "-").stdout)
    assert Path("piped.pt").read_bytes() == Path("direct.pt").read_bytes()


def into(stdout: str, *arguments: str | Path) -> tuple[int, bytes]:
    """Run llmprep with a file as its standard output; its exit code, and what it says on standard error."""
    command = [sys.executable, "-m", "llmprep", *arguments]
    with Path(stdout).open("wb") as file:
        ended = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, env=clean_environment(), check=False)
    return ended.returncode, ended.stderr


def test_standard_output_by_another_name(call: Call, story: Path) -> None:
    """What is the same file as standard output behaves as ``-``: it gets the file alone, and the words go elsewhere."""
    for command, name in (("tokenize", "/dev/stdout"), ("pairs", "w.pt")):
        code, said = into("w.pt", command, story, "-o", name)
        assert (code, len(said.splitlines()) > 3) == (0, True)
        assert Path("w.pt").read_bytes() == call(command, story, "-o", "-").stdout
    assert into(os.devnull, "tokenize", story, "-o", os.devnull) == (0, b"")  # both are thrown away


def sent(call: Call, *arguments: str | Path) -> str:
    """What a command sends to a terminal that is its standard output."""
    with Terminal() as terminal, terminal.instead_of("stdout"):
        assert call(*arguments).code == 0
    return terminal.shown.decode()


def test_a_terminal_gets_colours(call: Call, story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal previews are coloured, and have the same ids as in a pipe; with NO_COLOR they have no colour."""
    shown = sent(call, "tokenize", story)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    ids = [int(i) for line in lines if re.fullmatch(r"[\d ]+", line) for i in line.split()]
    assert "\x1b[30;106m" in shown
    assert (len(ids) > 20, ids) == (True, encode(story.read_text(encoding="utf-8"))[: len(ids)])
    for line in ("pairs", "window --max-length 4 --preview 1", "embed --max-length 4 --batches 1"):
        assert "\x1b[1" in sent(call, *line.split(), story), line
    monkeypatch.setenv("NO_COLOR", "1")
    shown = sent(call, "tokenize", story)
    assert "Ele" in shown
    assert {*re.findall(r"[0-9]+", "".join(re.findall(r"\x1b\[[0-9;]*m", shown)))} <= {"0", "1", "2", "3"}


def test_a_narrow_terminal_gets_lines(call: Call, story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal too narrow for a table of pairs, they are the words that a pipe gets."""
    for line in ("pairs --start 18", "window --max-length 4 --preview 1"):
        call(*line.split(), story)  # whose file is unchanged from now on
        with Terminal() as terminal, terminal.instead_of("stdout"):
            monkeypatch.setenv("COLUMNS", "40")
            assert call(*line.split(), story).code == 0
        assert terminal.words().split() == call(*line.split(), story).stdout.decode().split()


def test_json_on_a_terminal_is_plain(call: Call) -> None:
    """``--json`` looks the same on a terminal as in a pipe: ASCII without control characters, whatever the text."""
    Path("a.txt").write_text("\x1b[2J \u202e caf\u00e9 \x9b \u4e2d one two three", encoding="utf-8")
    shown = call("pairs", "--context-size", "8", "--json", "a.txt")
    assert re.fullmatch(rb"[ -~]+\n", shown.stdout)
    assert json.loads(sent(call, "pairs", "--context-size", "8", "--json", "a.txt")) == shown.value


TEXTS = {
    "a.txt": b"one two three four five six seven eight nine",
    "far/tale.of.two.txt": b"It was the best of times, it was the worst of times.",
    "marked.txt": b"\xef\xbb\xbfone two<|endoftext|>three four five six",
    "empty.txt": b"",
    "mark.txt": b"\xef\xbb\xbf",
    "empty.jsonl": b'{"text": ""}\n\n',
    "empty.gz": gzip.compress(b""),
}


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("session_*.txt")))
def test_a_session_is_as_it_was(name: str, call: Call, request: pytest.FixtureRequest) -> None:
    """Every line that commands print, and every file that they make, is the golden file's."""
    for text in [*SAMPLES.iterdir(), *([request.getfixturevalue("verdict")] if "course" in name else [])]:
        shutil.copy(text, text.name)
    for path, data in TEXTS.items():
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_bytes(data)
    if "tokenizer" in name:
        write_vocabularies()
    given, shown = set(Path().rglob("*")), []
    for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("$ llmprep "):
            ended = call(*shlex.split(line)[2:])
            shown += [line, *ended.lines, *(f"2> {note}" for note in ended.notes)]
            shown += [f"exit code {ended.code}"] if ended.code else []
    made = sorted(str(path) for path in {*Path().rglob("*")} - given if path.is_file() and ".lock" not in path.name)
    check_golden(name, "\n".join([*shown, f"new files: {', '.join(made) or 'none'}"]) + "\n")
