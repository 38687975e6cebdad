"""Promises of progress: on a terminal, after half a second, it says how far a run has come; then it is gone.

Elsewhere a line says so each minute.
"""

import contextlib
import io
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.commands import Call, Ended
from support.terminal import Terminal

from llmprep.cli import progress

NAME = "slow\x1b[31m\n[b]x[&b].txt"
"""A name that would act on a terminal, and on rich, if it were not made visible."""
VISIBLE = r"slow\x1b[31m\n[b]x[&b].txt"
PART = b"some words to read " * 5000
Slowly = Callable[..., Ended]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal for standard error."""
    with Terminal() as made:
        yield made


@pytest.fixture
def slowly(call: Call, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Slowly:
    """Run a command while another thread writes into the pipe that it reads; what is slow begins sooner."""
    monkeypatch.setattr(progress, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(progress, "TICK_SECONDS", 0.05)

    def run(write: Callable[[io.FileIO], object], *arguments: str) -> Ended:
        def work() -> None:
            with contextlib.suppress(BrokenPipeError), Path(NAME).open("wb", buffering=0) as pipe:
                write(pipe)

        os.mkfifo(NAME)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        with terminal.instead_of("stderr"):
            ended = call(*arguments, NAME, "-o", "x.pt")
        thread.join(timeout=15)
        return ended

    return run


def until(terminal: Terminal, pattern: str) -> Callable[[io.FileIO], None]:
    """Write parts until something is shown, ten seconds at most."""

    def write(pipe: io.FileIO) -> None:
        end = time.monotonic() + 10
        while not terminal.shows(pattern, seconds=0.05) and time.monotonic() < end:
            pipe.write(PART)

    return write


@pytest.mark.parametrize(("line", "total"), [("tokenize -j1", r"\?"), ("window known.txt -j2", r"475\.0")])
def test_a_slow_run_shows_how_far_it_is(line: str, total: str, slowly: Slowly, terminal: Terminal) -> None:
    """Bytes, also all there will be if that is known, speeds and the input's inert name are shown; nothing is left."""
    Path("known.txt").write_bytes(PART * 5)
    shown = rf"[1-9][0-9.]*/{total} [kM]B +[1-9][0-9.]* [kM]B/s +[1-9][0-9,]* tokens/s +.*slow"
    ended = slowly(until(terminal, shown), *line.split())
    assert (ended.code, ended.lines[-1][:6]) == (0, "x.pt: ")
    assert terminal.shows(shown, seconds=0)
    assert VISIBLE in terminal.words()
    assert terminal.screen() == []
    assert terminal.shown.count(b"\x1b[?25l") == terminal.shown.count(b"\x1b[?25h") == 1


@pytest.mark.slow
def test_a_store_shows_its_shards(call: Call, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of a token store that takes its time shows bytes, speed and the shard that was finished last."""
    monkeypatch.setattr(progress, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(progress, "TICK_SECONDS", 0.01)
    Path("a.txt").write_bytes(PART * 20)
    with terminal.instead_of("stderr"):
        assert call("tokenize", "a.txt", "-o", "s/", "--shard-bytes", "19000", "-j", "1").code == 0
    assert terminal.shows(r"[1-9][0-9.]*/1\.9 MB .* tokens/s +.*tokens-00[0-9]+\.pt", seconds=0)
    assert terminal.screen() == []


def test_nothing_may_be_shown(call: Call, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """No progress is shown within half a second, with ``--quiet``, and where standard error is no terminal."""
    Path("b.txt").write_bytes(PART)
    Path("a.txt").write_bytes(PART * 20)
    with terminal.instead_of("stderr"):
        assert call("tokenize", "b.txt").code == 0
        monkeypatch.setattr(progress, "WAIT_SECONDS", 0)
        assert call("tokenize", "a.txt", "-q") == Ended(0, b"", b"")
    assert terminal.shown == b""
    ended = call("tokenize", "a.txt")
    assert (ended.code, ended.stderr, b"\x1b" in ended.stdout) == (0, b"", False)


LINE = r"llmprep: [0-9]:[0-9]{2} [0-9.]+ (bytes|[kM]B)( of 1\.9 MB)?(, [1-9][0-9,]* tokens/s)?(, about 1 minute left)?"


@pytest.mark.parametrize(("line", "more"), [("tokenize a.txt -o s/ --shard-bytes 19000 -j1", 1), ("tokenize pipe", 0)])
def test_elsewhere_a_slow_run_writes_lines(
    line: str, more: int, call: Call, monkeypatch: pytest.MonkeyPatch, terminal: Terminal
) -> None:
    """Where there is no terminal, or a dumb one, a run of minutes says each minute how far it is, if it may."""
    Path("a.txt").write_bytes(PART * 20)

    def write_slowly() -> None:
        with contextlib.suppress(BrokenPipeError), Path("pipe").open("wb", buffering=0) as pipe:
            for _ in range(20):
                pipe.write(PART)
                time.sleep(0.02)

    def run(seconds: float, *options: str) -> Ended:
        monkeypatch.setattr(progress, "LINE_SECONDS", seconds)
        if line.endswith("pipe"):
            os.mkfifo("pipe")
            threading.Thread(target=write_slowly, daemon=True).start()
        ended = call(*line.split(), *options, *(["-o", "x.pt"] if line.endswith("pipe") else ["--restart"]))
        Path("pipe").unlink(missing_ok=True)
        return ended

    shown = run(0.02)
    assert (shown.code, len(shown.notes) > 1) == (0, True)
    assert all(re.fullmatch(LINE, note) for note in shown.notes)
    assert any("tokens/s" in note and ("left" in note) == bool(more) for note in shown.notes)
    assert run(60).notes == run(0.02, "-q").notes == []
    monkeypatch.setenv("TERM", "dumb")
    with terminal.instead_of("stderr"):
        assert run(0.02).code == 0
    assert re.search(LINE, terminal.words())
    assert b"\x1b" not in terminal.shown


def test_embeddings_and_merges_say_how_far_they_are(call: Call, story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does what is written, or read again, for minutes after all is encoded."""
    Path("a.txt").write_bytes(PART * 20)
    call("tokenize", "a.txt", "-o", "s/", "--shard-bytes", "19000", "--task", "1/1", "-j1")
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.01)
    assert [
        note for note in call("merge", "s").notes if re.search(r": 0:00 [1-9][0-9.]* [kM]B, [0-9,]+ tokens/s", note)
    ]
    ended = call("embed", story, "--max-length", "64", "--stride", "1", "--dim", "64", "-o", os.devnull)
    assert [note for note in ended.notes if re.search(r": 0:0[0-9] [0-9.]+ MB of 101\.[0-9] MB, about 1 minute", note)]


def test_an_error_stands_alone(slowly: Slowly, terminal: Terminal) -> None:
    """After an error in a slow run the screen holds its one line and nothing of the progress."""

    def spoil(pipe: io.FileIO) -> None:
        until(terminal, "tokens/s")(pipe)
        pipe.write(b"caf\xe9 " * 100_000)

    assert slowly(spoil, "tokenize") == Ended(3, b"", b"")
    assert " ".join(terminal.screen()).startswith(f"llmprep: error: {VISIBLE}: not valid UTF-8 at byte ")


def test_an_interrupt_leaves_the_screen_clean(slowly: Slowly, terminal: Terminal) -> None:
    """Ctrl-C removes the progress and gives the cursor back."""

    def interrupt(pipe: io.FileIO) -> None:
        until(terminal, "tokens/s")(pipe)
        os.kill(os.getpid(), signal.SIGINT)
        terminal.shows(r"\[\?25h")

    assert slowly(interrupt, "tokenize") == Ended(130, b"", b"")
    assert terminal.screen() == []
    assert terminal.shown.endswith((b"\x1b[?25h", b"\x1b[2K"))
    assert [path.name for path in Path().iterdir()] == [NAME]
