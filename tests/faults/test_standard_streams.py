"""Standard input and output that are closed, full, a terminal, a pipe, or lose their reader; and named pipes."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import Call, Ended
from support.processes import file_size_limit, shell
from support.reference import encode
from support.refusals import check_error, check_refused, names

from llmprep.ptfile.reading import read_pt

COMMANDS = ("tokenize", "pairs", "window", "embed")
WORDS = "one two three four five six seven eight nine"
MADE: dict[str, list[str]] = {
    "--help": [],
    "tokenize a.txt": ["a.tokens.pt"],
    "tokenize --count a.txt": [],
    "tokenize --ids a.txt": [],
    "tokenize --json a.txt": ["a.tokens.pt"],
    "tokenize -q a.txt -o -": [],
    "pairs a.txt -o o.pt": ["o.pt"],
    "window --max-length 2 --val-fraction 0.5 a.txt": ["a.train.windows.pt", "a.val.windows.pt"],
    "embed --max-length 2 a.txt": ["a.embeddings.pt"],
}
"""Command lines that print something, and the files that each makes."""


@pytest.fixture(autouse=True)
def text(tmp_path: Path) -> Path:
    """A few words, in the folder that commands run in."""
    path = tmp_path / "a.txt"
    path.write_text(WORDS)
    return path


@contextlib.contextmanager
def standard_output(descriptor: int) -> Iterator[None]:
    """Let what is printed in this process go to an open file, as where the process was started with it."""
    kept = os.dup(1)
    os.dup2(descriptor, 1)
    os.close(descriptor)
    with open(1, "w", closefd=False) as stdout, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                stdout.close()
            os.dup2(kept, 1)
            os.close(kept)


@pytest.mark.parametrize("line", ["--help", "--version", *(f"{command} a.txt" for command in COMMANDS)])
def test_a_closed_standard_output_is_an_error(line: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """With standard output closed, every command ends with one line and writes nothing."""
    monkeypatch.setattr(sys, "stdout", None)
    check_refused(call, *line.split(), code=1, line="standard output is closed; ...")


@pytest.mark.parametrize("line", MADE)
def test_a_standard_output_that_takes_nothing(line: str, call: Call) -> None:
    """A full device is one line of error; where the reader has gone, 141 in silence. Files are written before."""
    with standard_output(os.open("/dev/full", os.O_WRONLY)):
        full = call(*line.split())
    for name in MADE[line]:
        Path(name).unlink()
    reader, writer = os.pipe()
    os.close(reader)
    with standard_output(writer):
        gone = call(*line.split())

    check_error(full, 1, "...o space left on ...", notes=int(line.startswith("embed")))
    assert gone.code == 141
    assert all(note.startswith("llmprep: note: ") for note in gone.notes)
    assert names(Path()) == {"a.txt", *MADE[line]}


def test_a_standard_output_that_takes_a_part_is_an_error(call: Call, tmp_path: Path, text: Path) -> None:
    """Where standard output takes only the first part, that is an error, also under PYTHONUNBUFFERED."""
    text.write_text("word " * 40_000)
    ended = []
    for number, line in enumerate(("tokenize --ids a.txt", "tokenize a.txt -q -o -")):
        with file_size_limit(100 * 1024), standard_output(os.open(f"out{number}", os.O_WRONLY | os.O_CREAT)):
            ended.append(call(*line.split()))
    ended.append(shell("ulimit -f 100; llmprep tokenize --ids a.txt > out2", tmp_path, PYTHONUNBUFFERED="1"))
    for each in ended:
        error = check_error(each, 1, "...file...")
        assert "too large" in error or "file-size limit" in error
    assert {Path(f"out{number}").stat().st_size for number in range(3)} == {100 * 1024}


def test_head_ends_a_command_in_silence(tmp_path: Path, text: Path) -> None:
    """``| head -1`` ends a command that has more to say with 141, silently, and its file is in place."""
    text.write_text("word " * 40_000)
    line = 'llmprep pairs a.txt --windows 9000 -o o.pt | head -1; exit "${PIPESTATUS[0]}"'
    ended = shell(line, tmp_path, PYTHONUNBUFFERED="1")
    assert (ended.code, len(ended.lines), ended.notes) == (141, 1, [])
    assert read_pt(tmp_path / "o.pt").meta["n_tokens"] > 0


@pytest.mark.parametrize("command", COMMANDS)
def test_standard_input_that_cannot_be_read_is_refused(
    command: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``-`` with standard input closed, empty, or a terminal, where nobody waits for a person to type, is one line."""
    ours, theirs = os.openpty()
    with os.fdopen(theirs) as terminal, Path(os.devnull).open(encoding="utf-8") as nothing:
        for stdin, code, line in (
            (None, 1, "-: standard input is closed"),
            (terminal, 2, "-: standard input is a terminal; ..."),
            (nothing, 3, "-: empty: 0 tokens"),
        ):
            monkeypatch.setattr(sys, "stdin", stdin)
            check_refused(call, command, "-", "-o", "o.pt", code=code, line=line)
    os.close(ours)


def test_streams_that_a_shell_has_closed(tmp_path: Path) -> None:
    """They are the same lines; a closed standard input that is not read does not matter."""
    check_error(shell("llmprep window - -o o.pt <&-", tmp_path), 1, "-: standard input is closed")
    check_error(shell("llmprep tokenize a.txt -o o.pt >&-", tmp_path), 1, "standard output is closed; ...")
    assert shell("llmprep tokenize -q a.txt -o - <&- > o.pt", tmp_path) == Ended(0, b"", b"")
    assert read_pt(tmp_path / "o.pt").tensors["token_ids"].tolist() == encode(WORDS)


def test_pairs_reads_no_further_than_it_shows(tmp_path: Path) -> None:
    """From a source without an end, ``pairs`` takes what it shows, before its end, and ends."""
    ended = shell("llmprep pairs <(yes word) --start 100", tmp_path)
    assert (ended.code, len(ended.lines)) == (0, 8)


@pytest.mark.parametrize("command", ["tokenize", "pairs", "window --max-length 16", "embed --max-length 16"])
def test_a_named_pipe_is_streamed_once(command: str, call: Call, story: Path) -> None:
    """A FIFO gives, byte for byte, the file that a plain file of its name gives, and the same words."""
    pipe = Path("story.txt")
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(story.read_bytes(),), daemon=True).start()
    plain = call(*command.split(), story, "-o", "plain.pt")
    piped = call(*command.split(), pipe, "-o", "piped.pt")
    assert (plain.code, piped.code) == (0, 0)
    assert Path("piped.pt").read_bytes() == Path("plain.pt").read_bytes()
    assert [line.replace("piped", "plain") for line in piped.lines] == plain.lines
