"""A pairs file: ``contexts`` (n, context_size), ``lengths`` (n,), ``targets`` (n,), int64, and ``meta``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmprep.formats.arrays import raw_blocks
from llmprep.output.writing import Sink
from llmprep.ptfile.layout import TensorView, c_strides
from llmprep.ptfile.writing import write_pt
from llmprep.windows.pairs import Pairs


def write_pairs(sink: Sink, pairs: Pairs, meta: Mapping[str, Any]) -> int:
    """Write a pairs file, block by block; return its size in bytes."""
    shapes = {"contexts": (len(pairs), pairs.context_size), "lengths": (len(pairs),), "targets": (len(pairs),)}
    views = {key: TensorView(k, "int64", shape, c_strides(shape)) for k, (key, shape) in enumerate(shapes.items())}
    storages = [raw_blocks(blocks, "int64") for blocks in (pairs.contexts(), pairs.lengths(), pairs.targets())]
    return write_pt(sink, storages, lambda _: {**views, "meta": dict(meta)})
