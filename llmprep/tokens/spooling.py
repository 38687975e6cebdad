"""A stream of ids that must be read twice -> a mapped temporary file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from llmprep.output.mapping import map_file
from llmprep.output.temporary import temporary_file
from llmprep.tokens.backends import Ids


def spool(blocks: Iterator[Ids], folder: Path | None = None) -> Ids:
    """Put a stream into an unnamed temporary file and map it: (n,) uint32, for what must be read twice."""
    with temporary_file(folder) as file:
        return _spool_into(file, blocks)


def _spool_into(file: BinaryIO, blocks: Iterator[Ids]) -> Ids:
    size = 0
    for block in blocks:
        size += file.write(np.ascontiguousarray(block, "<u4").data)
    file.flush()
    return np.frombuffer(map_file(file), "<u4") if size else np.empty(0, np.uint32)
