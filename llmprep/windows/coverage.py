"""What becomes of each token: used, skipped between windows, or left at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llmprep.windows.counts import count_windows
from llmprep.windows.views import Ids


@dataclass(frozen=True, slots=True)
class Coverage:
    """What becomes of each of ``n_tokens`` tokens. All figures count tokens, each once.

    Every token is either used (an input or a target at least once), in a gap between windows
    (stride > max_length + 1), or in the tail after the last window:
    ``n_tokens == n_used + n_gap + n_tail``. ``overlap`` is how many inputs one window shares with the next.
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
    """Account for every token; the sizes are those that `check_window` allows.

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
