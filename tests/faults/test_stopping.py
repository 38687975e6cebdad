"""Runs that a signal ends or the system kills: the old file or the new one, whole, and no other."""

import importlib
import io
import itertools
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import SAMPLES, Call
from support.processes import Child, finish, running, wait_for
from support.refusals import OLD, tree

from llmprep.cli.stopping import AGAIN, PATIENCE, stoppable

INTERRUPT, TERMINATE, HANG_UP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
CODES = {INTERRUPT: 130, TERMINATE: 143, HANG_UP: 129}
SLOW = pytest.mark.slow
pytestmark = pytest.mark.usefixtures("call")  # after which signals act on the tests as before


# --- signals to a command -------------------------------------------------------------------------


def check_stop(child: Child, *signals: signal.Signals) -> None:
    """Stop a command, which ends soon, silently, with a code of one of the signals."""
    begun = time.monotonic()
    for number in signals:
        child.send_signal(number)
        time.sleep(0.002)
    ended = finish(child, 30)
    assert ended.code in {CODES[number] for number in signals}  # of several at once, Python takes any first
    assert all(note.startswith("llmprep: note: ") for note in ended.notes)
    assert time.monotonic() - begun < 3


COMMANDS = [
    ("tokenize fifo --jobs 2", [INTERRUPT]),
    ("window a.txt --dense --max-length 256 --stride 1", [TERMINATE]),
    pytest.param("pairs fifo --start 10000000", [TERMINATE, INTERRUPT, HANG_UP], marks=SLOW),
    pytest.param("window fifo", [HANG_UP] * 5, marks=SLOW),
    pytest.param("embed a.txt --max-length 64 --stride 1 --dim 512", [INTERRUPT], marks=SLOW),
]


@pytest.mark.parametrize(("command", "signals"), COMMANDS)
def test_a_signal_ends_a_command(command: str, signals: list[signal.Signals], tmp_path: Path) -> None:
    """While it awaits more input, or writes a large file, signals end it at once; the old file stays, no other does."""
    (tmp_path / "a.txt").write_bytes((SAMPLES / "story.txt").read_bytes() * 10)
    (tmp_path / "o.pt").write_bytes(OLD)
    os.mkfifo(tmp_path / "fifo")
    before = tree(tmp_path)
    fifo = os.open(tmp_path / "fifo", os.O_RDWR)
    os.write(fifo, b"one two three\n" * 4000)

    def has_begun() -> bool:
        has_read = not select.select([fifo], [], [], 0)[0]
        return has_read or sum(path.stat().st_size for path in tmp_path.glob(".llmprep-*.tmp")) > 1_000_000

    with running(*command.split(), "-o", "o.pt", cwd=tmp_path) as child:
        wait_for(has_begun, child)
        check_stop(child, *signals)

    os.close(fifo)
    assert tree(tmp_path) == before


def test_a_signal_ends_a_command_that_waits_for_its_reader(tmp_path: Path) -> None:
    """Held up by a reader that has stopped reading, it ends all the same."""
    (tmp_path / "a.txt").write_bytes(b"word " * 200_000)
    with running("tokenize", "a.txt", "-o", "-", "-q", cwd=tmp_path) as child:
        assert child.stdout is not None
        assert child.stdout.read(1000).startswith(b"PK")
        time.sleep(0.2)  # the pipe is full by now
        check_stop(child, INTERRUPT)


# --- signals to a block of Python -----------------------------------------------------------------


def swallow(number: signal.Signals) -> None:
    """Be sent a signal, and lose what it raises, as native code does that tries an import."""
    with pytest.raises(SystemExit):
        os.kill(os.getpid(), number)


def wait(seconds: float = 1 + PATIENCE) -> None:
    """Be busy in Python."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.001)


def run(body: Callable[[], object]) -> object:
    """Run something that can be stopped; return the exit code that it was stopped with. No timer runs on."""
    with pytest.raises(SystemExit) as raised, stoppable():
        body()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    return raised.value.code


def test_a_stop_that_is_swallowed_is_raised_again() -> None:
    """It is raised until it gets through, and does not wait for the block's end."""
    begun = time.monotonic()

    def work() -> None:
        swallow(TERMINATE)
        for _ in range(2):
            with pytest.raises(SystemExit):
                wait()
        wait()

    assert run(work) == 143
    assert time.monotonic() - begun < 1 + PATIENCE


def test_the_end_of_the_block_raises_a_lost_stop() -> None:
    """Neither an end that came first nor an error that came of it hides that a stop was asked for."""

    def fail() -> None:
        swallow(INTERRUPT)
        raise ImportError("initialisation failed")

    assert run(lambda: swallow(INTERRUPT)) == 130
    assert run(fail) == 130


def test_cleaning_up_is_not_disturbed() -> None:
    """What cleans up may take its time, and may fail inside and go on; more signals do nothing."""
    done = []

    def work() -> None:
        try:
            os.kill(os.getpid(), TERMINATE)
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
    name = f"slow_to_import_{ends}"
    (tmp_path / f"{name}.py").write_text(f"""
import os, signal, time
os.kill(os.getpid(), signal.SIGINT)
end = time.monotonic() + {seconds}
while time.monotonic() < end: time.sleep(0.001)
""")
    imported = []

    def work() -> None:
        imported.append(importlib.import_module(name))
        wait()

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


class Killed(BaseException):
    """Ends a run."""


def kill(patch: pytest.MonkeyPatch, fatal: int) -> Callable[[], bool]:
    """Let a run change files in so many steps, the last by half; on its way out it changes none. Tells whether it did.

    A process that is killed leaves the same: its files as they are at that moment, and no lock.
    """
    steps, opened = itertools.count(1), os.fdopen

    def step(half: Callable[[], object] = lambda: None) -> bool:
        number = next(steps)
        if number == fatal:
            half()
        if number >= fatal:
            raise Killed
        return True

    class Raw(io.FileIO):
        def write(self, data: Any, /) -> int:
            step(lambda: super(Raw, self).write(bytes(data)[: len(data) // 2]))
            return super().write(data)

    def open_raw(descriptor: int, mode: str = "r", *rest: Any, **more: Any) -> Any:
        return io.BufferedWriter(Raw(descriptor, mode), 1) if mode == "wb" else opened(descriptor, mode, *rest, **more)

    for name in ("fsync", "replace", "unlink"):
        system = getattr(os, name)
        patch.setattr(os, name, lambda *given, _system=system, **named: _system(*given, **named) if step() else None)
    patch.setattr(os, "fdopen", open_raw)
    return lambda: next(steps) > fatal


def test_killed_at_every_step(call: Call, tokens: Path) -> None:
    """Killed at any write, in its middle, or at any sync or rename: the file is the old one or the new one, whole.

    The next run succeeds, over whatever the killed one left, and removes it.
    """
    command, output = ("window", "tokens.pt", "--max-length", "9", "-q", "-o", "x.pt"), Path("x.pt")
    assert call(*command).code == 0
    new, killed = output.read_bytes(), True
    left: list[bytes] = []

    while killed:
        output.write_bytes(OLD)
        with pytest.MonkeyPatch.context() as patch:
            was_killed = kill(patch, len(left) + 1)
            code = call(*command).code
            killed = was_killed()
        left.append(output.read_bytes())
        assert (code == 0) != killed
        assert call(*command).code == 0
        assert (output.read_bytes(), [*Path().glob(".llmprep-*")]) == (new, [])

    assert len(left) > 10
    assert set(left) == {OLD, new}
