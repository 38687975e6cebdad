"""A pairs file: ``contexts`` (n, context_size), ``lengths`` (n,), ``targets`` (n,), int64, and ``meta``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmprep.formats.arrays import write_arrays
from llmprep.output.writing import Sink
from llmprep.windows.pairs import Pairs


def write_pairs(sink: Sink, pairs: Pairs, meta: Mapping[str, Any]) -> int:
    """Write a pairs file; return its size in bytes."""
    arrays = {"contexts": pairs.contexts, "lengths": pairs.lengths, "targets": pairs.targets}
    return write_arrays(sink, arrays, "int64", meta=dict(meta))
