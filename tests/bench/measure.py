"""Contestants, each in a process of its own, in turns: how long, how much memory, how many tokens.

The runner must stay small: until a child has started its own program, it counts the runner's memory as its own.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gpt2 import OUT, SCRATCH

LIMIT_SECONDS = 1200
DROPPED = ("LLMPREP", "TIKTOKEN", "DATA_GYM", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    ``wall`` is in seconds, from the start of the process to its end; ``cpu`` those of all its threads and children;
    ``parts`` what it timed itself. ``records``: how many documents its text makes, where it counts them.
    """

    wall: float = 0.0
    tokens: int = 0
    peak: int = 0
    error: str = ""
    cpu: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    records: int = 1


@dataclass(slots=True)
class Result:
    """A contestant's runs on one text."""

    name: str
    text_bytes: int
    command: tuple[str, ...] = ()
    runs: list[Run] = field(default_factory=list)

    @property
    def error(self) -> str:
        """Why there is no result, if there is none."""
        return next((run.error for run in self.runs if run.error), "" if self.runs else "not run")

    @property
    def wall(self) -> float:
        """Median, in seconds."""
        return statistics.median(run.wall for run in self.runs)

    def timed(self, *parts: str) -> float:
        """Median of these parts, or of all that it timed itself, in seconds; if it timed nothing, of the wall clock."""
        return statistics.median(
            sum(run.parts[part] for part in parts or run.parts) if run.parts else run.wall for run in self.runs
        )

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


def say(line: str) -> None:
    """Tell on standard error how far the run has come."""
    print(line, file=sys.stderr, flush=True)


def race(results: Iterable[Result], rounds: int, slow: float = inf) -> None:
    """Let contestants take turns; one that has failed, or takes more than ``slow`` seconds, has no other round."""
    for number in range(1, rounds + 1):
        for result in results:
            if result.runs and (result.error or result.runs[0].wall > slow):
                continue
            run = measure(result.command)
            result.runs.append(run)
            about = f"{result.text_bytes / 1e6:.0f} MB, round {number}, {result.name}"
            say(f"{about}: {run.error or f'{run.wall:.2f} s'}")


def measure(command: tuple[str, ...]) -> Run:
    """Run a command once; what it wrote to `OUT` is removed."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir(parents=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(DROPPED)}
    os.sync()  # no contestant waits for another one's bytes
    said, complained = SCRATCH / "stdout", SCRATCH / "stderr"
    # The folder for temporary files has a short name, or torch's workers have no room for the names of their sockets.
    with said.open("wb") as out, complained.open("wb") as err, TemporaryDirectory() as temporary:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            env={**kept, "TMPDIR": temporary}, start_new_session=True,
        )  # fmt: skip
        limit = threading.Timer(LIMIT_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        limit.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        limit.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    error = what_went_wrong(process.returncode, wall, complained)
    told = {} if error else what_was_told(said)
    cpu = usage.ru_utime + usage.ru_stime
    tokens, parts, records = told.get("n_tokens", 0), told.get("parts", {}), told.get("n_records", 1)
    shutil.rmtree(SCRATCH)
    return Run(wall, tokens, usage.ru_maxrss * 1024, error, cpu, parts, records)


def what_was_told(said: Path) -> dict[str, Any]:
    """Return the JSON that a contestant printed; if it printed nothing, what `llmprep inspect` says of its output."""
    lines = said.read_text(encoding="utf-8").splitlines()
    if not lines and OUT.exists():
        inspect = (sys.executable, "-m", "llmprep", "inspect", str(OUT), "--json")
        lines = subprocess.run(inspect, capture_output=True, text=True, check=False).stdout.splitlines()
    found: dict[str, Any] = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return found


def what_went_wrong(code: int, wall: float, complained: Path) -> str:
    """Return the reason for a failure in one line, empty if there was none."""
    if code == 0:
        return ""
    if wall >= LIMIT_SECONDS:
        return f"stopped after {LIMIT_SECONDS} s"
    lines = complained.read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else f"exit code {code}"
