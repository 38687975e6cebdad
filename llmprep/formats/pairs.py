"""A pairs file: ``contexts`` (n, context_size), ``lengths`` (n,), ``targets`` (n,)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmprep.formats.ids import raw_blocks
from llmprep.output.writing import Sink
from llmprep.ptfile.layout import TensorView, c_strides
from llmprep.ptfile.writing import write_pt
from llmprep.windows.pairs import Pairs


def write_pairs(sink: Sink, pairs: Pairs, meta: Mapping[str, Any]) -> int:
    """Write a pairs file; returns its size in bytes."""
    arrays = {"contexts": pairs.contexts, "lengths": pairs.lengths, "targets": pairs.targets}
    described: dict[str, Any] = {
        key: TensorView(number, "int64", array.shape, c_strides(array.shape))
        for number, (key, array) in enumerate(arrays.items())
    }
    return write_pt(
        sink,
        [raw_blocks([array], "int64") for array in arrays.values()],
        lambda _: {**described, "meta": dict(meta)},
    )
