"""Calls for worker processes, which find them by name."""

import errno
import os
import signal
import sys
import time
from pathlib import Path

from llmprep.errors import DataError
from llmprep.output.checking import check_output
from llmprep.output.writing import open_output

tell_process = os.getpid


def tell_start() -> tuple[bool, bool]:
    """Whether this process was started with a safe path, and whether one that it starts would be."""
    return sys.flags.safe_path, "PYTHONSAFEPATH" in os.environ


def fail_with(message: str) -> None:
    """Fail as a bad file makes a call fail."""
    raise DataError(message)


def run_out_of_space(tally: str) -> None:
    """Fail as the system does, and leave a mark of the attempt."""
    with Path(tally).open("a") as file:
        file.write("x")
    raise OSError(errno.ENOSPC, "No space left on device", "/some/where")


def end_at_once() -> None:
    """Die as a killed process does."""
    os.kill(os.getpid(), signal.SIGKILL)


def work_long(folder: str) -> None:
    """Write a file for long; what is there meanwhile is temporary."""
    with open_output(check_output(str(Path(folder) / str(os.getpid())))) as sink:
        sink.write(b"begun")
        time.sleep(60)


def workers_of(parent: int) -> list[int]:
    """The worker processes that any thread of a process has started."""
    lists = Path(f"/proc/{parent}/task").glob("*/children")
    pids = [pid for children in lists for pid in children.read_text().split()]
    return [int(pid) for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not fetched yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
