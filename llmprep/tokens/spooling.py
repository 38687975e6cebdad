"""A stream of ids that must be read twice -> a mapped temporary file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from llmprep.output.mapping import map_file
from llmprep.output.temporary import temporary_file
from llmprep.tokens.backends import Ids


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
