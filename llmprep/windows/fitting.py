"""Lengths -> rows of a fixed width, by best-fit decreasing.

The longest comes first, and goes into the row that it fills best: that with the least room that is still enough, or a
new one (Johnson, Demers, Ullman, Garey and Graham 1974). All things of one length are placed together: the row that
took one is again the best for the next, so the rows of one room take as many as they can, one after the other. There
are far fewer such steps than things.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


@dataclass(slots=True)
class _Rows:
    """Rows that have room, by how much; ``rooms`` has the rooms that occur, in order."""

    width: int
    count: int = 0
    rooms: list[int] = field(default_factory=list)
    by_room: dict[int, list[int]] = field(default_factory=dict)

    def take(self, length: int, wanted: int) -> tuple[int, list[int]]:
        """Return a room for ``length``, the least there is, and the rows to use: enough for ``wanted``, or all of it.

        They have room no more until `give` says what is left of it.
        """
        at = bisect_left(self.rooms, length)
        if at == len(self.rooms):
            n_rows = -(-wanted // (self.width // length))
            self.count += n_rows
            return self.width, [*range(self.count - n_rows, self.count)]
        room = self.rooms[at]
        held = self.by_room[room]
        n_rows = min(len(held), -(-wanted // (room // length)))
        used = held[-n_rows:]
        del held[-n_rows:]
        if not held:
            del self.rooms[at], self.by_room[room]
        return room, used

    def give(self, room: int, rows: list[int]) -> None:
        """Note that rows have so much room left."""
        if not room or not rows:
            return
        if room not in self.by_room:
            insort(self.rooms, room)
            self.by_room[room] = []
        self.by_room[room] += rows


def fit_best(lengths: Numbers, width: int) -> tuple[Numbers, int]:
    """Return in which row each of these lengths stands, (n,) int64, and how many rows of ``width`` there are.

    ``lengths`` (n,) are from 1 to ``width``. Of equal ones, the earlier is placed first; of rows with the same room,
    the last that came to have it is taken.

    >>> rows, count = fit_best(np.array([3, 7, 5, 2, 3]), width=10)
    >>> rows.tolist(), count
    ([0, 0, 1, 1, 1], 2)
    """
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    begins = np.flatnonzero(np.diff(ordered, prepend=0))
    runs = zip(ordered[begins].tolist(), np.diff(begins, append=len(lengths)).tolist(), strict=True)
    rows, placed = _Rows(width), []
    for length, count in runs:
        left = count
        while left:
            room, used = rows.take(length, left)
            each = room // length
            n_placed = min(left, each * len(used))
            whole, rest = divmod(n_placed, each)
            placed += used if each == 1 else [row for row in used for _ in range(each)][:n_placed]
            rows.give(room - each * length, used[:whole])
            rows.give(room - rest * length, used[whole:])
            left -= n_placed
    found = np.empty(len(lengths), np.int64)
    found[order] = placed
    return found, rows.count
