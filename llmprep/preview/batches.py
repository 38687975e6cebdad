"""Batches of windows: the text of their rows, and what an epoch of them is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmprep.errors import plural
from llmprep.preview.characters import REACH, Shown, split_lines
from llmprep.preview.fitting import columns_of
from llmprep.preview.plain import Decode, number, visible

ROWS_SHOWN = 8
STEPS = 1000
_ARROW = " ----> "
_LEFT_OUT = " ... "


def row_lines(inputs: Sequence[Sequence[int]], nexts: Sequence[int], decode: Shown, width: int) -> Iterator[str]:
    """Yield the text of each of a batch's first rows, and of the token that follows it, in ``width`` columns or so.

    ``inputs`` are (B, L) ids, ``nexts`` (B,) the last target of each. Of a long text there are whole tokens from its
    begin and its end.
    """
    for row, (ids, target) in enumerate(zip(inputs[:ROWS_SHOWN], nexts, strict=False)):
        label, end = f"row {row}: ", f"{_ARROW}{visible(decode([target]))}"
        yield f"{label}{_fitted(ids, decode, width - len(label) - len(end))}{end}"
    at_arrows = [[*ids[-REACH:], target] for ids, target in zip(inputs[:ROWS_SHOWN], nexts, strict=False)]
    yield from split_lines(at_arrows, decode)
    if len(inputs) > ROWS_SHOWN:
        yield f"... and {plural(len(inputs) - ROWS_SHOWN, 'more row')}"


def _fitted(ids: Sequence[int], decode: Decode, room: int) -> str:
    """Return the text of ids, or where it is too long its begin and its end, each of whole words where it has some."""
    whole = visible(decode(ids))
    if columns_of(whole) <= room:
        return whole
    room = max(0, room - len(_LEFT_OUT)) // 2
    n_first, n_last = _count_fitting(ids, decode, room), _count_fitting(ids[::-1], decode, room)
    words = [place for place in range(len(ids)) if decode([ids[place]])[:1].isspace()]
    end = max((place for place in words if 0 < place <= n_first), default=n_first)
    begin = min((place for place in words if place >= len(ids) - n_last), default=len(ids) - n_last)
    return f"{visible(decode(ids[:end]))}{_LEFT_OUT}{visible(decode(ids[begin:])).lstrip(' ')}"


def _count_fitting(ids: Sequence[int], decode: Decode, room: int) -> int:
    """Return how many of the first tokens fit into so many columns; at least one."""
    used = 0
    for place, token_id in enumerate(ids):
        used += columns_of(visible(decode([token_id])))
        if used > room:
            return max(1, place)
    return len(ids)


def epoch_line(n_windows: int, n_batches: int, batch_size: int, n_last: int, n_dropped: int) -> str:
    """Say how many batches an epoch has, which windows are in none, and how many epochs 1,000 steps are.

    >>> epoch_line(1564, 196, 8, 4, 0)
    '1,564 windows give 196 batches of 8 an epoch, the last of 4; 1,000 steps are 5.1 epochs.'
    >>> epoch_line(1, 1, 8, 1, 0)
    '1 window gives 1 batch of 1 an epoch; 1,000 steps are 1,000 epochs.'
    """
    windows, left = plural(n_windows, "window"), ""
    if not n_batches:
        return f"{windows} {_are(n_windows)} less than a batch of {number(batch_size)}: with --drop-last there is none."
    if n_dropped:
        left = f", and {plural(n_dropped, 'window')} {_are(n_dropped)} dropped"
    elif n_last < batch_size and n_batches > 1:
        left = f", the last of {number(n_last)}"
    size = number(min(batch_size, n_windows))
    give = "gives" if n_windows == 1 else "give"
    return f"{windows} {give} {plural(n_batches, 'batch', 'batches')} of {size} an epoch{left}; {_steps(n_batches)}."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _steps(n_batches: int) -> str:
    epochs = STEPS / n_batches
    if epochs < 0.01:
        return f"{number(STEPS)} steps are less than a hundredth of an epoch"
    digits = 2 if epochs < 1 else 1 if epochs < 10 else 0
    return f"{number(STEPS)} steps are {epochs:,.{digits}f} epochs"
