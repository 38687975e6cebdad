"""Signals that end a run."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
AGAIN = 0.02
"""Seconds until a stop that could not be raised, or was swallowed, is raised again."""
PATIENCE = 0.5
"""Seconds that native code's calls are given to end."""
CALLED_BY_NATIVE_CODE = ("<frozen importlib", "numpy/lib/_version.py")
"""Where native code of others calls Python, and aborts on an exception or swallows it: imports, and gigatoken's and
tiktoken's look at numpy's version before their first array. As in the names of code's files."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Let the first signal unwind the stack, so that temporary files go; ignore those that follow.

    It raises `SystemExit` with the signal's exit code, not in the midst of `CALLED_BY_NATIVE_CODE`. Where it is
    swallowed all the same it is raised again, at the latest at the end of the block: there also in place of an error
    that came of it.
    """
    first = _Stop()
    for name in CODES:
        if signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), first.begin)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if first.stopped is not None:
            raise first.stopped


class _Stop:
    """What the handlers of signals know: the exception that a signal raises, once one has come."""

    def __init__(self) -> None:
        self.stopped: SystemExit | None = None
        self._deadline = 0.0

    def begin(self, number: int, frame: FrameType | None) -> None:
        """Heed the first signal."""
        for name in CODES:
            signal.signal(getattr(signal, name), _ignore)
        self.stopped = SystemExit(CODES[signal.Signals(number).name])
        self._deadline = time.monotonic() + PATIENCE
        signal.signal(signal.SIGALRM, self.insist)
        signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
        self.insist(number, frame)

    def insist(self, _: int, frame: FrameType | None) -> None:
        """Raise the exception, unless it is better to wait or it is being handled."""
        waits = _is_delicate(frame) and time.monotonic() < self._deadline
        if self.stopped is not None and not waits and not _is_handling(self.stopped):
            raise self.stopped


def _ignore(_: int, __: FrameType | None) -> None:
    """Do nothing; SIG_IGN would have Python complain of a signal that came together with the first."""


def _is_delicate(frame: FrameType | None) -> bool:
    """Tell whether native code awaits the end of what runs."""
    while frame is not None and not any(mark in frame.f_code.co_filename for mark in CALLED_BY_NATIVE_CODE):
        frame = frame.f_back
    return frame is not None


def _is_handling(stop: SystemExit) -> bool:
    """Tell whether the program is cleaning up for this very exception, or for one that came of it."""
    error = sys.exception()
    while error is not None and error is not stop:
        error = error.__context__
    return error is stop
