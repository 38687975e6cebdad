"""Worker processes on this machine."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker, util
from multiprocessing.context import SpawnContext, SpawnProcess
from types import FrameType
from typing import Any

from llmprep.errors import WorkerDiedError
from llmprep.store.executors import P, T, Workers

STOPPING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM")
"""Signals that may raise an exception in the main thread, where the system has them."""
_STARTING = threading.Lock()
"""Held while a process starts: what is changed meanwhile is the whole program's."""


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


class _Context(SpawnContext):
    """Keeps the processes that it makes, as the calling program may have others, which are not ours to end."""

    def __init__(self) -> None:
        self.made: list[SpawnProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: N802
        """Make a process, as `SpawnContext.Process` does."""
        process = SpawnProcess(*args, **kwargs)
        self.made.append(process)
        return process

    def running(self) -> list[SpawnProcess]:
        """Return the processes that have not ended."""
        return [process for process in self.made if process.is_alive()]


class _Processes(Executor):
    """Threads that each have a process to work in: a pool of one, so that its death is known to be one call's."""

    def __init__(self, slots: int, module: str) -> None:
        self.slots = slots
        self._module = module
        self._context = _Context()
        self._ending = False
        self._threads = ThreadPoolExecutor(slots)
        self._idle: queue.SimpleQueue[ProcessPoolExecutor] = queue.SimpleQueue()

    def start(self) -> None:
        """Start all processes. Raises `WorkerDiedError` where the system refuses one."""
        with _signals_kept_back():
            for _ in range(self.slots):
                self._idle.put(self._start())

    def _start(self) -> ProcessPoolExecutor:
        arguments = (os.getpid(), self._module)
        with _bare_start():
            try:
                pool = ProcessPoolExecutor(1, self._context, initializer=_get_ready, initargs=arguments)
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
            _stop(self._context.running())
        self._threads.shutdown(cancel_futures=True)
        for process in self._context.running():
            process.kill()  # it has nothing to do and nothing to clean up
        while not self._idle.empty():
            self._idle.get().shutdown(cancel_futures=True)


@contextmanager
def _bare_start() -> Iterator[None]:
    """Start processes that do not import the main program, of which they need nothing, and that Ctrl-C leaves alone."""
    main = sys.modules["__main__"]
    with _STARTING, _safe_path(), _ctrl_c_masked():
        kept: dict[str, Any] = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
        try:
            main.__spec__ = main.__file__ = None
            yield
        finally:
            vars(main).update(kept)


@contextmanager
def _ctrl_c_masked() -> Iterator[None]:
    """Keep SIGINT from this thread and what it starts, where the system has such masks."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it undoes the mask when it starts
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
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
def _signals_kept_back() -> Iterator[None]:
    """Act on a signal only afterwards: a process half started would leave its semaphores and a traceback.

    Only the main thread is interrupted by signals. A mask would not do: the system gives a signal to any thread that
    has none, and numpy has such threads.
    """
    came: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in STOPPING if main and hasattr(signal, name)]
    kept = {number: signal.getsignal(number) for number in numbers if callable(signal.getsignal(number))}
    for number in kept:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        for first in came[:1]:
            signal.raise_signal(first)


def _stop(workers: Sequence[SpawnProcess]) -> None:
    """End processes, gently for the time that cleaning up takes."""
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + 1
    for worker in workers:
        worker.join(max(0, deadline - time.monotonic()))
        worker.kill()


def _get_ready(parent: int, module: str) -> None:
    """In a worker: end on SIGTERM or when the parent has ended, leaving nothing; leave Ctrl-C to the parent.

    It ends in the midst of whatever it does: an exception could come up inside a library that does not let it pass.
    """

    def watch() -> None:
        handle = multiprocessing.parent_process()
        while os.getppid() == parent and (handle is None or handle.is_alive()):  # each is blind on some system
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    importlib.import_module(module)
    from llmprep.output.temporary import remove_temporaries

    def end(number: int, _: FrameType | None) -> None:
        remove_temporaries()
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, end)
