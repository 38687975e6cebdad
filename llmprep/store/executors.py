"""Where shards are built: whatever is a `Workers`, as an executor of `concurrent.futures` with a number of slots."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Workers(Protocol):
    """Runs calls, in this process or elsewhere."""

    @property
    def slots(self) -> int:
        """How many calls run at the same time."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call. Its future raises `WorkerDiedError` if its worker dies; other calls go on."""


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
