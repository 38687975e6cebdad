"""A terminal that a command line inside this process writes to."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

import pytest


class Terminal:
    """A terminal of 100 columns. ``shown`` is what it was sent, ``screen`` what a person sees of that."""

    def __init__(self) -> None:
        self.shown = b""
        self._end, other = os.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self._file = os.fdopen(other, "w", encoding="utf-8")
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._reader.join(timeout=10)
        os.close(self._end)

    def _read(self) -> None:
        with suppress(OSError):  # which Linux raises when nobody is at the other end
            while data := os.read(self._end, 1 << 16):
                self.shown += data

    @contextmanager
    def instead_of(self, stream: str) -> Iterator[None]:
        """Let it be ``stdout`` or ``stderr`` of this process; afterwards all that was written has been shown."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, stream, self._file)
            patch.setenv("COLUMNS", "100")
            yield
        self._file.write("\0")  # when this has come, all before it has
        self._file.flush()
        assert self.shows("\0$")
        self.shown = self.shown.removesuffix(b"\0")

    def words(self) -> str:
        """Everything that was shown, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.shown.decode())

    def shows(self, pattern: str, seconds: float = 10) -> bool:
        """Whether something is shown, now or within some seconds."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.words())) and time.monotonic() < end:
            time.sleep(0.02)
        return found is not None

    def screen(self) -> list[str]:
        """The lines that are left on the screen, empty ones apart."""
        lines, row = [""], 0
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", self.words()):
            if part == "\n":
                row += 1
                lines += [""] * (row == len(lines))
            elif part == "\x1b[1A":
                row -= 1
            elif part == "\x1b[2K":
                lines[row] = ""
            elif part not in ("\r", "\x1b[?25l", "\x1b[?25h"):
                assert not part.startswith("\x1b"), part
                lines[row] += part
        return [line for line in lines if line]
