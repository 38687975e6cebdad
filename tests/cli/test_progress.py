"""Promises of progress: on a terminal, after half a second, it says how far a run has come; then it is gone."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import clean_environment

PART = b"some words to read " * 5000


class Terminal:
    """A terminal of 100 columns in whose standard error llmprep runs, and what it has been sent."""

    def __init__(self, folder: Path, *arguments: str | bytes) -> None:
        self.shown = b""
        self._end, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        command = [sys.executable, "-m", "llmprep", *arguments]
        self.process = subprocess.Popen(
            command, cwd=folder, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=other
        )
        os.close(other)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._end, 1 << 16)
            except OSError:  # what Linux says when nobody is at the other end
                return
            if not data:
                return
            self.shown += data

    def wait_for(self, pattern: str) -> bool:
        """Wait until something was shown, ten seconds at most."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if re.search(pattern, self.words()):
                return True
            time.sleep(0.02)
        return False

    def words(self) -> str:
        """Everything that was shown, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.shown.decode())

    def finish(self) -> tuple[int, bytes]:
        """Wait for the end; returns the exit code and standard output."""
        out, _ = self.process.communicate(timeout=30)
        self._reader.join()
        os.close(self._end)
        return self.process.returncode, out

    def screen(self) -> list[str]:
        """The lines that a person sees at the end."""
        lines, row = [""], 0
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", self.words()):
            match part:
                case "\n":
                    row += 1
                    lines += [""] * (row == len(lines))
                case "\r" | "\x1b[?25l" | "\x1b[?25h":
                    pass
                case "\x1b[1A":
                    row -= 1
                case "\x1b[2K":
                    lines[row] = ""
                case _:
                    assert not part.startswith("\x1b"), part
                    lines[row] += part
        return [line for line in lines if line]


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    """A pipe whose name would act on a terminal, and on rich, if it were not made visible."""
    path = tmp_path / "slow\x1b[31m\n[b]x[&b].txt"
    os.mkfifo(path)
    yield path
    path.unlink()


def feed(path: Path, terminal: Terminal, pattern: str) -> bool:
    """Write parts into a pipe until something shows on the terminal, ten seconds at most, then the end."""
    with path.open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(PART)
            time.sleep(0.1)
            if re.search(pattern, terminal.words()):
                return True
    return False


FULL = r"[1-9][0-9.]*/\? [kM]B +[1-9][0-9.]* [kM]B/s +[1-9][0-9,]* tokens/s"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_slow_run_shows_how_far_it_is(jobs: str, pipe: Path, tmp_path: Path) -> None:
    """Bytes, speed, tokens a second and the input's name are shown, the name inert; in the end nothing is left."""
    terminal = Terminal(tmp_path, "tokenize", pipe.name, "-o", "x.pt", "-j", jobs)

    assert feed(pipe, terminal, FULL + r" +.*slow")

    code, out = terminal.finish()
    assert code == 0
    assert r"slow\x1b[31m\n[b]x[&b].txt" in terminal.words()
    assert b"x.pt: token_ids" in out
    assert b"tokens/s" not in out
    assert terminal.screen() == []
    assert terminal.shown.count(b"\x1b[?25l") == terminal.shown.count(b"\x1b[?25h") == 1


def test_a_file_has_an_end_in_sight(pipe: Path, tmp_path: Path) -> None:
    """Where sizes are known, the whole is shown beside what was read, and inputs add up."""
    (tmp_path / "known.txt").write_bytes(PART * 5)

    terminal = Terminal(tmp_path, "window", "known.txt", pipe.name, "-o", "x.pt")

    assert feed(pipe, terminal, r"[0-9.]+/475\.0 kB .* tokens/s .*slow")
    assert terminal.finish()[0] == 0
    assert terminal.screen() == []


def test_a_quick_run_shows_nothing(story: Path, tmp_path: Path) -> None:
    """What is done within half a second needs no progress."""
    terminal = Terminal(tmp_path, "tokenize", str(story), "-o", "x.pt")

    assert terminal.finish()[0] == 0
    assert terminal.shown == b""


@pytest.mark.parametrize("options", [["-q"], ["-q", "--json"]])
def test_a_quiet_run_shows_nothing(options: list[str], pipe: Path, tmp_path: Path) -> None:
    """With ``--quiet`` there is no progress either."""
    terminal = Terminal(tmp_path, "tokenize", pipe.name, "-o", "x.pt", *options)
    with pipe.open("wb", buffering=0) as file:
        file.write(PART)
        time.sleep(1)
        file.write(PART)

    assert terminal.finish() == (0, b"")
    assert terminal.shown == b""


def test_without_a_terminal_nothing_is_shown(pipe: Path, tmp_path: Path) -> None:
    """Standard error that is a pipe or a file gets no progress, however slow the run is."""
    command = [sys.executable, "-m", "llmprep", "tokenize", pipe.name, "-o", "x.pt"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with pipe.open("wb", buffering=0) as file:
        file.write(PART)
        time.sleep(1)
        file.write(PART)

    out, err = process.communicate(timeout=30)

    assert (process.returncode, err) == (0, b"")
    assert b"\x1b" not in out


def test_an_error_stands_alone(pipe: Path, tmp_path: Path) -> None:
    """After an error in a slow run the screen holds its one line and nothing of the progress."""
    terminal = Terminal(tmp_path, "tokenize", pipe.name, "-o", "x.pt")
    with pipe.open("wb", buffering=0) as file:
        file.write(PART)
        assert terminal.wait_for("tokens/s")
        file.write(b"caf\xe9 " * 100_000)

    assert terminal.finish() == (3, b"")
    (line,) = terminal.screen()
    assert line.startswith(r"llmprep: error: slow\x1b[31m\n[b]x[&b].txt: not valid UTF-8 at byte ")
    assert not (tmp_path / "x.pt").exists()


def test_an_interrupt_leaves_the_screen_clean(pipe: Path, tmp_path: Path) -> None:
    """Ctrl-C removes the progress and gives the cursor back."""
    terminal = Terminal(tmp_path, "tokenize", pipe.name, "-o", "x.pt")
    with pipe.open("wb", buffering=0) as file:
        file.write(PART)
        assert terminal.wait_for("tokens/s")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.finish() == (130, b"")

    assert terminal.screen() == []
    assert terminal.shown.endswith((b"\x1b[?25h", b"\x1b[2K"))
    assert terminal.shown.count(b"\x1b[?25h") == 1
    assert {path.name for path in tmp_path.iterdir()} == {pipe.name}
