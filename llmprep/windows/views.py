"""Ids -> windows that copy nothing, rows and spans taken from a stream, and windows -> ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from llmprep.errors import DataError
from llmprep.windows.counts import count_windows

Ids = npt.NDArray[Any]


def view_windows(ids: Ids, max_length: int, stride: int) -> tuple[Ids, Ids]:
    """Return inputs and targets, each (N, max_length), as read-only views of ``ids`` (n,), with its dtype.

    Nothing is copied. N is `count_windows`, and may be 0.

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
    """Yield the rows ``ids[kS : kS+L+1]`` of all windows, whole rows only, in flat arrays of one or more.

    ``blocks`` are the stream's ids, each (n,), in order. For stride > max_length, where a file keeps only these rows.
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
        rows = np.lib.stride_tricks.sliding_window_view(ids, width)[::stride]
        yield rows.reshape(-1)
        used = len(rows) * stride
        skip = max(0, used - len(ids))
        held = [ids[used:]]
        n_held = len(held[0])


def stream_of(input_ids: Ids, target_ids: Ids, stride: int) -> Ids:
    """Return the token stream (n,), without its tail, that windows of stride <= max_length were cut from.

    ``input_ids`` and ``target_ids`` are (N, max_length), with N at least 1.

    >>> x, y = view_windows(np.arange(10), max_length=4, stride=3)
    >>> stream_of(x, y, 3).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    return np.concatenate((input_ids[:-1, :stride].reshape(-1), input_ids[-1], target_ids[-1, -1:]))


def take_span(blocks: Iterable[Ids], start: int, count: int, *, name: str, to_the_end: bool = False) -> Iterator[Ids]:
    """Yield ``ids[start : start + count]`` of a stream, in blocks, reading no further unless ``to_the_end``.

    ``blocks`` are the stream's ids, each (n,), in order. Raises `DataError`, which calls the stream ``name``, if it
    ends earlier.
    """
    seen = 0
    for block in blocks:
        yield block[max(0, start - seen) : max(0, start + count - seen)]
        seen += len(block)
        if seen >= start + count and not to_the_end:
            break
    if seen < start + count:
        held = "1 token" if seen == 1 else f"{seen} tokens"
        raise DataError(
            f"{name}: {held}; tokens {start} to {start + count - 1} were asked for, the last one is {seen - 1}; "
            f"lower --start, --context-size or --windows"
        )
