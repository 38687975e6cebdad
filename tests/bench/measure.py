"""One contestant on one text, in a process of its own: how long, how much memory, how many bytes.

The runner must stay small: until a child has started its own program, it counts the runner's memory as its own.
"""

from __future__ import annotations

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
from typing import Self

from contestants import CONTESTANTS, command_of

HERE = Path(__file__).parent
LIMIT_SECONDS = 1200
SAMPLE_SECONDS = 0.1
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
        """Tokens of the text."""
        return self.runs[-1].tokens

    @property
    def peak(self) -> int:
        """The largest of all runs, in bytes."""
        return max(run.peak for run in self.runs)


def measure(name: str, text: Path, scratch: Path) -> Run:
    """Run a contestant once; what it wrote is measured and removed."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    os.sync()  # no contestant waits for another one's bytes
    said, complained = scratch / "stdout", scratch / "stderr"
    with said.open("wb") as out, complained.open("wb") as err:
        started = time.perf_counter()
        process = subprocess.Popen(
            command_of(name, text, scratch / "out"),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environment(scratch),
            start_new_session=True,
        )
        with Watch(process.pid, of_all=CONTESTANTS[name].processes) as watch:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    error = what_went_wrong(process.returncode, wall, complained)
    tokens = 0 if error else json.loads(said.read_text().splitlines()[-1])["n_tokens"]
    run = Run(wall, tokens, max(usage.ru_maxrss * 1024, watch.peak), size_of(scratch / "out"), error)
    shutil.rmtree(scratch)
    return run


def environment(scratch: Path) -> dict[str, str]:
    """Return a user's environment, with every cache inside the scratch folder and no network."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(DROPPED)}
    temporary = scratch / "tmp"
    temporary.mkdir()
    return {
        **kept,
        "TMPDIR": str(temporary),
        "HF_HOME": str(temporary / "hf"),
        "HF_HUB_OFFLINE": "1",
        "DATA_OPTIMIZER_CACHE_FOLDER": str(temporary / "chunks"),
        "DATA_OPTIMIZER_DATA_CACHE_FOLDER": str(temporary / "data"),
        "LITDATA_DISABLE_VERSION_CHECK": "1",
    }


def what_went_wrong(code: int, wall: float, complained: Path) -> str:
    """Return the reason for a failure in one line, empty if there was none."""
    if code == 0:
        return ""
    if wall >= LIMIT_SECONDS:
        return f"stopped after {LIMIT_SECONDS} s"
    lines = complained.read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else f"exit code {code}"


def size_of(path: Path) -> int:
    """Return the bytes of a file or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


class Watch:
    """Ends a process group after `LIMIT_SECONDS`; if ``of_all``, samples the memory of all its processes together."""

    def __init__(self, group: int, *, of_all: bool) -> None:
        self.peak = 0
        self._group = group
        self._stop = threading.Event()
        self._limit = threading.Timer(LIMIT_SECONDS, os.killpg, (group, signal.SIGKILL))
        self._sampler = threading.Thread(target=self._sample, daemon=True) if of_all else None

    def __enter__(self) -> Self:
        self._limit.start()
        if self._sampler:
            self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._limit.cancel()
        self._stop.set()
        if self._sampler:
            self._sampler.join()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, sum(map(resident, group_of(self._group))))


def group_of(group: int) -> list[Path]:
    """Return the processes of a group, as folders under /proc."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            found.append(folder)
    return found


def resident(folder: Path) -> int:
    """Return the memory of a process; what several share is divided among them."""
    try:
        lines = (folder / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
