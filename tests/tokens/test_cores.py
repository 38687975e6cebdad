"""Promises of cores: those that a process is bound to, and no more than its control groups allow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmprep.tokens.cores import default_jobs

OWN = "proc/self/cgroup"
SECOND = "sys/fs/cgroup/cpu.max"
QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"
GROUPS: dict[str, tuple[dict[str, str], int]] = {
    "none": ({}, 64),
    "version 2": ({SECOND: "200000 100000"}, 2),
    "half a core": ({SECOND: "50000 100000"}, 1),
    "a core and a half": ({SECOND: "150000 100000"}, 2),
    "no limit": ({SECOND: "max 100000"}, 64),
    "more than there are": ({SECOND: "99900000 100000"}, 64),
    "its own group": ({OWN: "0::/a.slice/b", "sys/fs/cgroup/a.slice/b/cpu.max": "300000 100000"}, 3),
    "a group above": (
        {
            OWN: "0::/a.slice/b",
            "sys/fs/cgroup/a.slice/b/cpu.max": "300000 100000",
            "sys/fs/cgroup/a.slice/cpu.max": "100000 100000",
        },
        1,
    ),
    "version 1": (
        {
            OWN: "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x",
            f"sys/fs/cgroup/cpu,cpuacct/{QUOTA}": "400000",
            f"sys/fs/cgroup/cpu,cpuacct/{PERIOD}": "100000",
        },
        4,
    ),
    "version 1, another order": (
        {
            OWN: "3:cpuacct,cpu:/docker/x",
            f"sys/fs/cgroup/cpu/docker/x/{QUOTA}": "100000",
            f"sys/fs/cgroup/cpu/docker/x/{PERIOD}": "50000",
        },
        2,
    ),
    "version 1, no limit": ({f"sys/fs/cgroup/cpu/{QUOTA}": "-1", f"sys/fs/cgroup/cpu/{PERIOD}": "100000"}, 64),
    "nonsense": ({SECOND: "1 0", OWN: "x"}, 64),
}


@pytest.mark.parametrize(("files", "expected"), list(GROUPS.values()), ids=list(GROUPS))
def test_a_quota_bounds_the_jobs(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 64 cores that a process is bound to, as many are used as its control groups allow, at least one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")

    assert default_jobs(tmp_path) == expected


def test_all_cores_are_used_where_nothing_binds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not tell which cores a process is bound to, all of them count; unknown, one."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for n_cores, jobs in ((5, 5), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda n_cores=n_cores: n_cores)
        assert default_jobs(tmp_path) == jobs
