"""Promises of a build that is stopped: what is finished is kept, nothing half done stays, the rest is built later."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import numpy as np
import pytest
from support import stores
from support.commands import SAMPLES
from support.processes import finish, no_space, running, wait_for
from support.stores import SHARD_BYTES, build, contents, receipts_of, temporaries, write_files, written_at
from support.working import runs, workers_of

from llmprep.errors import OutputError


@pytest.mark.parametrize("step", range(6))
def test_no_space_at_any_step_harms_nothing(step: int, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever file cannot be put in place, the plan, a shard, a receipt or the manifest, the next run ends well."""
    paths = write_files(here, {"a.txt": "one two three", "b.txt": "four"})
    build(paths, "expected", 10)
    answers: list[Callable[[Any, Any], None]] = [*[os.replace] * step, no_space]

    def replace(source: object, target: object) -> None:
        answers.pop(0)(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(OutputError, match="no space left on the device"):
            build(paths, "s", 10)
    assert (temporaries("s"), answers) == ([], [])
    kept = dict(sorted(written_at("s").items())[: len(receipts_of("s"))])
    build(paths, "s", 10)
    assert contents("s") == contents("expected")
    assert written_at("s").items() >= kept.items()


@pytest.mark.slow
def test_a_build_survives_kills_at_random_moments(built: Path, corpus: Path, here: Path) -> None:
    """Killed at any moment, the same command goes on, writes nothing twice, and ends with the same bytes."""
    draw, n_met = np.random.default_rng(2), 0
    finished: dict[str, tuple[int, int]] = {}
    for number in range(14):
        options = ("--shard-bytes", str(SHARD_BYTES), "--jobs", str(1 + number % 2))
        with running("tokenize", corpus, "-o", "s/", *options, cwd=here) as process:
            with suppress(TimeoutExpired):
                process.wait(draw.uniform(0.05, 0.5))
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            ended = finish(process)
        n_met += ended.code == -signal.SIGKILL
        assert ended.code in (0, -signal.SIGKILL), ended
        now = written_at("s")
        assert {name: now.get(name) for name in finished} == finished
        receipts = map(stores.stated, Path("s/receipts").glob("0*.json"))
        finished = {receipt["file"]: now[receipt["file"]] for receipt in receipts}
    build(corpus, "s")
    assert n_met > 0
    assert (contents("s"), temporaries("s")) == (contents(built), [])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_build_ends_at_once_with_its_workers(number: signal.Signals, here: Path) -> None:
    """Ctrl-C (to all its processes), SIGTERM and SIGKILL end a build within seconds: no worker or temporary stays."""
    write_files(here, {"long.txt": (SAMPLES / "story.txt").read_bytes() * 400})
    options = ("--shard-bytes", "1000000", "--backend", "tiktoken", "--jobs", "2")
    with running("tokenize", "long.txt", "-o", "s/", *options, cwd=here) as process:
        wait_for(lambda: receipts_of("s"), process)
        workers = workers_of(process.pid)
        code = -number if number == signal.SIGKILL else 128 + number
        started = time.monotonic()
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        ended = finish(process)
        assert time.monotonic() < started + 3
        assert (ended.code, ended.stdout, len(workers)) == (code, b"", 2)
        assert ended.stderr == b"" or number == signal.SIGKILL  # then Python's tracker of semaphores has a word
        wait_for(lambda: not any(map(runs, workers)), seconds=3)
    assert (temporaries("s"), Path("s/manifest.json").exists()) == ([], False)
    assert written_at("s")
