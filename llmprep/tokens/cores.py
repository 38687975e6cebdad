"""How many cores this process may use: those it is bound to, and no more than a container's quota allows."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from llmprep.tokens.memory import is_memory_limited

ROOT = Path("/")


def default_jobs(root: Path = ROOT) -> int:
    """Return how many jobs to run where none were chosen; ``root`` is where /proc and /sys are.

    Where the system does not tell which cores a process is bound to, or has no control groups, all cores count.
    """
    if is_memory_limited():
        return 1  # each thread takes address space of its own
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *map(math.ceil, _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Yield how many cores each control group of this process may use, from its own group up to the root."""
    mount = root / "sys" / "fs" / "cgroup"
    for controllers, place in _groups(root):
        names = [controllers, "cpu"] if controllers else ["", "unified"]
        for folder in (place, *place.parents):
            for name in names:
                yield from _quota(mount / name / str(folder).lstrip("/"))


def _groups(root: Path) -> Iterator[tuple[str, PurePosixPath]]:
    """Yield (controllers, path) of the groups of version 2, which name none, and of version 1 that may limit cores.

    In a container the paths may be the host's, of which only the root group is visible: that one is always looked at.
    """
    yield from (("", PurePosixPath("/")), ("cpu,cpuacct", PurePosixPath("/")))
    with suppress(OSError, ValueError):
        for line in (root / "proc" / "self" / "cgroup").read_text(errors="replace").splitlines():
            _, controllers, place = line.split(":", 2)
            if not controllers or "cpu" in controllers.split(","):
                yield controllers, PurePosixPath(place)


def _quota(folder: Path) -> Iterator[float]:
    """Yield the quota that a group's files state, in cores; nothing where it has no such file, or no limit."""
    with suppress(OSError, ValueError, ZeroDivisionError):  # "max" is no number
        paid, period = (folder / "cpu.max").read_text().split()
        yield int(paid) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        if quota > 0:
            yield quota / int((folder / "cpu.cfs_period_us").read_text())
