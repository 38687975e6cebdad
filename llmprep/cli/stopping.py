"""Signals that end a run."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
AGAIN = 0.02
"""Seconds until a stop that could not be raised, or was swallowed, is raised again."""
PATIENCE = 0.5
"""Seconds for which a call from native code may go on before it is interrupted all the same."""
CALLED_BY_NATIVE_CODE = ("<frozen importlib", "numpy/lib/_version.py")
"""Parts of the file names of Python code that native code calls, which would abort on an exception or swallow it:
imports, and numpy's version, which gigatoken and tiktoken look at before their first array."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Let the first signal unwind the stack, so that temporary files are removed; ignore those that follow.

    It raises `SystemExit` with the signal's exit code, but not inside `CALLED_BY_NATIVE_CODE`. If something swallows
    it, it is raised again, at the latest at the end of the block, where it also takes the place of an error that it
    has caused.
    """
    first = _Stop()
    for number in _ending_signals():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, first.begin)
    try:
        yield
    finally:
        _set_timer(0, None)
        if first.stopped is not None:
            raise first.stopped


class _Stop:
    """The state of the signal handlers: the exception that the first signal raises."""

    def __init__(self) -> None:
        self.stopped: SystemExit | None = None
        self._deadline = 0.0

    def begin(self, number: int, frame: FrameType | None) -> None:
        """Handle the first signal."""
        for each in _ending_signals():
            signal.signal(each, _ignore)
        self.stopped = SystemExit(CODES[signal.Signals(number).name])
        self._deadline = time.monotonic() + PATIENCE
        _set_timer(AGAIN, self.insist)
        self.insist(number, frame)

    def insist(self, _: int, frame: FrameType | None) -> None:
        """Raise the exception, unless it is better to wait or it is being handled."""
        waits = _is_delicate(frame) and time.monotonic() < self._deadline
        if self.stopped is not None and not waits and not _is_handling(self.stopped):
            raise self.stopped


def _ending_signals() -> list[signal.Signals]:
    """Return the signals of `CODES` that this system has; Windows has no SIGHUP."""
    return [signal.Signals[name] for name in CODES if name in signal.Signals.__members__]


def _set_timer(seconds: float, handler: Callable[[int, FrameType | None], None] | None) -> None:
    """Call a handler again and again, or stop that, with 0 seconds. Without such timers (Windows) nothing insists."""
    if hasattr(signal, "setitimer"):
        if handler is not None:
            signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def _ignore(_: int, __: FrameType | None) -> None:
    """Do nothing; SIG_IGN would have Python complain of a signal that came together with the first."""


def _is_delicate(frame: FrameType | None) -> bool:
    """Tell whether native code waits for the running Python code to return."""
    while frame is not None and not any(mark in frame.f_code.co_filename for mark in CALLED_BY_NATIVE_CODE):
        frame = frame.f_back
    return frame is not None


def _is_handling(stop: SystemExit) -> bool:
    """Tell whether the program is cleaning up for this very exception, or for one that came of it."""
    error = sys.exception()
    while error is not None and error is not stop:
        error = error.__context__
    return error is stop
