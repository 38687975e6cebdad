"""Ids -> windows: counts, views, coverage, growing pairs. Arithmetic only.

For ids of length n, max_length L and stride S, window k starts at k * S, its input is ``ids[kS : kS+L]`` and its
target the same slice moved by one. There are ``max(0, (n - 1 - L) // S + 1)`` of them: the starts are
``range(0, n - L, S)``, as in the data-loading chapter of rasbt/LLMs-from-scratch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llmprep.errors import DataError, UsageError

Ids = npt.NDArray[Any]

MAX_WINDOW = 2**31 - 1
"""Largest max_length and stride."""


def check_window(max_length: int, stride: int) -> None:
    """Raise `UsageError` unless both are in 1..`MAX_WINDOW`."""
    check_size("max_length", max_length)
    check_size("stride", stride)


def check_size(name: str, value: object) -> int:
    """Return a max_length or stride as an int. Raises `UsageError` unless it is a whole number in 1..`MAX_WINDOW`."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise UsageError(f"{name} {value!r:.40}: must be a whole number")
    if not 1 <= value <= MAX_WINDOW:
        raise UsageError(f"{name} {value}: must be from 1 to {MAX_WINDOW}")
    return int(value)


def split_place(n_tokens: int, val_fraction: float) -> int:
    """Return where a stream is cut for validation, once: the last ``floor(n * val_fraction)`` tokens are for that.

    >>> split_place(5145, 0.1)
    4631
    """
    return n_tokens - math.floor(n_tokens * val_fraction)


def count_windows(n_tokens: int, max_length: int, stride: int) -> int:
    """Return how many windows there are.

    >>> [count_windows(5145, *ls) for ls in ((4, 4), (4, 1), (256, 128), (256, 256))]
    [1286, 5141, 39, 20]
    """
    return max(0, (n_tokens - 1 - max_length) // stride + 1)


def require_windows(n_tokens: int, max_length: int, stride: int, name: str) -> int:
    """Return `count_windows`, or raise `DataError` that says which max_length would work."""
    count = count_windows(n_tokens, max_length, stride)
    if count == 0:
        largest = (
            f"the largest max_length that works is {n_tokens - 1}"
            if n_tokens > 1
            else "a window needs at least 2 tokens"
        )
        raise DataError(f"{name}: {n_tokens} tokens give no window of max_length {max_length}; {largest}")
    return count


@dataclass(frozen=True, slots=True)
class Coverage:
    """What becomes of each of ``n_tokens`` tokens. All figures count tokens, each once.

    Every token is either used (an input or a target at least once), in a gap between windows
    (stride > max_length + 1), or in the tail behind the last window:
    ``n_tokens == n_used + n_gap + n_tail``. ``overlap`` is what one window shares with the next.
    """

    n_tokens: int
    n_windows: int
    n_input: int
    n_target: int
    n_used: int
    n_gap: int
    n_tail: int
    overlap: int


def cover(n_tokens: int, max_length: int, stride: int) -> Coverage:
    """Account for every token.

    >>> c = cover(5145, 4, 4)
    >>> c.n_windows, c.n_input, c.n_target, c.n_tail
    (1286, 5144, 5144, 0)
    """
    count = count_windows(n_tokens, max_length, stride)
    if count == 0:
        return Coverage(n_tokens, 0, 0, 0, 0, 0, n_tokens, 0)
    reach = (count - 1) * stride
    n_input = reach + max_length if stride <= max_length else count * max_length
    n_used = reach + max_length + 1 if stride <= max_length else count * (max_length + 1)
    n_tail = n_tokens - (reach + max_length + 1)
    return Coverage(
        n_tokens=n_tokens,
        n_windows=count,
        n_input=n_input,
        n_target=n_input,
        n_used=n_used,
        n_gap=n_tokens - n_tail - n_used,
        n_tail=n_tail,
        overlap=max(0, max_length - stride),
    )


def target_counts(n_tokens: int, max_length: int, stride: int) -> Ids:
    """Return how often each token is a target: (n_tokens,) int64, in time and memory linear in n_tokens."""
    edges = np.zeros(n_tokens + 1, np.int64)
    starts = np.arange(count_windows(n_tokens, max_length, stride), dtype=np.int64) * stride
    np.add.at(edges, starts + 1, 1)
    np.add.at(edges, starts + max_length + 1, -1)
    return np.cumsum(edges[:-1])


def view_windows(ids: Ids, max_length: int, stride: int) -> tuple[Ids, Ids]:
    """Return inputs and targets, each (N, max_length), as read-only views of ``ids`` (n,): nothing is copied.

    >>> x, y = view_windows(np.arange(6), max_length=4, stride=1)
    >>> x.tolist(), y.tolist()
    ([[0, 1, 2, 3], [1, 2, 3, 4]], [[1, 2, 3, 4], [2, 3, 4, 5]])
    """
    if count_windows(len(ids), max_length, stride) == 0:
        empty = np.empty((0, max_length), ids.dtype)
        return empty, empty
    both = np.lib.stride_tricks.sliding_window_view(ids, max_length + 1)[::stride]
    return both[:, :-1], both[:, 1:]


def take_rows(blocks: Iterable[Ids], max_length: int, stride: int) -> Iterator[Ids]:
    """Yield ``ids[kS : kS+L+1]`` for each window of a stream of blocks, several rows at a time, flat.

    For stride > max_length, where a file keeps only these rows. The last yield may hold a partial row's
    worth of nothing: an incomplete row is never yielded.
    """
    width = max_length + 1
    held: list[Ids] = []
    n_held, skip = 0, 0
    for block in blocks:
        dropped = min(skip, len(block))
        skip -= dropped
        held.append(block[dropped:])
        n_held += len(block) - dropped
        if n_held < width:
            continue
        ids = np.concatenate(held)
        count = (len(ids) - width) // stride + 1
        yield np.lib.stride_tricks.sliding_window_view(ids, width)[::stride][:count].reshape(-1)
        used = count * stride
        skip = max(0, used - len(ids))
        held = [ids[used:]]
        n_held = len(held[0])


def stream_of(input_ids: Ids, target_ids: Ids, stride: int) -> Ids:
    """Return the token stream (without its tail) that windows of stride <= max_length were cut from.

    >>> x, y = view_windows(np.arange(10), max_length=4, stride=3)
    >>> stream_of(x, y, 3).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    return np.concatenate((input_ids[:-1, :stride].reshape(-1), input_ids[-1], target_ids[-1, -1:]))


def take_span(blocks: Iterable[Ids], start: int, count: int, *, name: str, to_the_end: bool = False) -> Ids:
    """Return ``ids[start : start + count]`` of a stream, reading no further unless ``to_the_end``.

    Raises `DataError` if the stream ends before.
    """
    kept: list[Ids] = []
    seen = 0
    for block in blocks:
        kept.append(block[max(0, start - seen) : max(0, start + count - seen)])
        seen += len(block)
        if seen >= start + count and not to_the_end:
            break
    if seen < start + count:
        raise DataError(
            f"{name}: {seen} tokens; tokens {start} to {start + count - 1} were asked for, the last one is {seen - 1}; "
            f"lower --start, --context-size or --windows"
        )
    return np.concatenate(kept)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Growing contexts with the token that follows each.

    ``contexts`` (n, context_size) right-padded, ``lengths`` (n,), ``targets`` (n,), all int64.
    """

    contexts: Ids
    lengths: Ids
    targets: Ids

    def __iter__(self) -> Iterator[tuple[list[int], int]]:
        """Yield each context without its padding, and its target."""
        for context, length, target in zip(self.contexts, self.lengths, self.targets, strict=True):
            yield context[:length].tolist(), int(target)


def grow_pairs(ids: Ids, context_size: int, *, n_windows: int = 1, pad_id: int = 0) -> Pairs:
    """Return, for each of ``n_windows`` neighbouring windows, contexts of 1 to context_size tokens.

    ``ids`` must hold n_windows * context_size + 1 tokens; window k begins at k * context_size.

    >>> list(grow_pairs(np.array([290, 4920, 2241]), context_size=2))
    [([290], 4920), ([290, 4920], 2241)]
    """
    starts = np.repeat(np.arange(n_windows, dtype=np.int64) * context_size, context_size)
    lengths = np.tile(np.arange(1, context_size + 1, dtype=np.int64), n_windows)
    columns = np.arange(context_size)
    taken = ids[starts[:, None] + columns].astype(np.int64)
    contexts = np.where(columns < lengths[:, None], taken, np.int64(pad_id))
    return Pairs(contexts, lengths, ids[starts + lengths].astype(np.int64))
