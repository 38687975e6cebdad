"""How much context a target has: the lengths that occur, and which contexts reach into another document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from llmprep.windows.counts import count_windows
from llmprep.windows.views import Ids


def longest_contexts(n_tokens: int, max_length: int, stride: int) -> Ids:
    """Return how many targets have a longest context of 1, 2, ... tokens: (max_length,) int64.

    A token that several windows have as a target is counted once, with the longest of its contexts. In all pairs, each
    length occurs once a window.

    >>> longest_contexts(12, max_length=4, stride=2).tolist()
    [1, 1, 4, 4]
    """
    count = count_windows(n_tokens, max_length, stride)
    lengths = np.full(max_length, min(count, 1), np.int64)
    lengths[max(0, max_length - stride) :] = count
    return lengths


@dataclass(frozen=True, slots=True)
class Contexts:
    """How many targets have a context of ``shortest`` to ``longest`` tokens, in all windows.

    ``n_targets`` counts a token once for each window that it is a target in, ``n_tokens`` once, with the longest of its
    contexts.
    """

    shortest: int
    longest: int
    n_targets: int
    n_tokens: int


def count_contexts(n_tokens: int, max_length: int, stride: int) -> Iterator[Contexts]:
    """Yield the lengths 1, 2, 3 to 4, 5 to 8, ... up to max_length, each with its targets, in constant memory.

    >>> [(c.longest, c.n_targets, c.n_tokens) for c in count_contexts(12, max_length=4, stride=2)]
    [(1, 4, 1), (2, 4, 1), (4, 8, 8)]
    """
    count = count_windows(n_tokens, max_length, stride)
    overlap = max(0, max_length - stride)  # targets that each window but the first shares with the one before
    shortest = longest = 1
    while shortest <= max_length:
        longest = min(longest, max_length)
        n_lengths, n_first = longest - shortest + 1, max(0, min(longest, overlap) - shortest + 1)
        n_once = n_first * min(count, 1) + (n_lengths - n_first) * count
        yield Contexts(shortest, longest, n_lengths * count, n_once)
        shortest, longest = longest + 1, 2 * longest


def sees_across(ids: Sequence[int], eot_id: int) -> list[bool]:
    """Tell for each input of a window whether its target is predicted from another document's tokens too.

    A separator belongs to neither document; with nothing before it in the window, nothing is seen across it.

    >>> sees_across([5, 0, 6, 7], eot_id=0), sees_across([0, 6, 7, 8], eot_id=0)
    ([False, True, True, True], [False, False, False, False])
    """
    seen, across, told = False, False, []
    for token_id in ids:
        across = across or (seen and token_id == eot_id)
        seen = seen or token_id != eot_id
        told.append(across)
    return told
