"""Promises of cores: those that a process is bound to, and no more than its control groups allow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmprep.tokens.cores import default_jobs

GROUPS = {
    "none": ({}, 64),
    "version 2": ({"cpu.max": "200000 100000"}, 2),
    "half a core": ({"cpu.max": "50000 100000"}, 1),
    "a core and a half": ({"cpu.max": "150000 100000"}, 2),
    "no limit": ({"cpu.max": "max 100000"}, 64),
    "more than there are": ({"cpu.max": "99900000 100000"}, 64),
    "its own group": ({"own": "0::/a/b", "a/b/cpu.max": "300000 100000"}, 3),
    "a group above": ({"own": "0::/a/b", "a/b/cpu.max": "300000 100000", "a/cpu.max": "100000 100000"}, 1),
    "version 1": (
        {"own": "4:memory:/x\n3:cpu,cpuacct:/x", "cpu,cpuacct/quota": "400000", "cpu,cpuacct/period": "100000"},
        4,
    ),
    "version 1, another order": ({"own": "3:cpuacct,cpu:/x", "cpu/x/quota": "100000", "cpu/x/period": "50000"}, 2),
    "version 1, no limit": ({"cpu/quota": "-1", "cpu/period": "100000"}, 64),
    "nonsense": ({"cpu.max": "1 0", "own": "x"}, 64),
}
"""What control groups say, by short names of their files, and how many jobs that makes on 64 cores."""


@pytest.mark.parametrize("name", GROUPS)
def test_a_quota_bounds_the_jobs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 64 cores that a process is bound to, as many are used as its control groups allow, at least one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    files, expected = GROUPS[name]
    for short, text in files.items():
        full = short.replace("quota", "cpu.cfs_quota_us").replace("period", "cpu.cfs_period_us")
        path = tmp_path / ("proc/self/cgroup" if short == "own" else f"sys/fs/cgroup/{full}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    assert default_jobs(tmp_path) == expected


def test_all_cores_are_used_where_nothing_binds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not tell which cores a process is bound to, all of them count; unknown, one."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for n_cores, jobs in ((5, 5), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda n_cores=n_cores: n_cores)
        assert default_jobs(tmp_path) == jobs
