"""Where shard jobs run: here, in processes, on Ray. One seam: `concurrent.futures.Executor`."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, redirect_stdout
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from llmprep.errors import UsageError

P = ParamSpec("P")
T = TypeVar("T")


class InProcess(Executor):
    """Runs each call at once, in this process."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the call and return its finished future."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it belongs to the future, as with any executor
            future.set_exception(error)
        return future


@contextmanager
def local_processes(jobs: int) -> Iterator[Executor]:
    """A pool of fresh processes; they are gone when the block ends, however it ends."""
    pool = ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=_end_with_parent, initargs=(os.getpid(),)
    )
    try:
        yield _Workers(pool)
    except BaseException:
        _stop(multiprocessing.active_children())
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


class _Workers(Executor):
    """A pool whose workers end when they are told to; the pool itself takes their end for a job's answer."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the call in a worker."""
        return self._pool.submit(_call_or_end, fn, *args, **kwargs)


def _call_or_end(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return fn(*args, **kwargs)
    except SystemExit:
        os._exit(128 + signal.SIGTERM)


def _stop(workers: Sequence[multiprocessing.process.BaseProcess]) -> None:
    """End processes, gently for the time that cleaning up takes."""
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + 1
    for worker in workers:
        worker.join(max(0, deadline - time.monotonic()))
        worker.kill()


def _end_with_parent(parent: int) -> None:
    """In a worker: clean up when told to stop, leave Ctrl-C to the parent, and stop when the parent is gone."""
    import threading

    stopping = threading.Event()

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stopping.set()
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while not stopping.wait(0.5):
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)  # more than cleaning up takes: whatever has caught SystemExit, it ends here
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def ray_cluster(address: str | None) -> Iterator[Executor]:
    """An executor on a Ray cluster (``address``), or on one that is started here and stopped again."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError("--executor ray: needs an extra: pip install 'llmprep[ray]'") from error
    import sys

    started = not ray.is_initialized()
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    with redirect_stdout(sys.stderr):  # what Ray says of nodes and workers is no result
        if started:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
        try:
            yield _Ray(ray)
        finally:
            if started:
                ray.shutdown()


class _Ray(Executor):
    """A thin adapter: a call becomes a task, its reference a future. A task whose worker dies is not tried again."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start a task of one core."""
        task = self._ray.remote(num_cpus=1, max_retries=0)(fn)
        future: Future[T] = Future()
        task.remote(*args, **kwargs).future().add_done_callback(lambda ended: _pass_on(ended, future))
        return future


def _pass_on(ended: Future[T], future: Future[T]) -> None:
    """Give a task's result or error to a future: its own error, not what Ray makes of it."""
    error = ended.exception()
    if error is None:
        future.set_result(ended.result())
    else:
        future.set_exception(getattr(error, "cause", None) or error)
