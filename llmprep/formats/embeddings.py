"""An embeddings file: ``input_embeddings`` (N, L, D), in a dtype of `FloatDtype`, and ``meta``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmprep.output.writing import Sink
from llmprep.ptfile.layout import TensorView, c_strides
from llmprep.ptfile.writing import write_pt
from llmprep.tokens.cores import default_jobs


def write_embeddings(
    sink: Sink,
    blocks: Iterable[memoryview],
    shape: tuple[int, int, int],
    *,
    dtype: str,
    meta: Mapping[str, Any],
) -> int:
    """Write an embeddings file from its raw bytes, in blocks, in C order; return its size in bytes."""
    view = TensorView(0, dtype, shape, c_strides(shape))
    return write_pt(sink, [blocks], lambda _: {"input_embeddings": view, "meta": dict(meta)}, jobs=default_jobs())
