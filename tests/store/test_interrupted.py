"""Promises of a build that is stopped: what is finished is kept, nothing half done stays, the rest is built later."""

from __future__ import annotations

import errno
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import numpy as np
import pytest
from support.commands import SAMPLES
from support.processes import file_size_limit, finish, running, wait_for
from support.reference import encode
from support.stores import (
    EOT,
    SHARD_BYTES,
    build,
    contents,
    receipts_of,
    stated,
    stream_of,
    temporaries,
    write_files,
    written_at,
)
from support.working import runs, workers_of

from llmprep.errors import DataError, OutputError


def test_a_full_disk_leaves_a_store_that_resumes(here: Path) -> None:
    """A shard that finds no space ends the run with one line; what was finished is kept, the rest is built later."""
    short, story = "a short text " * 50, (SAMPLES / "story.txt").read_text(encoding="utf-8")
    paths = write_files(here, {"a.txt": short, "b.txt": story})

    with (
        file_size_limit(8192),
        pytest.raises(OutputError, match=r"^s/tokens-00001\.pt: the file-size limit is reached"),
    ):
        build(paths, "s", len(story.encode()))

    assert [*written_at("s")] == ["tokens-00000.pt"]
    assert not temporaries("s")
    assert not Path("s/manifest.json").exists()
    assert build(paths, "s", len(story.encode())).notes == ["s: 1 of 2 shards are done already"]
    assert stream_of("s") == [*encode(short), EOT, *encode(story)]


def test_no_space_at_any_step_leaves_a_store_that_resumes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever file cannot be put in place, the plan, a shard, a receipt or the manifest, the next run ends well."""
    paths = write_files(here, {"a.txt": "one two three"})
    build(paths, "expected")
    replace = os.replace
    for step in range(4):
        calls = iter(range(100))

        def fail_once(source: Any, target: Any, step: int = step, calls: Iterator[int] = calls) -> None:
            if next(calls) == step:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", fail_once)
            with pytest.raises(OutputError, match="no space left on the device"):
                build(paths, f"s{step}")
        assert not temporaries(f"s{step}")
        build(paths, f"s{step}")
        assert contents(f"s{step}") == contents("expected")


@pytest.mark.slow
def test_a_build_survives_kills_at_random_moments(built: Path, corpus: Path, here: Path) -> None:
    """Killed at any moment, all its processes at once, the same command goes on and ends with the same bytes.

    What was finished before a kill is not written again, and no temporary file stays.
    """
    draw, kills = np.random.default_rng(2), 14
    finished: dict[str, tuple[int, int]] = {}
    n_met = 0
    for number in range(kills + 1):
        jobs = str(1 + number % 2)
        command = ("tokenize", corpus, "-o", "s/", "--shard-bytes", str(SHARD_BYTES), "--jobs", jobs)
        with running(*command, cwd=here) as process:
            if number < kills:
                with suppress(TimeoutExpired):
                    process.wait(draw.uniform(0.05, 0.5))
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            ended = finish(process)
        n_met += ended.code == -signal.SIGKILL
        assert ended.code in (0, -signal.SIGKILL), ended
        now = written_at("s")
        assert {name: now.get(name) for name in finished} == finished
        finished = {name: now[name] for name in (stated(path)["file"] for path in Path("s/receipts").glob("0*.json"))}

    assert n_met > 0
    assert contents("s") == contents(built)
    assert not temporaries("s")


@pytest.mark.slow
def test_a_worker_that_dies_twice_is_named(built: Path, corpus: Path, here: Path) -> None:
    """When the second try dies as well, one line names the shard, and the same command goes on later."""
    command = ("tokenize", corpus, "-o", "s/", "--shard-bytes", str(SHARD_BYTES), "--jobs", "2")
    with running(*command, cwd=here) as process:
        while process.poll() is None:
            with suppress(OSError):
                for pid in workers_of(process.pid):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        ended = finish(process)

    assert (ended.code, ended.stdout) == (1, b"")
    assert re.fullmatch(r"llmprep: error: shard [01]: its worker died twice .*", "\n".join(ended.notes))
    assert not Path("s/manifest.json").exists()
    build(corpus, "s")
    assert contents("s") == contents(built)
    assert not temporaries("s")


@pytest.mark.slow
def test_an_unusable_file_is_named_by_any_worker(mine: Path) -> None:
    """Text that is not UTF-8 ends a parallel build with the line that any other build gives, the rest kept."""
    write_files(mine, {"z_bad.txt": b"well " * 3000 + b"\x92" + b" well" * 3000})
    for jobs in (2, 1):
        with pytest.raises(DataError, match=r"^mine/z_bad\.txt: not valid UTF-8 at byte 15000 \(0x92\)"):
            build(mine, "s", jobs=jobs)
    assert len(receipts_of("s")) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_build_ends_at_once_with_its_workers(number: signal.Signals, here: Path) -> None:
    """Ctrl-C (to all its processes) and SIGTERM end a build within about a second: no word, worker or temporary."""
    write_files(here, {"long.txt": (SAMPLES / "story.txt").read_bytes() * 400})
    options = ("--shard-bytes", "1000000", "--backend", "tiktoken", "--jobs", "2")
    with running("tokenize", "long.txt", "-o", "s/", *options, cwd=here) as process:
        wait_for(lambda: receipts_of("s"), process)
        workers = workers_of(process.pid)
        started = time.monotonic()
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        ended = finish(process)
        took = time.monotonic() - started

        assert (ended.code, ended.stdout, ended.stderr) == (128 + number, b"", b"")
        assert took < 3
        assert workers
        wait_for(lambda: not any(map(runs, workers)), seconds=3)
    assert not temporaries("s")
    assert not Path("s/manifest.json").exists()
    assert written_at("s")
