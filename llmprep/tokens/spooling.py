"""A stream of ids that must be read twice -> a temporary file, mapped, or read a part at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from llmprep.output.mapping import map_file
from llmprep.output.temporary import temporary_file
from llmprep.tokens.tiktoken import Ids

HELD_BYTES = 4 << 20
"""How much of a spool stays in memory, without a file."""


def spool(blocks: Iterator[Ids], folder: Path | None = None) -> Ids:
    """Read a stream to its end into an unnamed temporary file, and return it mapped: (n,) uint32, read-only.

    ``folder`` is where the file is made, if not in the system's temporary folder. Raises `OutputError` where it has no
    room.
    """
    with temporary_file(folder) as file:
        size = 0
        for block in blocks:
            size += file.write(np.ascontiguousarray(block, "<u4").data)
        file.flush()
        ids: Ids = np.frombuffer(map_file(file), "<u4") if size else np.empty(0, np.uint32)
        return ids


def spool_places(blocks: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """Read places in a stream, in blocks (n,), into an unnamed temporary file, and return them mapped: (n,) int64.

    Raises `OutputError` where it has no room.
    """
    with temporary_file() as file:
        size = sum(file.write(np.ascontiguousarray(block, "<i8").data) for block in blocks)
        file.flush()
        return np.frombuffer(map_file(file), "<i8") if size else np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Spool:
    """Ids (n,) uint32 in a temporary file. What is read of them leaves memory again, unlike the pages of a map."""

    _file: BinaryIO

    def fill(self, blocks: Iterable[Ids]) -> None:
        """Read a stream to its end."""
        for block in blocks:
            self._file.write(np.ascontiguousarray(block, "<u4").data)

    def __getitem__(self, part: slice) -> Ids:
        """Return the ids of a part, which both its ends are given of: (n,) uint32, read-only."""
        self._file.seek(4 * part.start)
        ids: Ids = np.frombuffer(self._file.read(4 * (part.stop - part.start)), "<u4")
        return ids


@contextmanager
def open_spool() -> Iterator[Spool]:
    """Open a place for ids that are read in parts; a few stay in memory. Raises `OutputError` where it has no room."""
    with temporary_file(held=HELD_BYTES) as file:
        yield Spool(file)
