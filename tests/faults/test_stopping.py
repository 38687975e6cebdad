"""Signals end a run, whatever a library makes of the exception they raise."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmprep.cli.stopping import AGAIN, CODES, PATIENCE, stoppable

NUMBERS = {name: getattr(signal, name) for name in CODES}


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Signals act on the tests as before."""
    handlers = {number: signal.getsignal(number) for number in (*NUMBERS.values(), signal.SIGALRM)}
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


def run(body: Callable[[], object]) -> object:
    """Run something that can be stopped; return the exit code that it was stopped with."""
    with pytest.raises(SystemExit) as raised, stoppable():
        body()
    return raised.value.code


def go_on() -> None:
    """Do what a run that was not stopped does."""
    wait(1 + PATIENCE)
    raise AssertionError("it went on")


@pytest.mark.parametrize("name", CODES)
def test_a_signal_unwinds_the_stack(name: str) -> None:
    """The block ends with the signal's exit code."""

    def work() -> None:
        os.kill(os.getpid(), NUMBERS[name])
        go_on()

    assert run(work) == CODES[name]


@pytest.mark.parametrize("name", CODES)
def test_a_stop_that_was_swallowed_is_raised_again(name: str) -> None:
    """It does not wait for the block's end."""

    def work() -> None:
        swallow(NUMBERS[name])
        go_on()

    assert run(work) == CODES[name]


def test_a_stop_may_be_swallowed_more_than_once() -> None:
    """It comes again until it is heeded."""
    seen = []

    def work() -> None:
        swallow(signal.SIGTERM)
        for _ in range(2):
            try:
                go_on()
            except SystemExit as stop:
                seen.append(stop.code)
        go_on()

    assert run(work) == 143
    assert seen == [143, 143]


def end_well() -> None:
    """Nothing more to do."""


def fail() -> None:
    """What a library makes of a stop in the midst of its import."""
    raise ImportError("initialisation failed")


@pytest.mark.parametrize("end", [end_well, fail])
def test_the_end_of_the_block_heeds_it_at_last(end: Callable[[], None]) -> None:
    """Neither an end that came first nor an error that came of it hides that a stop was asked for."""

    def work() -> None:
        swallow(signal.SIGINT)
        end()

    assert run(work) == 130


def test_cleaning_up_is_not_disturbed() -> None:
    """What cleans up may take its time, and may fail inside and go on; more signals do nothing."""
    done = []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            go_on()
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            wait(3 * AGAIN)
            try:
                raise OSError("a temporary file is gone")
            except OSError:
                wait(3 * AGAIN)
            done.append(True)

    assert run(work) == 143
    assert done == [True]


def write_module(folder: Path, seconds: float) -> None:
    """A module that is sent a signal in the midst of its import, and then takes some time."""
    lines = [
        "import os, signal, time",
        "os.kill(os.getpid(), signal.SIGINT)",
        f"end = time.monotonic() + {seconds}",
        "while time.monotonic() < end: time.sleep(0.001)",
        "whole = True",
    ]
    (folder / "slow_to_import.py").write_text("\n".join(lines))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that modules are imported from."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("slow_to_import", None)


def test_an_import_is_not_disturbed(folder: Path) -> None:
    """Native code that imports aborts on an exception, or swallows it: the stop waits until the import is done."""
    write_module(folder, 0.2)
    imported = []

    def work() -> None:
        imported.append(importlib.import_module("slow_to_import"))
        go_on()

    assert run(work) == 130
    assert [module.whole for module in imported] == [True]


def test_an_import_without_end_is_stopped(folder: Path) -> None:
    """The patience has an end."""
    write_module(folder, 60)

    begun = time.monotonic()

    assert run(lambda: importlib.import_module("slow_to_import")) == 130
    assert PATIENCE <= time.monotonic() - begun < 10


def test_nothing_rings_afterwards() -> None:
    """A block that was stopped leaves no timer running."""

    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        go_on()

    assert run(work) == 130
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    """As under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with stoppable():
        os.kill(os.getpid(), signal.SIGHUP)
        wait(0.05)
