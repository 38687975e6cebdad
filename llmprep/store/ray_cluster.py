"""Workers on a Ray cluster."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import chdir, contextmanager, redirect_stdout
from typing import Any

from llmprep.errors import UsageError, WorkerDiedError
from llmprep.store.executors import P, T, Workers

WAIT = 5.0
"""Seconds without a free core of the cluster after which that is announced."""


def require_ray() -> None:
    """Raise `UsageError` if Ray is not installed. One that is, and cannot be loaded, has an error of its own."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--executor ray: needs an extra: pip install 'llmprep[ray]'")


@contextmanager
def ray_cluster(address: str | None, announce: Callable[[str], None] | None = None) -> Iterator[Workers]:
    """Workers on the Ray cluster at ``address``, or on one that is started here and stopped again.

    It is announced if the cluster has no free core, so that nothing begins. Raises `UsageError` if Ray is not installed
    or the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    require_ray()
    with redirect_stdout(sys.stderr):  # what Ray says of nodes and workers is no result
        import ray

        started = not ray.is_initialized()
        if started:
            _start(ray, address)
        try:
            with _watched(ray, announce):
                yield _Ray(ray)
        finally:
            if started:
                ray.shutdown()


@contextmanager
def _watched(ray: Any, announce: Callable[[str], None] | None) -> Iterator[None]:
    """Announce it if a call that comes before all others, and does nothing, gets no core for some seconds."""
    ended = threading.Event()
    probe = ray.remote(num_cpus=1, max_retries=0)(lambda: None).remote()

    def watch() -> None:
        begun = time.monotonic()
        while announce is not None and not ended.wait(0.2) and not ray.wait([probe], timeout=0)[0]:
            free = int(ray.available_resources().get("CPU", 0))
            if time.monotonic() > begun + WAIT and not free:
                announce(f"waiting: the cluster has {free} free cores")
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _start(ray: Any, address: str | None) -> None:
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        with chdir("/"):  # Ray has its workers search the folder that it is started in before all others
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(f"--address {address}: no Ray cluster answers there ({reason})") from error


class _Ray(Executor):
    """A thin adapter: a call becomes a task, its reference a future. A task whose worker dies is not tried again."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._deaths = _deaths(ray.exceptions)

    @property
    def slots(self) -> int:
        """Cores of the cluster as it is now; it may grow and shrink."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start a task of one core."""
        task = self._ray.remote(num_cpus=1, max_retries=0)(fn)
        future: Future[T] = Future()
        task.remote(*args, **kwargs).future().add_done_callback(lambda ended: self._pass_on(ended, future))
        return future

    def _pass_on(self, ended: Future[T], future: Future[T]) -> None:
        """Give a task's result or error to a future: its own error, not what Ray makes of it."""
        error = ended.exception()
        if error is None:
            future.set_result(ended.result())
        elif isinstance(error, self._deaths):
            future.set_exception(WorkerDiedError(str(error)))
        else:
            future.set_exception(getattr(error, "cause", None) or error)


def _deaths(exceptions: Any) -> tuple[type[BaseException], ...]:
    """Ray's errors for a worker or node that is gone, as opposed to an error that a task raised."""
    names = ("WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "OutOfMemoryError", "RaySystemError")
    return tuple(getattr(exceptions, name) for name in names if hasattr(exceptions, name))
