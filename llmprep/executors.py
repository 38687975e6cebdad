"""Where shard jobs run: here, in processes, on Ray. One seam: `concurrent.futures.Executor`.

Each executor also tells its ``slots``: how many calls run at the same time.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import chdir, contextmanager, suppress
from multiprocessing import resource_tracker, util
from types import FrameType
from typing import Any, ParamSpec, Protocol, TypeVar

from llmprep.errors import UsageError, WorkerDiedError

P = ParamSpec("P")
T = TypeVar("T")

HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
"""Signals that may raise an exception in the main thread."""

_STARTING = threading.Lock()
"""Held while a process starts: what is changed meanwhile is the whole program's."""


class Workers(Protocol):
    """What an executor is here."""

    @property
    def slots(self) -> int:
        """How many calls run at the same time."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call. Its future raises `WorkerDiedError` if its worker dies; others go on."""


class InProcess(Executor):
    """Runs each call at once, in this process."""

    slots = 1

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the call and return its finished future."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it belongs to the future, as with any executor
            future.set_exception(error)
        return future


@contextmanager
def local_processes(jobs: int, module: str = __name__) -> Iterator[Workers]:
    """Fresh processes, which start and import ``module`` at once, while the caller goes on.

    They are gone when the block ends, however it ends.
    """
    workers = _Processes(jobs, module)
    try:
        workers.start()
        yield workers
    except BaseException:
        workers.end(now=True)
        raise
    workers.end()


class _Processes(Executor):
    """Threads that each have a process to work in: a pool of one, so that its death is known to be one call's."""

    def __init__(self, slots: int, module: str) -> None:
        self.slots = slots
        self._module = module
        self._ending = False
        self._threads = ThreadPoolExecutor(slots)
        self._idle: queue.SimpleQueue[ProcessPoolExecutor] = queue.SimpleQueue()

    def start(self) -> None:
        """Start all processes. Raises `WorkerDiedError` where none can be had."""
        with _signals_held():
            for _ in range(self.slots):
                self._idle.put(self._start())

    def _start(self) -> ProcessPoolExecutor:
        told = (os.getpid(), self._module)
        with _bare_start():
            try:
                spawn = multiprocessing.get_context("spawn")
                pool = ProcessPoolExecutor(1, spawn, initializer=_get_ready, initargs=told)
            except OSError as error:
                raise WorkerDiedError(f"no worker process can be started ({error.strerror}); use --jobs 1") from error
            with suppress(BrokenExecutor, OSError):  # a process that dies so soon is started again when used
                pool.submit(os.getpid)
        return pool

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the call in a process."""
        return self._threads.submit(self._call, fn, *args, **kwargs)

    def _call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        pool = self._idle.get()
        try:
            try:
                with _bare_start():  # it may have to start a process
                    future = pool.submit(fn, *args, **kwargs)
            except OSError as error:  # of starting the process; one that the call itself raises is the call's
                raise BrokenExecutor(str(error)) from error
            return future.result()
        except BrokenExecutor as error:
            if not self._ending:
                pool.shutdown()
                pool = self._start()
            raise WorkerDiedError(str(error)) from error
        finally:
            self._idle.put(pool)

    def end(self, *, now: bool = False) -> None:
        """Wait for what is under way, or end it ``now``; what has not begun is dropped."""
        self._ending = True
        if now:
            _stop(multiprocessing.active_children())
        self._threads.shutdown(cancel_futures=True)
        for process in multiprocessing.active_children():
            process.kill()  # it has nothing to do and nothing to clean up
        while not self._idle.empty():
            self._idle.get().shutdown(cancel_futures=True)


@contextmanager
def _bare_start() -> Iterator[None]:
    """Start processes that do not import the main program, of which they need nothing, and that Ctrl-C leaves alone."""
    main = sys.modules["__main__"]
    with _STARTING, _safe_path():
        kept: dict[str, Any] = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
        resource_tracker.ensure_running()  # it undoes the mask when it starts
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            main.__spec__ = main.__file__ = None
            yield
        finally:
            vars(main).update(kept)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def _safe_path() -> Iterator[None]:
    """Start processes with ``-P``: multiprocessing starts ``python -c``, which runs modules of the current folder.

    By the command line, as ``PYTHONSAFEPATH`` is not heeded after ``-E``, and would reach what other threads start.
    """
    flags = vars(util)["_args_from_interpreter_flags"]
    vars(util)["_args_from_interpreter_flags"] = lambda: [*flags(), "-P"]
    try:
        yield
    finally:
        vars(util)["_args_from_interpreter_flags"] = flags


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let what comes of a signal come up afterwards: a process half started would leave its semaphores and a traceback.

    Only the main thread is interrupted by signals. A mask would not do: the system gives a signal to any thread that
    has none, and numpy has such threads.
    """
    came: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    kept = {number: signal.getsignal(number) for number in HELD if main and callable(signal.getsignal(number))}
    for number in kept:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        for first in came[:1]:
            signal.raise_signal(first)


def _stop(workers: Sequence[multiprocessing.process.BaseProcess]) -> None:
    """End processes, gently for the time that cleaning up takes."""
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + 1
    for worker in workers:
        worker.join(max(0, deadline - time.monotonic()))
        worker.kill()


def _get_ready(parent: int, module: str) -> None:
    """In a worker: end when told to or when the parent is gone, leaving nothing; leave Ctrl-C to the parent.

    It ends in the midst of whatever it does: an exception could come up inside a library that does not let it pass.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    importlib.import_module(module)
    from llmprep.ptfile import remove_temporaries

    def end(number: int, _: FrameType | None) -> None:
        remove_temporaries()
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, end)


WAIT = 5.0
"""Seconds without any core of a cluster after which that is said."""


def require_ray() -> None:
    """Raise `UsageError` if Ray is not installed. One that is, and cannot be loaded, has an error of its own."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--executor ray: needs an extra: pip install 'llmprep[ray]'")


@contextmanager
def ray_cluster(address: str | None, announce: Callable[[str], None] | None = None) -> Iterator[Workers]:
    """An executor on a Ray cluster (``address``), or on one that is started here and stopped again.

    That it has no free core, so that nothing begins, is announced. Raises `UsageError` if Ray is not installed or the
    cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    require_ray()
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
    """Announce it if a call that does nothing, and comes before all others, gets no core for some seconds."""
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
