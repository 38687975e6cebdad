"""Promises of executors: where shards are built changes no byte, and a worker's death is never silent."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing import util
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import Call, clean_environment

from llmprep.choices import TextOptions
from llmprep.errors import DataError, WorkerDiedError
from llmprep.output.checking import check_output
from llmprep.output.writing import open_output
from llmprep.store.executors import InProcess
from llmprep.store.processes import local_processes
from llmprep.store.shards import ShardJob, run_jobs
from llmprep.tokens.cores import default_jobs


def wait_until(holds: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not fetched yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --- jobs for workers: they must be found by name in a fresh process -------------------------------


def tell_process() -> int:
    return os.getpid()


def tell_start() -> tuple[bool, bool]:
    """Whether this process was started with a safe path, and whether one that it starts would be."""
    return sys.flags.safe_path, "PYTHONSAFEPATH" in os.environ


def fail_with(message: str) -> None:
    raise DataError(message)


def run_out_of_space(tally: str) -> None:
    """Fail as the system does, and leave a mark of the attempt."""
    with Path(tally).open("a") as file:
        file.write("x")
    raise OSError(errno.ENOSPC, "No space left on device", "/some/where")


def end_at_once() -> None:
    """Die as a killed process does."""
    os.kill(os.getpid(), signal.SIGKILL)


def work_long(folder: str) -> None:
    """Write a file for long; what is there meanwhile is temporary."""
    with open_output(check_output(str(Path(folder) / str(os.getpid())))) as sink:
        sink.write(b"begun")
        time.sleep(60)


def workers_of(parent: int) -> list[int]:
    """The worker processes that any thread of a process has started."""
    lists = Path(f"/proc/{parent}/task").glob("*/children")
    pids = [pid for children in lists for pid in children.read_text().split()]
    return [int(pid) for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


# --- in this process and in others -----------------------------------------------------------------


def test_in_process_runs_at_once() -> None:
    """The call has run, here, when its future is returned; its error belongs to the future."""
    executor = InProcess()

    answer, error = executor.submit(tell_process), executor.submit(fail_with, "a.txt: bad")

    assert answer.done()
    assert answer.result() == os.getpid()
    assert isinstance(error.exception(), DataError)


def test_in_process_lets_an_interrupt_pass() -> None:
    """An interrupt is nobody's result."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        InProcess().submit(interrupt)


def test_local_processes_are_other_processes_and_end() -> None:
    """Calls run in processes of their own; a call's error comes back as it was; afterwards none runs."""
    with local_processes(2) as executor:
        workers = {executor.submit(tell_process).result() for _ in range(4)}
        error = executor.submit(fail_with, "a.txt: bad").exception()

    assert os.getpid() not in workers
    assert 1 <= len(workers) <= 2
    assert isinstance(error, DataError)
    assert str(error) == "a.txt: bad"
    assert not any(map(runs, workers))


@pytest.mark.parametrize("error", [DataError, KeyboardInterrupt, SystemExit], ids=lambda kind: kind.__name__)
def test_an_error_ends_the_workers_at_once(error: type[BaseException], tmp_path: Path) -> None:
    """When the block is left by an error, workers clean up and end, however long their work would take."""
    workers: list[int] = []

    def fail_while_they_work() -> None:
        with local_processes(2) as executor:
            for _ in range(4):
                executor.submit(work_long, str(tmp_path))
            wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
            workers.extend(workers_of(os.getpid()))
            raise error

    started = time.monotonic()
    with pytest.raises(error):
        fail_while_they_work()

    assert time.monotonic() - started < 20
    assert len(workers) == 2
    assert not any(map(runs, workers))
    assert list(tmp_path.iterdir()) == []


def test_workers_start_with_a_safe_path_and_nothing_else_does() -> None:
    """A worker's start does not search the current folder; what a user's own program starts is as it was."""
    before = util._args_from_interpreter_flags()  # type: ignore[attr-defined]

    with local_processes(1) as executor:
        assert executor.submit(tell_start).result() == (True, False)

        assert util._args_from_interpreter_flags() == before  # type: ignore[attr-defined]
        assert "PYTHONSAFEPATH" not in os.environ


def test_workers_leave_ctrl_c_to_their_parent(tmp_path: Path) -> None:
    """Ctrl-C reaches all processes of a terminal, but only the parent decides what it means."""
    with local_processes(1) as executor:
        worker = executor.submit(tell_process).result()
        os.kill(worker, signal.SIGINT)

        assert executor.submit(tell_process).result() == worker


@pytest.mark.slow
def test_a_signal_while_workers_start_leaves_nothing_and_no_word(story: Path, tmp_path: Path) -> None:
    """Whenever it comes: a process half started would say that it ran out of input, and leave its semaphores."""
    command = [sys.executable, "-m", "llmprep", "tokenize", str(story), "-o", "s/", "--shard-bytes", "9000", "-j", "2"]
    for milliseconds in range(70, 310, 12):
        child = subprocess.Popen(
            command, cwd=tmp_path, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        time.sleep(milliseconds / 1000)
        child.terminate()
        _, said = child.communicate(timeout=20)

        assert (child.returncode in (0, 143, -signal.SIGTERM), said) == (True, b""), milliseconds  # -15: not ready yet


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    """When the parent is killed, its workers notice, clean up and end by themselves."""
    script = (
        "import sys\nfrom llmprep.store.processes import local_processes\nfrom test_executors import work_long\n"
        "if __name__ == '__main__':\n"
        "    with local_processes(2) as pool:\n"
        "        [future.result() for future in [pool.submit(work_long, sys.argv[1]) for _ in range(2)]]\n"
    )
    (tmp_path / "parent.py").write_text(script)
    marks = tmp_path / "marks"
    marks.mkdir()
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "parent.py", marks],
        env=clean_environment({"PYTHONPATH": paths}), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: len(list(marks.iterdir())) == 2)
        workers = workers_of(parent.pid)
    finally:
        parent.kill()
        parent.wait()

    assert len(workers) == 2
    wait_until(lambda: not any(map(runs, workers)), seconds=5)
    assert list(marks.iterdir()) == []


# --- the death of a worker -------------------------------------------------------------------------


def make_job(number: int) -> ShardJob:
    """A job of which only the number matters."""
    return ShardJob(
        cwd=None, folder="", number=number, sources=[], stamps=[], recipe=[], follows=True, options=TextOptions(),
        encoding="gpt2", ranks=None, backend="auto", corpus_bytes=0, dtype="uint16", plan_sha256="", block_bytes=1,
    )  # fmt: skip


class Dying(InProcess):
    """Answers each job with its number, unless its worker dies, as often as ``deaths`` says."""

    def __init__(self, deaths: Mapping[int, int]) -> None:
        self.submitted: list[int] = []
        self._deaths = Counter(deaths)

    def submit(self, _: Callable[..., Any], /, *args: Any, **__: Any) -> Future[Any]:
        """Answer, or die."""
        job: ShardJob = args[0]
        self.submitted.append(job.number)
        future: Future[Any] = Future()
        if self._deaths[job.number]:
            self._deaths[job.number] -= 1
            future.set_exception(WorkerDiedError("a process was terminated abruptly"))
        else:
            future.set_result({"number": job.number})
        return future


@given(count=st.integers(0, 12), deaths=st.dictionaries(st.integers(0, 11), st.integers(0, 3), max_size=6))
def test_each_job_is_done_once_or_one_is_named(count: int, deaths: dict[int, int]) -> None:
    """A job whose worker dies once is done all the same, and once; the first whose worker dies twice is named."""
    done: list[int] = []
    twice = [number for number in range(count) if deaths.get(number, 0) > 1]
    told = ""

    try:
        run_jobs([make_job(n) for n in range(count)], Dying(deaths), lambda job, _: done.append(job.number))
    except WorkerDiedError as error:
        told = str(error)

    assert len(set(done)) == len(done)
    if twice:
        assert told.startswith(f"shard {twice[0]}: its worker died twice")
        assert set(done) >= {number for number in range(count) if not deaths.get(number)}
    else:
        assert (sorted(done), told) == (list(range(count)), "")


def test_a_death_of_a_process_is_one_calls() -> None:
    """When a process dies, its call fails, those of the others do not, and another process takes its place."""
    with local_processes(2) as workers:
        dying = workers.submit(end_at_once)
        others = [workers.submit(tell_process) for _ in range(6)]

        assert isinstance(dying.exception(), WorkerDiedError)
        assert all(future.result() for future in others)


def test_a_calls_own_system_error_is_no_death(tmp_path: Path) -> None:
    """An OSError that a call raises in a worker comes back as it is; it is not tried again, and the worker goes on."""
    tally = tmp_path / "tally"
    with local_processes(1) as workers:
        before = workers.submit(tell_process).result()

        with pytest.raises(OSError, match="No space left on device") as raised:
            workers.submit(run_out_of_space, str(tally)).result()

        assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, "/some/where")
        assert workers.submit(tell_process).result() == before
    assert tally.read_text() == "x"


def test_a_jobs_own_error_is_not_tried_again() -> None:
    """An error that a job raises, as of a bad file, is raised at once and as it is."""
    seen: list[int] = []

    class Failing(InProcess):
        def submit(self, _: Callable[..., Any], /, *args: Any, **__: Any) -> Future[Any]:
            seen.append(args[0].number)
            return super().submit(fail_with, "bad.txt: not valid UTF-8")

    with pytest.raises(DataError, match=r"^bad\.txt: not valid UTF-8$"):
        run_jobs([make_job(n) for n in range(5)], Failing(), lambda *_: None)

    assert seen == [0]


def test_two_jobs_are_in_flight_for_each_worker() -> None:
    """Jobs are handed out a few at a time, however many there are: one to work on, one to go on with."""
    outstanding: list[Future[Any]] = []
    most = 0

    class Slow(InProcess):
        slots = 2

        def submit(self, _: Callable[..., Any], /, *__: Any, **___: Any) -> Future[Any]:
            nonlocal most
            future: Future[Any] = Future()
            outstanding.append(future)
            most = max(most, len(outstanding))
            if len(outstanding) == 4:
                outstanding.pop(1).set_result({})
            return future

    def release(*_: object) -> None:
        if len(done) >= 17:
            while outstanding:
                outstanding.pop().set_result({})
        done.append(1)

    done: list[int] = []

    run_jobs([make_job(n) for n in range(21)], Slow(), release)

    assert (most, len(done)) == (4, 21)


# --- Ray -------------------------------------------------------------------------------------------


def store_of(folder: Path) -> dict[str, bytes]:
    """The bytes of a store's files."""
    return {path.name: path.read_bytes() for path in [*folder.glob("tokens-*.pt"), folder / "manifest.json"]}


def ray_build(*options: str, cwd: Path) -> subprocess.Popen[bytes]:
    """A build on Ray, under way."""
    return subprocess.Popen(
        [sys.executable, "-m", "llmprep", "tokenize", *options, "--executor", "ray", "--backend", "tiktoken"],
        cwd=cwd, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.slow
def test_ray_survives_a_node_and_writes_the_same_bytes(story: Path, tmp_path: Path, call: Call) -> None:
    """On a cluster of two nodes of which one is lost mid-run, the store is the same, and the output is the result."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    (tmp_path / "long.txt").write_bytes(story.read_bytes() * 300)
    options = ["long.txt", "--shard-bytes", "600000"]
    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )  # fmt: skip
    try:
        node = cluster.add_node(num_cpus=1)
        process = ray_build(*options, "-o", "ray/", "--address", cluster.address, "--json", cwd=tmp_path)
        wait_until(lambda: len(list(tmp_path.glob("ray/receipts/0*.json"))) >= 2, seconds=60)
        cluster.remove_node(node, allow_graceful=False)
        unfinished = not (tmp_path / "ray" / "manifest.json").exists()
        stdout, stderr = process.communicate(timeout=120)
    finally:
        with suppress(UnboundLocalError):
            process.kill()
        cluster.shutdown()

    assert process.returncode == 0, stderr
    assert unfinished
    assert json.loads(stdout)["command"] == "tokenize"
    assert call("tokenize", *options, "-o", "local/", "--jobs", "1").code == 0
    assert store_of(tmp_path / "ray") == store_of(tmp_path / "local")


@pytest.mark.slow
def test_ray_started_here_gives_errors_as_they_are(story: Path, tmp_path: Path, vocab_dir: Path) -> None:
    """Without an address Ray is started here; the vocabulary travels; a bad file gets its one line and exit code.

    No worker runs what lies in the current folder.
    """
    pytest.importorskip("ray")
    (tmp_path / "good.txt").write_bytes(story.read_bytes())
    (tmp_path / "bad.txt").write_bytes(b"well " * 1000 + b"\x92")
    (tmp_path / "numpy.py").write_text("raise SystemExit('the current folder is no place for modules')")
    options = ["--encoding", "cl100k_base", "--vocab-dir", str(vocab_dir), "--shard-bytes", "20000"]

    good = ray_build("good.txt", "-o", "good/", *options, cwd=tmp_path)
    told = good.communicate(timeout=120)
    bad = ray_build("good.txt", "bad.txt", "-o", "bad/", *options, cwd=tmp_path)
    stdout, stderr = bad.communicate(timeout=120)

    assert (good.returncode, told[1]) == (0, b"")
    assert told[0].splitlines()[-1].startswith(b"good: 2 shards, int32")
    assert (bad.returncode, stdout) == (3, b"")
    assert stderr == (
        b"llmprep: error: bad.txt: not valid UTF-8 at byte 5000 (0x92); "
        b"convert it to UTF-8 first, for example with iconv\n"
    )


@pytest.mark.slow
def test_a_cluster_without_a_free_core_is_said(story: Path, tmp_path: Path) -> None:
    """Where nothing can begin, a note says so after some seconds; when there is a core, the build goes on."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )  # fmt: skip
    try:
        process = ray_build(str(story), "-o", "s/", "--address", cluster.address, cwd=tmp_path)
        assert process.stderr is not None
        said = process.stderr.readline()
        unfinished = not (tmp_path / "s" / "manifest.json").exists()
        cluster.add_node(num_cpus=1)
        stdout, more = process.communicate(timeout=120)
    finally:
        with suppress(UnboundLocalError):
            process.kill()
        cluster.shutdown()

    assert said == b"llmprep: note: waiting: the cluster has 0 free cores\n"
    assert unfinished
    assert (process.returncode, more) == (0, b"")
    assert b"s: 1 shard" in stdout


def test_ray_is_an_extra(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ray, one line names the extra; a folder that was begun can be finished without it."""
    (tmp_path / "a.txt").write_text("some text")
    monkeypatch.setitem(sys.modules, "ray", None)

    ended = call("tokenize", "a.txt", "-o", "s/", "--executor", "ray")

    assert ended.code == 2
    assert ended.notes == ["llmprep: error: --executor ray: needs an extra: pip install 'llmprep[ray]'"]
    assert call("tokenize", "a.txt", "-o", "s/").code == 0


# --- how many jobs --------------------------------------------------------------------------------


def write_group(root: Path, files: Mapping[str, str]) -> None:
    """Write files of control groups below a folder that stands for the root."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")


GROUPS: dict[str, tuple[dict[str, str], int]] = {
    "none": ({}, 64),
    "version 2": ({"sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
    "half a core": ({"sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
    "a core and a half": ({"sys/fs/cgroup/cpu.max": "150000 100000"}, 2),
    "no limit": ({"sys/fs/cgroup/cpu.max": "max 100000"}, 64),
    "more than there are": ({"sys/fs/cgroup/cpu.max": "99900000 100000"}, 64),
    "its own group": (
        {"proc/self/cgroup": "0::/a.slice/b", "sys/fs/cgroup/a.slice/b/cpu.max": "300000 100000"},
        3,
    ),
    "a group above": (
        {
            "proc/self/cgroup": "0::/a.slice/b",
            "sys/fs/cgroup/a.slice/b/cpu.max": "300000 100000",
            "sys/fs/cgroup/a.slice/cpu.max": "100000 100000",
        },
        1,
    ),
    "version 1": (
        {
            "proc/self/cgroup": "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
        4,
    ),
    "version 1, another order": (
        {
            "proc/self/cgroup": "3:cpuacct,cpu:/docker/x",
            "sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us": "100000",
            "sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us": "50000",
        },
        2,
    ),
    "version 1, no limit": (
        {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
        64,
    ),
    "nonsense": ({"sys/fs/cgroup/cpu.max": "1 0", "proc/self/cgroup": "x"}, 64),
}


@pytest.mark.parametrize(("files", "expected"), list(GROUPS.values()), ids=list(GROUPS))
def test_a_quota_bounds_the_jobs(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 64 cores that a process is bound to, as many are used as its control groups pay for, at least one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    write_group(tmp_path, files)

    assert default_jobs(tmp_path) == expected
