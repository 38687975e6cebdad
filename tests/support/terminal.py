"""A terminal that a command line inside this process writes to."""

import io
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


class Terminal(io.BytesIO):
    """A terminal of so many columns. ``shown`` is what it was sent, ``screen`` what a person sees of that."""

    def __init__(self, columns: int = 100) -> None:
        super().__init__()
        self._columns = columns

    def __exit__(self, *_: object) -> None:
        """Keep what was shown."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True

    @property
    def shown(self) -> bytes:
        """Everything that was sent."""
        return self.getvalue()

    @contextmanager
    def instead_of(self, stream: str) -> Iterator[None]:
        """Let it be ``stdout`` or ``stderr`` of this process."""
        file = io.TextIOWrapper(self, encoding="utf-8", write_through=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, stream, file)
            patch.setenv("COLUMNS", str(self._columns))
            yield
        file.detach()

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
