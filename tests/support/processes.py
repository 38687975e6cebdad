"""Processes in hard surroundings: limits, small disks, pipes and signals."""

import contextlib
import errno
import io
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from support.commands import Ended, Result, clean_environment

Child = subprocess.Popen[bytes]


def ended_as(result: Result) -> Ended:
    """How a process ended, in the form of a command line that ran inside this process."""
    return Ended(result.returncode, result.stdout, result.stderr)


def shell(line: str, cwd: Path, **variables: str) -> Ended:
    """Run a line of bash, in which ``llmprep`` is the command."""
    script = f'llmprep() {{ {shlex.quote(sys.executable)} -m llmprep "$@"; }}; {line}'
    environment = clean_environment(variables)
    command = ["bash", "-c", script]
    return ended_as(subprocess.run(command, cwd=cwd, env=environment, capture_output=True, timeout=60, check=False))


# --- limits ---------------------------------------------------------------------------------------


def limited(option: str, limit: int) -> tuple[str, ...]:
    """The prefix of a command under ``ulimit``."""
    return ("bash", "-c", f'ulimit {option} {limit} && exec "$@"', "bash")


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
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def no_space(*_: object) -> NoReturn:
    """Fail as the system does where the disk is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def small_disk(patch: pytest.MonkeyPatch, room: int) -> None:
    """Leave room for so many bytes in the files that this process opens for its outputs; what fits is written."""
    opened = os.fdopen

    class Disk(io.FileIO):
        def write(self, data: Any, /) -> int:
            nonlocal room
            part = memoryview(data).cast("B")[:room]
            room -= len(part)
            return super().write(part) if part else no_space()

    def open_on_disk(descriptor: int, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if mode != "wb":
            return opened(descriptor, mode, *rest, **more)
        return io.BufferedWriter(Disk(descriptor, mode), 64)  # so small that any write may be the one that fails

    patch.setattr(os, "fdopen", open_on_disk)


# --- processes that are looked at while they run --------------------------------------------------


def _default_signals() -> None:
    """Ignore no signal: where the tests run in the background, or under nohup, they ignore some themselves."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def running(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None, stdin: int = subprocess.DEVNULL
) -> Iterator[Child]:
    """Start llmprep in a session of its own; whatever happens, no process of it outlives the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "llmprep", *arguments], cwd=cwd, env=clean_environment(env), stdin=stdin,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=_default_signals,  # noqa: PLW1509 - which does no more than that
    ) as child:  # fmt: skip
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
