"""Promises of workers: where calls run changes nothing, a worker's death is never silent, and none is left.

Last, of workers on a Ray cluster.
"""

import errno
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from multiprocessing import util
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import working
from support.processes import finish, running, wait_for
from support.stores import build, contents, receipts_of, write_files

from llmprep.errors import DataError, UsageError, WorkerDiedError
from llmprep.store.executors import InProcess
from llmprep.store.processes import local_processes
from llmprep.store.shards import run_jobs

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not show its processes")


@needs_proc
def test_local_processes_are_other_processes_and_end(tmp_path: Path) -> None:
    """Calls run in other processes, which leave the current folder and Ctrl-C alone; an error is tried once."""
    tally, flags = tmp_path / "tally", util._args_from_interpreter_flags()  # type: ignore[attr-defined]
    with local_processes(2) as executor:
        workers = {executor.submit(working.tell_process).result() for _ in range(4)}
        error = executor.submit(working.fail_with, "a.txt: bad").exception()
        full = executor.submit(working.run_out_of_space, str(tally)).exception()
        for worker in workers:
            os.kill(worker, signal.SIGINT)
        assert executor.submit(working.tell_start).result() == (True, False)
        assert executor.submit(working.tell_process).result() in workers
    assert util._args_from_interpreter_flags() == flags  # type: ignore[attr-defined]
    assert os.getpid() not in workers
    assert 1 <= len(workers) <= 2
    assert (type(error), str(error)) == (DataError, "a.txt: bad")
    assert isinstance(full, OSError)
    assert (full.errno, full.filename, tally.read_text()) == (errno.ENOSPC, "/some/where", "x")
    assert not any(map(working.runs, workers))


@needs_proc
@pytest.mark.slow
def test_an_error_ends_the_workers_at_once(tmp_path: Path) -> None:
    """When the block is left by an error, workers clean up and end; other processes of the program are left alone."""
    other = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    other.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), local_processes(2) as executor:  # noqa: PT012
        for _ in range(4):
            executor.submit(working.work_long, str(tmp_path))
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
        workers = {*working.workers_of(os.getpid())} - {other.pid}
        raise KeyboardInterrupt
    assert time.monotonic() - begun < 20
    assert (len(workers), list(tmp_path.iterdir()), any(map(working.runs, workers))) == (2, [], False)
    assert other.is_alive()
    other.kill()
    other.join()


def test_a_death_of_a_process_is_one_calls() -> None:
    """When a process dies, its call fails, those of the others do not, and another process takes its place."""
    with local_processes(2) as workers:
        dying = workers.submit(working.end_at_once)
        others = [workers.submit(working.tell_process) for _ in range(6)]
        assert isinstance(dying.exception(), WorkerDiedError)
        assert all(future.result() for future in others)


@pytest.mark.slow
def test_a_signal_while_workers_start_leaves_nothing_and_no_word(story: Path, tmp_path: Path) -> None:
    """Whenever it comes: a process half started would say that it ran out of input, and leave its semaphores."""
    for milliseconds in range(70, 310, 20):
        with running("tokenize", story, "-o", "s/", "--shard-bytes", "9000", "-j", "2", cwd=tmp_path) as child:
            time.sleep(milliseconds / 1000)
            child.terminate()
            ended = finish(child)
        assert ended.code in (0, 143, -signal.SIGTERM), milliseconds  # the last: it was not ready yet
        assert ended.stderr == b"", milliseconds


@given(count=st.integers(0, 12), deaths=st.dictionaries(st.integers(0, 11), st.integers(0, 3), max_size=6))
def test_each_job_is_done_once_or_one_is_named(count: int, deaths: dict[int, int]) -> None:
    """A job whose worker dies once is done all the same, and once; the first whose worker dies twice is named."""
    done: list[int] = []
    left = Counter(deaths)
    die = Mock(side_effect=WorkerDiedError("a process was terminated abruptly"))

    def answer(number: int) -> Future[Any]:
        left[number] -= 1
        return InProcess().submit(working.tell_process if left[number] < 0 else die)

    twice = [number for number in range(count) if deaths.get(number, 0) > 1]
    expected = pytest.raises(WorkerDiedError, match=f"^shard {min(twice)}: its worker died twice") if twice else None
    workers = Mock(slots=1, submit=lambda _, job: answer(job.number))
    with expected or nullcontext():
        run_jobs([Mock(number=number) for number in range(count)], workers, lambda job, _: done.append(job.number))
    assert len(set(done)) == len(done)
    assert set(done) >= {number for number in range(count) if not (twice and deaths.get(number))}


def test_two_jobs_are_in_flight_for_each_worker() -> None:
    """Jobs are handed out a few at a time, however many there are: one to work on, one to go on with."""
    with ThreadPoolExecutor(1) as threads:
        begun: list[Future[Any]] = []
        in_flight = []

        def begin(*_: object) -> Future[Any]:
            begun.append(threads.submit(time.sleep, 0.01))
            in_flight.append(sum(not each.done() for each in begun))
            return begun[-1]

        run_jobs([Mock()] * 21, Mock(slots=2, submit=begin), lambda *_: None)
    assert (max(in_flight), len(begun)) == (4, 21)


def test_a_jobs_own_error_is_not_tried_again() -> None:
    """An error that a job raises, as of a bad file, is raised before more are begun; an interrupt is no result."""
    workers = Mock(slots=1)
    workers.submit.return_value = InProcess().submit(working.fail_with, "bad.txt: not valid UTF-8")
    with pytest.raises(DataError, match=r"^bad\.txt: not valid UTF-8$"):
        run_jobs([Mock()] * 5, workers, lambda *_: None)
    assert workers.submit.call_count == 1
    with pytest.raises(KeyboardInterrupt):
        InProcess().submit(Mock(side_effect=KeyboardInterrupt))


ON_RAY = ("tokenize", "--executor", "ray", "--backend", "tiktoken")


@pytest.mark.slow
def test_ray_survives_a_node_and_writes_the_same_bytes(story: Path, here: Path) -> None:
    """On a cluster that has no core at first, which is said, and loses a node mid-run, the store is the same."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    write_files(here, {"long.txt": story.read_bytes() * 300})
    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    options = ("long.txt", "-o", "s/", "--shard-bytes", "600000", "--address", cluster.address, "--json")
    try:
        with running(*ON_RAY, *options, cwd=here) as process:
            assert process.stderr is not None
            said = process.stderr.readline()
            begun = bool(receipts_of("s"))
            cluster.add_node(num_cpus=1)
            node = cluster.add_node(num_cpus=1)
            wait_for(lambda: len(receipts_of("s")) >= 2, process, seconds=60)
            cluster.remove_node(node, allow_graceful=False)
            unfinished = not Path("s/manifest.json").exists()
            ended = finish(process, 120)
    finally:
        cluster.shutdown()
    assert (said, begun) == (b"llmprep: note: waiting: the cluster has 0 free cores\n", False)
    assert (ended.code, unfinished) == (0, True), ended
    assert ended.value["command"] == "tokenize"
    build("long.txt", "local", 600_000)
    assert contents("s") == contents("local")


@pytest.mark.slow
def test_ray_started_here_gives_errors_as_they_are(story: Path, here: Path, vocab_dir: Path) -> None:
    """Without an address Ray is started here; the vocabulary travels; a bad file gets its one line and exit code."""
    pytest.importorskip("ray")
    trap = "raise SystemExit('the current folder is no place for modules')"
    write_files(here, {"good.txt": story.read_bytes(), "bad.txt": b"well " * 1000 + b"\x92", "numpy.py": trap})
    options = ("--encoding", "cl100k_base", "--vocab-dir", str(vocab_dir), "--shard-bytes", "20000")
    with running(*ON_RAY, "good.txt", "-o", "good/", *options, cwd=here) as process:
        good = finish(process, 120)
    with running(*ON_RAY, "good.txt", "bad.txt", "-o", "bad/", *options, cwd=here) as process:
        bad = finish(process, 120)
    assert (good.code, good.notes) == (0, [])
    assert good.lines[-1].startswith("good: 2 shards, uint32")
    assert (bad.code, bad.lines) == (3, [])
    (line,) = bad.notes
    assert line.startswith("llmprep: error: bad.txt: not valid UTF-8 at byte 5000 (0x92); convert it to UTF-8 first")


def test_ray_is_an_extra(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ray, one line names the extra; a folder that was begun can be finished without it."""
    paths = write_files(here, {"a.txt": "some text"})
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"^--executor ray: needs an extra: pip install 'llmprep\[ray\]'$"):
        build(paths, "s", executor="ray")
    build(paths, "s")
