"""Promises of memory, and of cores: limits are seen, and what the system does not have is done without."""

import ctypes
import mmap
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from llmprep.tokens import memory
from llmprep.tokens.cores import default_jobs

LIMITED = """
import resource
from llmprep.tokens import cores, memory
print(memory.is_memory_limited())
memory.require_memory(1 << 50)
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.RLIM_INFINITY))
print(memory.is_memory_limited(), cores.default_jobs())
print(memory.require_memory(1 << 20))
memory.require_memory(8 << 30)
"""


@pytest.mark.skipif(memory.is_memory_limited(), reason="these tests run under a limit")
def test_a_limit_is_seen() -> None:
    """Under a limit one job runs, and what is more than it leaves is a `MemoryError`; without one nothing is."""
    ended = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert ended.stdout.splitlines() == ["False", "True 1", "None"]
    assert ended.stderr.rstrip().endswith("MemoryError")


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells it")
def test_resident_memory_is_measured() -> None:
    """The figure grows by about what is taken and touched."""
    before = memory.resident_bytes()
    held = np.ones(64 << 20, np.uint8)
    assert (48 << 20) <= memory.resident_bytes() - before <= (80 << 20)
    assert held.all()


def test_what_the_system_lacks_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``resource``, /proc or malloc_trim there is no limit and no figure; all cores count, or unknown, one."""
    refuse = Mock(side_effect=OSError)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for n_cores, jobs in ((5, 5), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda n_cores=n_cores: n_cores)
        assert default_jobs(tmp_path) == jobs
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(mmap, "mmap", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    assert not memory.is_memory_limited()
    memory.require_memory(1 << 60)
    assert memory.resident_bytes() == 0
    for lacking in (object(), OSError):
        monkeypatch.setattr(ctypes, "CDLL", Mock(side_effect=[lacking]))
        memory.return_freed_memory()


ROOT, OWN = "sys/fs/cgroup/", "proc/self/cgroup"
QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"
GROUPS = [
    ({}, 64),
    ({"cpu.max": "150000 100000"}, 2),
    ({"cpu.max": "max 100000"}, 64),
    ({"cpu.max": "99900000 100000"}, 64),
    ({OWN: "0::/a/b", "a/b/cpu.max": "300000 100000"}, 3),
    ({OWN: "0::/a/b", "a/b/cpu.max": "300000 100000", "a/cpu.max": "100000 100000"}, 1),
    ({OWN: "4:memory:/x\n3:cpu,cpuacct:/x", f"cpu,cpuacct/{QUOTA}": "4", f"cpu,cpuacct/{PERIOD}": "1"}, 4),
    ({OWN: "3:cpuacct,cpu:/x", f"cpu/x/{QUOTA}": "100000", f"cpu/x/{PERIOD}": "50000"}, 2),
    ({f"cpu/{QUOTA}": "-1", f"cpu/{PERIOD}": "100000"}, 64),
    ({"cpu.max": "1 0", OWN: "x"}, 64),
]
"""What control groups of both versions say, and how many jobs that makes on 64 cores."""


@pytest.mark.parametrize(("files", "jobs"), GROUPS)
def test_a_quota_bounds_the_jobs(
    files: dict[str, str], jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 64 cores that a process is bound to, as many are used as its control groups allow, at least one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    for name, text in files.items():
        path = tmp_path / (name if name == OWN else ROOT + name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert default_jobs(tmp_path) == jobs
