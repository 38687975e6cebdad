"""Promises of progress: on a terminal, after half a second, it says how far a run has come; then it is gone."""

from __future__ import annotations

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
from support.commands import Call
from support.terminal import Terminal

NAME = "slow\x1b[31m\n[b]x[&b].txt"
"""A name that would act on a terminal, and on rich, if it were not made visible."""
VISIBLE = r"slow\x1b[31m\n[b]x[&b].txt"
PART = b"some words to read " * 5000
FULL = r"[1-9][0-9.]*/\? [kM]B +[1-9][0-9.]* [kM]B/s +[1-9][0-9,]* tokens/s +.*slow"


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal for standard error."""
    with Terminal() as made:
        yield made


@contextlib.contextmanager
def slowly(write: Callable[[io.FileIO], object]) -> Iterator[None]:
    """Make the pipe, and have it written into, by another thread, while it is read."""
    os.mkfifo(NAME)

    def work() -> None:
        with contextlib.suppress(BrokenPipeError), Path(NAME).open("wb", buffering=0) as pipe:
            write(pipe)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join(timeout=15)
    assert not thread.is_alive()


def until(terminal: Terminal, pattern: str) -> Callable[[io.FileIO], None]:
    """Write parts until something is shown, ten seconds at most."""

    def write(pipe: io.FileIO) -> None:
        end = time.monotonic() + 10
        while not terminal.shows(pattern, seconds=0.05) and time.monotonic() < end:
            pipe.write(PART)

    return write


def wait(pipe: io.FileIO) -> None:
    """Write two parts, the second when progress would be shown."""
    pipe.write(PART)
    time.sleep(0.9)
    pipe.write(PART)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_slow_run_shows_how_far_it_is(jobs: str, call: Call, terminal: Terminal) -> None:
    """Bytes, speed, tokens a second and the input's name are shown, the name inert; in the end nothing is left."""
    with terminal.instead_of("stderr"), slowly(until(terminal, FULL)):
        ended = call("tokenize", NAME, "-o", "x.pt", "-j", jobs)

    assert ended.code == 0
    assert re.search(FULL, terminal.words())
    assert VISIBLE in terminal.words()
    assert b"x.pt: token_ids" in ended.stdout
    assert b"tokens/s" not in ended.stdout
    assert terminal.screen() == []
    assert terminal.shown.count(b"\x1b[?25l") == terminal.shown.count(b"\x1b[?25h") == 1


def test_a_file_has_an_end_in_sight(call: Call, terminal: Terminal) -> None:
    """Where sizes are known, the whole is shown beside what was read, and inputs add up."""
    Path("known.txt").write_bytes(PART * 5)
    shown = r"[0-9.]+/475\.0 kB .* tokens/s .*slow"

    with terminal.instead_of("stderr"), slowly(until(terminal, shown)):
        ended = call("window", "known.txt", NAME, "-o", "x.pt")

    assert ended.code == 0
    assert re.search(shown, terminal.words())
    assert terminal.screen() == []


@pytest.mark.slow
def test_a_store_shows_its_shards(call: Call, terminal: Terminal) -> None:
    """A build of a token store that takes its time shows bytes, speed and the shard that was finished last."""
    Path("a.txt").write_bytes(PART * 20)

    with terminal.instead_of("stderr"):
        ended = call("tokenize", "a.txt", "-o", "s/", "--shard-bytes", "19000", "-j", "1")

    assert ended.code == 0
    assert re.search(r"[1-9][0-9.]*/1\.9 MB .* tokens/s +.*tokens-00[0-9]+\.pt", terminal.words())
    assert terminal.screen() == []


def test_a_quiet_run_shows_nothing(call: Call, terminal: Terminal) -> None:
    """With ``--quiet`` there is no progress either."""
    with terminal.instead_of("stderr"), slowly(wait):
        ended = call("tokenize", NAME, "-o", "x.pt", "-q", "--json")

    assert (ended.code, ended.stdout, terminal.shown) == (0, b"", b"")


def test_a_quick_run_shows_nothing(story: Path, call: Call, terminal: Terminal) -> None:
    """What is done within half a second needs no progress."""
    with terminal.instead_of("stderr"):
        ended = call("tokenize", story, "-o", "x.pt")

    assert (ended.code, terminal.shown) == (0, b"")


def test_without_a_terminal_nothing_is_shown(call: Call) -> None:
    """Standard error that is a pipe or a file gets no progress, however slow the run is."""
    with slowly(wait):
        ended = call("tokenize", NAME, "-o", "x.pt")

    assert (ended.code, ended.stderr) == (0, b"")
    assert b"\x1b" not in ended.stdout


def test_an_error_stands_alone(call: Call, terminal: Terminal) -> None:
    """After an error in a slow run the screen holds its one line and nothing of the progress."""

    def spoil(pipe: io.FileIO) -> None:
        until(terminal, "tokens/s")(pipe)
        pipe.write(b"caf\xe9 " * 100_000)

    with terminal.instead_of("stderr"), slowly(spoil):
        ended = call("tokenize", NAME, "-o", "x.pt")

    assert (ended.code, ended.stdout) == (3, b"")
    (line,) = terminal.screen()
    assert line.startswith(f"llmprep: error: {VISIBLE}: not valid UTF-8 at byte ")
    assert not Path("x.pt").exists()


def test_an_interrupt_leaves_the_screen_clean(call: Call, terminal: Terminal) -> None:
    """Ctrl-C removes the progress and gives the cursor back."""
    over = threading.Event()

    def interrupt(pipe: io.FileIO) -> None:
        until(terminal, "tokens/s")(pipe)
        os.kill(os.getpid(), signal.SIGINT)
        over.wait(10)

    with terminal.instead_of("stderr"), slowly(interrupt):
        ended = call("tokenize", NAME, "-o", "x.pt")
        over.set()

    assert (ended.code, ended.stdout) == (130, b"")
    assert terminal.screen() == []
    assert terminal.shown.endswith((b"\x1b[?25h", b"\x1b[2K"))
    assert [path.name for path in Path().iterdir()] == [NAME]
