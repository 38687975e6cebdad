"""Processes in hard surroundings: limits, small disks, pipes and signals."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.commands import Ended, Result, clean_environment

Child = subprocess.Popen[bytes]


def ended_as(result: Result) -> Ended:
    """How a process ended, in the form of a command line that ran inside this process."""
    return Ended(result.returncode, result.stdout, result.stderr)


def shell(line: str, cwd: Path, env: Mapping[str, str] | None = None) -> Ended:
    """Run a line of bash, in which ``llmprep`` is the command."""
    defined = f'llmprep() {{ {shlex.quote(sys.executable)} -m llmprep "$@"; }}; '
    environment = clean_environment(env)
    return ended_as(
        subprocess.run(
            ["bash", "-c", defined + line], cwd=cwd, env=environment, capture_output=True, timeout=60, check=False
        )
    )


# --- limits ---------------------------------------------------------------------------------------


def limited(
    *, memory_kilobytes: int | None = None, file_kilobytes: int | None = None, open_files: int | None = None
) -> tuple[str, ...]:
    """The prefix of a command with limits: of its address space, the size of a file, the number of open files."""
    limits = {"v": memory_kilobytes, "f": file_kilobytes, "n": open_files}
    lines = [f"ulimit -{option} {limit}" for option, limit in limits.items() if limit is not None]
    return ("bash", "-c", " && ".join([*lines, 'exec "$@"']), "bash")


def unprivileged() -> tuple[str, ...]:
    """The prefix of a command that permissions apply to, also where root runs the tests; skips where that cannot be."""
    if os.geteuid() != 0:
        return ()
    dropped = "-dac_override,-dac_read_search"
    prefix = ("setpriv", "--bounding-set", dropped, "--inh-caps", dropped)
    if not shutil.which("setpriv") or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("root cannot drop its privileges here")
    return prefix


@contextlib.contextmanager
def file_size_limit(n_bytes: int) -> Iterator[None]:
    """Let this process write no file larger than this, as ``ulimit -f`` does."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def no_space(*_: object) -> None:
    """Fail as the system does where the disk is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _SmallDisk(io.FileIO):
    """A file on a disk with room for so many bytes: as the system does, it takes what fits, then fails."""

    room = 0

    def write(self, data: Any, /) -> int:
        """Write what fits."""
        if not _SmallDisk.room:
            no_space()
        part = memoryview(data).cast("B")[: _SmallDisk.room]
        _SmallDisk.room -= len(part)
        return super().write(part)


def small_disk(patch: pytest.MonkeyPatch, room: int) -> None:
    """Leave room for so many bytes in the files that this process opens for its outputs."""
    opened = os.fdopen

    def open_on_small_disk(descriptor: int, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if mode != "wb":
            return opened(descriptor, mode, *rest, **more)
        # a small buffer, so that any write may be the one that fails
        return io.BufferedWriter(_SmallDisk(descriptor, mode), buffer_size=64)

    patch.setattr(_SmallDisk, "room", room)
    patch.setattr(os, "fdopen", open_on_small_disk)


# --- processes that are looked at while they run --------------------------------------------------


def _default_signals() -> None:
    """Ignore no signal: where the tests run in the background, or under nohup, they ignore some themselves."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def running(
    *arguments: str | Path, cwd: Path, prefix: Sequence[str] = (), env: Mapping[str, str] | None = None, **choices: Any
) -> Iterator[Child]:
    """Start llmprep in a session of its own; whatever happens, no process of it outlives the block."""
    started: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "preexec_fn": _default_signals,
    }
    with subprocess.Popen(
        [*prefix, sys.executable, "-m", "llmprep", *arguments],
        cwd=cwd,
        env=clean_environment(env),
        start_new_session=True,
        **started | choices,
    ) as child:
        try:
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def finish(child: Child, seconds: float = 60) -> Ended:
    """Wait for the end of a process."""
    stdout, stderr = child.communicate(timeout=seconds)
    return Ended(child.returncode, stdout, stderr)


def wait_for(holds: Callable[[], object], child: Child | None = None, seconds: float = 30) -> None:
    """Wait until something holds, but no longer than the child lives."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert child is None or child.poll() is None, finish(child)
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def stop(child: Child, *signals: signal.Signals) -> tuple[Ended, float]:
    """Send signals one after the other; returns how the process ended, and how many seconds that took."""
    begun = time.monotonic()
    for number in signals:
        child.send_signal(number)
        time.sleep(0.002)
    child.wait(timeout=30)
    seconds = time.monotonic() - begun
    return finish(child), seconds


def has_temporary(folder: Path, n_bytes: int = 0) -> bool:
    """Whether a temporary file of llmprep's, of at least so many bytes, lies in a folder."""
    return any(path.stat().st_size >= n_bytes for path in folder.glob(".llmprep-*.tmp"))


# --- pipes ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def feeding(path: Path, data: bytes, part_bytes: int = 5000) -> Iterator[None]:
    """Make a FIFO, and write ``data`` into it in parts while the block reads it."""
    os.mkfifo(path)

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), path.open("wb", buffering=0) as file:
            for start in range(0, len(data), part_bytes):
                file.write(data[start : start + part_bytes])

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    yield
    thread.join(timeout=10)
    assert not thread.is_alive(), f"{path.name} was not read to its end"


@contextlib.contextmanager
def writing(fifo: Path, child: Child) -> Iterator[io.FileIO]:
    """Open a FIFO to write into as soon as the child has opened it to read."""
    opened: list[int] = []

    def has_reader() -> bool:
        with contextlib.suppress(OSError):
            opened.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        return bool(opened)

    wait_for(has_reader, child)
    os.set_blocking(opened[0], True)
    with io.FileIO(opened[0], "wb") as writer:
        yield writer
