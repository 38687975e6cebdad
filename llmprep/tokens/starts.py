"""Where documents begin in a stream: found while it passes, kept in constant memory, read again in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from llmprep.choices import TextOptions
from llmprep.documents.blocks import Block
from llmprep.output.temporary import temporary_file
from llmprep.tokens.tiktoken import Ids

Places = npt.NDArray[np.int64]
HELD_BYTES = 4 << 20
"""How much stays in memory, without a file."""
BLOCK = 1 << 17
"""Places that are read at once."""


class Starts(Protocol):
    """The places of the first tokens of a stream's documents, in order; a document may have no tokens."""

    def __len__(self) -> int: ...

    def blocks(self) -> Iterator[Places]:
        """Yield them in blocks, each (n,) int64."""


class NotedStarts:
    """Starts that are noted while a stream passes: 8 bytes each, in memory up to `HELD_BYTES`, then in a file."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._files = ExitStack()
        self._file: BinaryIO | None = None
        self._n_filed = 0

    def __len__(self) -> int:
        return self._n_filed + len(self._held) // 8

    def add(self, places: Places) -> None:
        """Note some more. Raises `OutputError` where the file has no room."""
        self._held += places.astype("<i8").tobytes()
        if len(self._held) >= HELD_BYTES:
            self._file = self._file or self._files.enter_context(temporary_file())
            self._file.write(self._held)
            self._n_filed, self._held = len(self), bytearray()

    def blocks(self) -> Iterator[Places]:
        """Yield all that were noted, in blocks, each (n,) int64."""
        if self._file is not None:
            for at in range(0, 8 * self._n_filed, 8 * BLOCK):
                self._file.seek(at)
                yield np.frombuffer(self._file.read(min(8 * BLOCK, 8 * self._n_filed - at)), "<i8")
            self._file.seek(8 * self._n_filed)
        if self._held:
            yield np.frombuffer(bytes(self._held), "<i8")


@dataclass(frozen=True, slots=True, eq=False)
class ListedStarts:
    """Starts that stand in an array (n,) int64."""

    places: Places

    def __len__(self) -> int:
        return len(self.places)

    def blocks(self) -> Iterator[Places]:
        """Yield them in blocks, each (n,) int64."""
        return (self.places[at : at + BLOCK] for at in range(0, len(self.places), BLOCK))


class StartFinder:
    """Finds where documents begin in blocks of ids, and notes it in ``starts``.

    Where the options have boundaries in texts, a document begins at each id that follows an end-of-text id, or the
    begin of an input, and is none itself.
    """

    def __init__(self, options: TextOptions, eot_id: int | None) -> None:
        self.starts = NotedStarts()
        self.separate = options.separator == "eot"
        self._in_text = options.boundaries == "text"
        self._eot_id = eot_id
        self._after_eot = False

    def look(self, block: Block, ids: Ids, position: int) -> None:
        """Note the documents that begin in a block, whose ``ids`` begin at a position of the stream."""
        if self._in_text:
            places = self._after_eots(ids, first=block.first)
        elif block.seams:
            seams = np.flatnonzero(ids == self._eot_id)
            places = np.concatenate([[0], seams + 1 if self.separate else seams - np.arange(len(seams))])
        else:
            places = np.zeros(int(block.first), np.int64)
        self.starts.add(places + position)

    def _after_eots(self, ids: Ids, *, first: bool) -> Places:
        is_eot = ids == self._eot_id
        follows = np.concatenate([[first or self._after_eot], is_eot])
        self._after_eot = bool(follows[-1])
        return np.flatnonzero(follows[:-1] & ~is_eot)


def is_left_out(starts: Starts, *, is_shard: bool) -> bool:
    """Tell whether a file need not state them: there are none, or one document is the whole of a file's stream."""
    return not len(starts) or (len(starts) == 1 and not is_shard and int(next(starts.blocks())[0]) == 0)
