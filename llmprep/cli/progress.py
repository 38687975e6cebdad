"""How far a run has come, on standard error: on a terminal after half a second, elsewhere a line each minute."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from llmprep.choices import Color
from llmprep.cli.colours import is_dumb, is_terminal, open_console, wants_colour
from llmprep.cli.printer import print_progress
from llmprep.errors import plural
from llmprep.preview import plain

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from llmprep.documents.source import Counts
    from llmprep.store.build import Progress as ShardProgress

WAIT_SECONDS = 0.5
TICK_SECONDS = 0.2
LINE_SECONDS = 60.0
"""How often a line says how far a run has come, where no bar can."""


@dataclass(frozen=True, slots=True)
class Far:
    """Bytes of text done, and to be done where that is known; tokens made; what is being done."""

    n_bytes: int = 0
    total_bytes: int | None = None
    n_tokens: int = 0
    name: str = ""

    def line(self, seconds: float) -> str:
        """Return how far that is after so many seconds.

        >>> Far(1_200_000_000, 4_000_000_000, 2_241_300_000).line(723)
        '12:03 1.2 GB of 4.0 GB, 3,100,000 tokens/s, about 28 minutes left'
        """
        hours, rest = divmod(round(seconds), 3600)
        elapsed = f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
        parts = [plain.size(self.n_bytes) + (f" of {plain.size(self.total_bytes)}" if self.total_bytes else "")]
        if self.n_tokens:
            parts.append(f"{plain.number(round(self.n_tokens / seconds))} tokens/s")
        if self.n_bytes and self.total_bytes and self.n_bytes < self.total_bytes:
            minutes = seconds * (self.total_bytes / self.n_bytes - 1) / 60
            parts.append(f"about {plural(max(1, round(minutes)), 'minute')} left")
        return f"{elapsed} {', '.join(parts)}"


@dataclass(slots=True)
class Passing:
    """Blocks that pass on their way to a file, and how far they have come."""

    blocks: Iterator[memoryview]
    total_bytes: int
    n_bytes: int = 0

    def __iter__(self) -> Iterator[memoryview]:
        for block in self.blocks:
            yield block
            self.n_bytes += block.nbytes

    def far(self) -> Far:
        """Return how far they have come."""
        return Far(self.n_bytes, self.total_bytes, name="writing")


def _has_screen() -> bool:
    """Tell whether standard error is a terminal on which a bar can be drawn again and again."""
    return is_terminal(sys.stderr) and not is_dumb()


class Progress:
    """Watches the counts of sources grow, from a thread of its own, between ``with`` and its end.

    Or it asks ``look`` how far a run is.
    """

    def __init__(
        self,
        counts: Sequence[Counts] = (),
        *,
        quiet: bool,
        color: Color = "auto",
        look: Callable[[], Far] | None = None,
    ) -> None:
        self._counts = counts
        self._color = color
        self._look = look or self._count
        self._current = self._done_bytes = self._done_tokens = 0
        self._stop = threading.Event()
        show = self._draw if _has_screen() else self._tell
        wanted = not quiet and sys.stderr is not None
        self._thread = threading.Thread(target=show, daemon=True) if wanted else None

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

    def _tell(self) -> None:
        started = time.monotonic()
        while not self._stop.wait(LINE_SECONDS):
            print_progress(self._look().line(time.monotonic() - started))

    def _draw(self) -> None:
        if self._stop.wait(WAIT_SECONDS):
            return
        with _make_bar(self._color) as bar:
            task = bar.add_task("", total=None, rate="", name="")
            started = time.monotonic() - WAIT_SECONDS
            while not self._stop.wait(TICK_SECONDS):
                far = self._look()
                rate = plain.number(round(far.n_tokens / (time.monotonic() - started)))
                rate = f"{rate} tokens/s" * bool(far.n_tokens)
                bar.update(task, total=far.total_bytes, completed=far.n_bytes, rate=rate, name=far.name)

    def _count(self) -> Far:
        """Return how far it is, with the name of the input being read; finished inputs are added up once."""
        total = sum(each.source.size or 0 for each in self._counts) or None
        while self._current < len(self._counts) and self._counts[self._current].sha256:
            self._done_bytes += self._counts[self._current].n_bytes
            self._done_tokens += self._counts[self._current].n_tokens
            self._current += 1
        if self._current == len(self._counts):
            return Far(self._done_bytes, total, self._done_tokens, "writing")
        current = self._counts[self._current]
        n_bytes, n_tokens = self._done_bytes + current.n_bytes, self._done_tokens + current.n_tokens
        return Far(n_bytes, total, n_tokens, plain.visible(current.source.name))


@contextmanager
def shard_bar(*, quiet: bool, color: Color = "auto") -> Iterator[Callable[[ShardProgress], None]]:
    """Show how far a store's shards have come: call the result with each progress that `build_store` reports."""
    far = Far()

    def show(progress: ShardProgress) -> None:
        nonlocal far
        far = Far(progress.n_bytes, progress.total_bytes, progress.n_tokens, progress.file)

    with Progress(quiet=quiet, color=color, look=lambda: far):
        yield show


def _make_bar(color: Color) -> Bar:
    """A progress bar on standard error that leaves nothing behind."""
    colour = wants_colour(sys.stderr, color)
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    return Progress(
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}", markup=False),
        console=open_console(sys.stderr, colour=colour),
        transient=True,
    )
