"""Promises of memory: limits are seen, and what the system does not have is done without."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys

import numpy as np
import pytest

from llmprep.tokens import memory

LIMITED = """
import resource
from llmprep.tokens import cores, memory
print(memory.is_memory_limited())
memory.require_memory(1 << 50)
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.RLIM_INFINITY))
print(memory.is_memory_limited(), cores.default_jobs())
memory.require_memory(1 << 20)
memory.require_memory(8 << 30)
"""


@pytest.mark.skipif(memory.is_memory_limited(), reason="these tests run under a limit")
def test_a_limit_is_seen() -> None:
    """Under a limit one job runs, and what is more than it leaves is a `MemoryError`; without one nothing is."""
    ended = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)

    assert ended.stdout.splitlines() == ["False", "True 1"]
    assert ended.stderr.rstrip().endswith("MemoryError")


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells it")
def test_resident_memory_is_measured() -> None:
    """The figure grows by about what is taken and touched."""
    before = memory.resident_bytes()

    held = np.ones(64 << 20, np.uint8)

    assert (48 << 20) <= memory.resident_bytes() - before <= (80 << 20)
    assert held.all()


def test_what_the_system_lacks_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``resource``, /proc or malloc_trim there is no limit, nothing is resident, and nothing is given back."""

    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(mmap, "mmap", refuse)
    monkeypatch.setattr("builtins.open", refuse)

    assert not memory.is_memory_limited()
    memory.require_memory(1 << 60)
    assert memory.resident_bytes() == 0
    for lacking in (object, refuse):
        monkeypatch.setattr(ctypes, "CDLL", lambda _, made=lacking: made())
        memory.return_freed_memory()
