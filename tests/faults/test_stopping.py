"""Runs that a signal ends or the system kills: the old file or the new one, whole, and no other."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.commands import SAMPLES, Call, clean_environment
from support.processes import Child, has_temporary, running, stop, wait_for, writing
from support.refusals import OLD, tree

from llmprep.cli.stopping import AGAIN, PATIENCE, stoppable

INTERRUPT, TERMINATE, HANG_UP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
CODES = {INTERRUPT: 130, TERMINATE: 143, HANG_UP: 129}
SLOW = pytest.mark.slow


# --- signals to a command -------------------------------------------------------------------------


def check_stop(child: Child, *signals: signal.Signals) -> None:
    """Stop a command, which ends soon, silently, with a code of one of the signals."""
    ended, seconds = stop(child, *signals)
    assert ended.code in {CODES[number] for number in signals}  # of several at once, Python takes any first
    assert all(note.startswith("llmprep: note: ") for note in ended.notes)
    assert seconds < 3


@pytest.mark.parametrize(
    ("command", "signals"),
    [
        ("tokenize --jobs 2", [INTERRUPT]),
        ("pairs --start 10000000", [TERMINATE, INTERRUPT, HANG_UP]),
        ("window", [HANG_UP] * 5),
        pytest.param("tokenize --jobs 1", [TERMINATE], marks=SLOW),
        pytest.param("embed", [INTERRUPT], marks=SLOW),
    ],
)
def test_a_signal_ends_a_command_that_awaits_input(command: str, signals: list[signal.Signals], tmp_path: Path) -> None:
    """After its first input has come, one signal or several end it at once; the old file stays, no other is left."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "o.pt").write_bytes(OLD)
    before = tree(tmp_path)

    with (
        running(*command.split(), "fifo", "-o", "o.pt", cwd=tmp_path) as child,
        writing(tmp_path / "fifo", child) as writer,
    ):
        writer.write(b"one two three\n" * 100_000)
        check_stop(child, *signals)

    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("command", "copies", "n_bytes"),
    [
        ("tokenize --backend tiktoken --jobs 2", 2500, 200_000),
        ("window --dense --max-length 256 --stride 1", 10, 1_000_000),
        pytest.param("embed --max-length 64 --stride 1 --dim 512", 10, 1_000_000, marks=SLOW),
    ],
)
def test_a_signal_ends_a_command_that_writes(command: str, copies: int, n_bytes: int, tmp_path: Path) -> None:
    """While it encodes a long text, or writes a large file, the same."""
    (tmp_path / "a.txt").write_bytes((SAMPLES / "story.txt").read_bytes() * copies)
    (tmp_path / "o.pt").write_bytes(OLD)
    before = tree(tmp_path)

    with running(*command.split(), "a.txt", "-o", "o.pt", cwd=tmp_path) as child:
        wait_for(lambda: has_temporary(tmp_path, n_bytes), child)
        check_stop(child, TERMINATE)

    assert tree(tmp_path) == before


def test_a_signal_ends_a_command_that_waits_for_its_reader(tmp_path: Path) -> None:
    """Held up by a reader that has stopped reading, it ends all the same."""
    (tmp_path / "a.txt").write_bytes(b"word " * 2_000_000)

    with running("tokenize", "a.txt", "-o", "-", "-q", cwd=tmp_path) as child:
        assert child.stdout is not None
        assert child.stdout.read(1000).startswith(b"PK")
        time.sleep(0.3)  # the pipe is full by now
        check_stop(child, INTERRUPT)


# --- signals to a block of Python -----------------------------------------------------------------


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Signals act on the tests as before."""
    handlers = {number: signal.getsignal(number) for number in (*CODES, signal.SIGALRM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def swallow(number: signal.Signals) -> None:
    """Be sent a signal, and lose what it raises, as native code does that tries an import."""
    try:
        os.kill(os.getpid(), number)
        time.sleep(1)
    except SystemExit:
        return
    raise AssertionError("no signal")


def wait(seconds: float) -> None:
    """Be busy in Python."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.001)


def go_on() -> None:
    """Do what a run that was not stopped does."""
    wait(1 + PATIENCE)
    raise AssertionError("it went on")


def run(body: Callable[[], object]) -> object:
    """Run something that can be stopped; return the exit code that it was stopped with. No timer runs on."""
    with pytest.raises(SystemExit) as raised, stoppable():
        body()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    return raised.value.code


def test_a_stop_that_is_swallowed_is_raised_again() -> None:
    """It is raised until it gets through, and does not wait for the block's end."""
    seen = []

    def work() -> None:
        swallow(TERMINATE)
        for _ in range(2):
            try:
                go_on()
            except SystemExit as stopped:
                seen.append(stopped.code)
        go_on()

    assert run(work) == 143
    assert seen == [143, 143]


@pytest.mark.parametrize("error", [None, ImportError("initialisation failed")], ids=["no error", "an error"])
def test_the_end_of_the_block_raises_a_lost_stop(error: Exception | None) -> None:
    """Neither an end that came first nor an error that came of it hides that a stop was asked for."""

    def work() -> None:
        swallow(INTERRUPT)
        if error is not None:
            raise error

    assert run(work) == 130


def test_cleaning_up_is_not_disturbed() -> None:
    """What cleans up may take its time, and may fail inside and go on; more signals do nothing."""
    done = []

    def work() -> None:
        try:
            os.kill(os.getpid(), TERMINATE)
            go_on()
        finally:
            os.kill(os.getpid(), INTERRUPT)
            wait(3 * AGAIN)
            try:
                raise OSError("a temporary file is gone")
            except OSError:
                wait(3 * AGAIN)
            done.append(True)

    assert run(work) == 143
    assert done == [True]


@pytest.mark.parametrize(("seconds", "ends"), [(0.2, True), (60, False)], ids=["done soon", "without end"])
def test_an_import_is_given_time(seconds: float, ends: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Native code that imports aborts on an exception, or swallows it: the stop waits, but not for ever."""
    monkeypatch.syspath_prepend(str(tmp_path))
    lines = (
        "import os, signal, time",
        "os.kill(os.getpid(), signal.SIGINT)",
        f"end = time.monotonic() + {seconds}",
        "while time.monotonic() < end: time.sleep(0.001)",
    )
    name = f"slow_to_import_{ends}"
    (tmp_path / f"{name}.py").write_text("\n".join(lines))
    imported = []

    def work() -> None:
        imported.append(importlib.import_module(name))
        go_on()

    begun = time.monotonic()
    assert run(work) == 130
    assert min(seconds, PATIENCE) <= time.monotonic() - begun < 10
    assert bool(imported) == ends


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    """As a hang-up is under nohup."""
    signal.signal(HANG_UP, signal.SIG_IGN)

    with stoppable():
        os.kill(os.getpid(), HANG_UP)
        wait(0.05)


# --- kills ----------------------------------------------------------------------------------------

KILLED = """
import hashlib, io, json, os, signal, sys
from pathlib import Path
from llmprep.cli.main import run

output, arguments = Path("x.pt"), sys.argv[1:]
old, steps, fatal, system_open = output.read_bytes(), 0, -1, os.fdopen

def step(half=lambda: None):
    # Count a step; at the fatal one, do half of it, then die as a process that the kernel kills.
    global steps
    steps += 1
    if steps == fatal:
        half()
        os.kill(os.getpid(), signal.SIGKILL)

class Raw(io.FileIO):
    def write(self, data):
        step(lambda: super(Raw, self).write(bytes(data)[: len(data) // 2]))
        return super().write(data)

def opened(descriptor, mode="r", *rest, **more):
    if mode != "wb":
        return system_open(descriptor, mode, *rest, **more)
    step()
    return io.BufferedWriter(Raw(descriptor, mode), buffer_size=1)

def watched(function):
    return lambda *given, **named: (step(), function(*given, **named))[1]

def child(killed_at):
    global steps, fatal
    if pid := os.fork():
        return os.waitpid(pid, 0)[1]
    steps, fatal = 0, killed_at
    os._exit(run(arguments))

def state():
    return hashlib.sha256(output.read_bytes()).hexdigest()

os.fdopen, os.fsync, os.replace, os.unlink = opened, *map(watched, (os.fsync, os.replace, os.unlink))
run(arguments)  # imports everything once, for all children
status, limit = -1, 0
while status:
    output.write_bytes(old)
    limit += 1
    status, left, again = child(limit), state(), child(-1)
    print(json.dumps([status, left, again, state(), [path.name for path in Path().glob(".llmprep-*")]]))
"""


def test_killed_at_every_step(call: Call, tokens: Path, tmp_path: Path) -> None:
    """Killed at any write, in its middle, or at any sync or rename: the file is the old one or the new one, whole.

    The next run succeeds, over whatever the killed one left, and removes it.
    """
    command = ["window", "tokens.pt", "--max-length", "9", "-o", "x.pt", "-q"]
    assert call(*command).code == 0
    new, old = (hashlib.sha256(data).hexdigest() for data in ((tmp_path / "x.pt").read_bytes(), OLD))
    (tmp_path / "x.pt").write_bytes(OLD)

    driven = subprocess.run(
        [sys.executable, "-c", KILLED, *command],
        cwd=tmp_path, env=clean_environment(), capture_output=True, timeout=60, check=True,
    )  # fmt: skip

    runs = [json.loads(line) for line in driven.stdout.splitlines()]
    assert len(runs) > 10
    assert [status for status, *_ in runs] == [signal.SIGKILL] * (len(runs) - 1) + [0]
    assert {left for _, left, *_ in runs} == {old, new}
    assert all(end == [0, new, []] for _, _, *end in runs)
