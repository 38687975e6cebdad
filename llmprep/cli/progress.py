"""How far a run has come: on standard error, only on a terminal, only after half a second."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from llmprep.preview import plain

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from llmprep.documents.source import Counts
    from llmprep.store.build import Progress as ShardProgress

WAIT_SECONDS = 0.5
TICK_SECONDS = 0.2


class Progress:
    """Watches the counts of sources grow, from a thread of its own, between ``with`` and its end."""

    def __init__(self, counts: Sequence[Counts] = (), *, quiet: bool) -> None:
        self._counts = counts
        self._current = self._done_bytes = self._done_tokens = 0
        self._stop = threading.Event()
        wanted = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._thread = threading.Thread(target=self._show, daemon=True) if wanted else None

    def watch(self, counts: Sequence[Counts]) -> None:
        """Take the counts of sources that will be read, where they are known only after the start."""
        self._counts = counts

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _show(self) -> None:
        if self._stop.wait(WAIT_SECONDS):
            return
        with _make_bar() as bar:
            total = sum(each.source.size or 0 for each in self._counts) or None
            task = bar.add_task("", total=total, rate="", name="")
            started = time.monotonic() - WAIT_SECONDS
            while not self._stop.wait(TICK_SECONDS):
                n_bytes, n_tokens, name = self._advance()
                rate = plain.number(round(n_tokens / (time.monotonic() - started)))
                bar.update(task, completed=n_bytes, rate=f"{rate} tokens/s", name=name)

    def _advance(self) -> tuple[int, int, str]:
        """Bytes and tokens so far, and the name of the input being read; finished inputs are added up once."""
        while self._current < len(self._counts) and self._counts[self._current].sha256:
            self._done_bytes += self._counts[self._current].n_bytes
            self._done_tokens += self._counts[self._current].n_tokens
            self._current += 1
        if self._current == len(self._counts):
            return self._done_bytes, self._done_tokens, "writing"
        current = self._counts[self._current]
        return (
            self._done_bytes + current.n_bytes,
            self._done_tokens + current.n_tokens,
            plain.visible(current.source.name),
        )


@contextmanager
def shard_bar(*, quiet: bool) -> Iterator[Callable[[ShardProgress], None]]:
    """Show how far a store's shards have come: call the result with each progress that `build_store` reports."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    bar = _make_bar()
    task = bar.add_task("", total=None, rate="", name="")
    started = time.monotonic()

    def show(progress: ShardProgress) -> None:
        rate = plain.number(round(progress.n_tokens / max(1e-3, time.monotonic() - started)))
        bar.update(
            task,
            total=progress.total_bytes,
            completed=progress.n_bytes,
            rate=f"{rate} tokens/s" if progress.file else "",
            name=progress.file,
        )

    timer = threading.Timer(WAIT_SECONDS, bar.start)
    timer.start()
    try:
        yield show
    finally:
        timer.cancel()
        timer.join()
        bar.stop()


def _make_bar() -> Bar:
    """A progress bar on standard error that leaves nothing behind."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    return Progress(
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}", markup=False),
        console=Console(file=sys.stderr, markup=False, emoji=False, highlight=False),
        transient=True,
    )
