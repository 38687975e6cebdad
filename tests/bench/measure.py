"""One contestant on one text, in a process of its own: how long, how much memory, how many bytes.

The runner must stay small: until a child has started its own program, it counts the runner's memory as its own.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from contestants import command_of

LIMIT_SECONDS = 1200
DROPPED = ("LLMPREP", "TIKTOKEN", "DATA_GYM", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True, slots=True)
class Run:
    """One run. ``wall`` is in seconds, from the start of the process to its end."""

    wall: float = 0.0
    tokens: int = 0
    peak: int = 0
    n_bytes: int = 0
    error: str = ""


@dataclass(slots=True)
class Result:
    """A contestant's runs on one text; ``must_run``: without an error, or the whole bench has failed."""

    name: str
    text_bytes: int
    must_run: bool = False
    runs: list[Run] = field(default_factory=list)

    @property
    def error(self) -> str:
        """Why there is no result, if there is none."""
        return next((run.error for run in self.runs if run.error), "" if self.runs else "not run")

    @property
    def wall(self) -> float:
        """Median, in seconds."""
        return statistics.median(run.wall for run in self.runs)

    @property
    def rate(self) -> float:
        """Megabytes of text a second, by that clock."""
        return self.text_bytes / 1e6 / self.wall

    @property
    def tokens(self) -> int:
        """Tokens of the text, 0 where there is no result."""
        return self.runs[-1].tokens if self.runs else 0

    @property
    def peak(self) -> int:
        """The largest of all runs, in bytes."""
        return max(run.peak for run in self.runs)


def measure(name: str, text: Path, scratch: Path) -> Run:
    """Run a contestant once; what it wrote is measured and removed."""
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "tmp").mkdir(parents=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(DROPPED)}
    os.sync()  # no contestant waits for another one's bytes
    said, complained = scratch / "stdout", scratch / "stderr"
    with said.open("wb") as out, complained.open("wb") as err:
        started = time.perf_counter()
        process = subprocess.Popen(
            command_of(name, text, scratch / "out"), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            env={**kept, "TMPDIR": str(scratch / "tmp")}, start_new_session=True,
        )  # fmt: skip
        limit = threading.Timer(LIMIT_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        limit.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        limit.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    error = what_went_wrong(process.returncode, wall, complained)
    out_bytes = (scratch / "out").stat().st_size if (scratch / "out").exists() else 0
    tokens = 0 if error else json.loads(said.read_text().splitlines()[-1])["n_tokens"]
    run = Run(wall, tokens, usage.ru_maxrss * 1024, out_bytes, error)
    shutil.rmtree(scratch)
    return run


def what_went_wrong(code: int, wall: float, complained: Path) -> str:
    """Return the reason for a failure in one line, empty if there was none."""
    if code == 0:
        return ""
    if wall >= LIMIT_SECONDS:
        return f"stopped after {LIMIT_SECONDS} s"
    lines = complained.read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else f"exit code {code}"
