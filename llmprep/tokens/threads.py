"""Items -> results: work done ahead by several threads, its results in order.

With one job there is no thread, and nothing is done ahead.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from llmprep.documents.blocks import Block
from llmprep.errors import LlmprepError

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")
PART_BYTES = 1 << 14
"""How much text is gathered from small blocks before it goes to a thread."""


def in_parts(blocks: Iterator[Block], n_bytes: int) -> Iterator[list[Block]]:
    """Gather small blocks up to a size, since handing one to a thread costs more than encoding it; large ones go alone.

    What was gathered before an error of reading comes before that error.
    """
    part: list[Block] = []
    size = 0
    try:
        for block in blocks:
            if part and size + len(block.data) > n_bytes:
                yield part
                part, size = [], 0
            part.append(block)
            size += len(block.data)
            if size >= n_bytes:
                yield part
                part, size = [], 0
    except LlmprepError:
        if part:
            yield part  # whose own error, if it has one, comes first
        raise
    if part:
        yield part


def map_in_order(function: Callable[[T], R], items: Iterable[T], jobs: int) -> Iterator[R]:
    """Yield ``function(item)`` in order, computed by ``jobs`` threads up to ``2 * jobs + 1`` items ahead.

    With 1 job they are computed by this thread, when they are asked for. The first error in order is the one that is
    raised, whichever thread was faster.
    """
    if jobs == 1:
        yield from map(function, items)
        return
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(jobs)
    ahead: deque[Future[R]] = deque()
    failure: LlmprepError | None = None
    remaining = iter(items)
    try:
        while failure is None:
            try:
                ahead.append(pool.submit(function, next(remaining)))
            except StopIteration:
                break
            except LlmprepError as error:
                failure = error
            if len(ahead) > 2 * jobs or (ahead and ahead[0].done()):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


Task: TypeAlias = tuple[Callable[..., object], tuple[Any, ...]]


class Hashing:
    """Runs hash updates in order: at once, or in a thread of their own, which may lag by a bounded amount of text.

    A context manager that gives `run`; at its end every update has been made.
    """

    def __init__(self, *, threaded: bool) -> None:
        self._queue: queue.Queue[list[Task]] | None = queue.Queue(16) if threaded else None
        self._thread: threading.Thread | None = None
        self._part: list[Task] = []
        self._size = 0

    def __enter__(self) -> Callable[..., None]:
        if self._queue is not None:
            self._thread = threading.Thread(target=self._work, args=(self._queue,), daemon=True)
            self._thread.start()
        return self.run

    def __exit__(self, *_: object) -> None:
        if self._queue is not None and self._thread is not None:
            if self._part:
                self._queue.put(self._part)
            self._queue.put([])
            self._thread.join()

    def run(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call ``function(*arguments)``, now or later, after all calls asked for before.

        The arguments have lengths; calls with small ones go to the thread together.
        """
        if self._queue is None:
            function(*arguments)
            return
        self._part.append((function, arguments))
        self._size += sum(map(len, arguments))
        if self._size >= PART_BYTES:
            self._queue.put(self._part)
            self._part, self._size = [], 0

    @staticmethod
    def _work(parts: queue.Queue[list[Task]]) -> None:
        while part := parts.get():
            for function, arguments in part:
                function(*arguments)
