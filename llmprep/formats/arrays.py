"""Arrays -> the tensors of a .pt file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from llmprep.formats.ids import Array
from llmprep.output.writing import Sink
from llmprep.ptfile.layout import DTYPES, Plain, TensorView, c_strides
from llmprep.ptfile.writing import write_pt


def raw_blocks(blocks: Iterable[Array], dtype: str) -> Iterator[memoryview]:
    """Yield the bytes of each block, converted to ``dtype``, little-endian and in C order."""
    for block in blocks:
        yield np.ascontiguousarray(block, DTYPES[dtype].numpy).data.cast("B") if block.size else memoryview(b"")


def write_arrays(sink: Sink, arrays: Mapping[str, Array], dtype: str, **values: Plain) -> int:
    """Write a file of contiguous tensors, a storage each, and of plain values; return its size in bytes."""
    views = {
        key: TensorView(number, dtype, array.shape, c_strides(array.shape))
        for number, (key, array) in enumerate(arrays.items())
    }
    return write_pt(sink, [raw_blocks([array], dtype) for array in arrays.values()], lambda _: {**views, **values})
