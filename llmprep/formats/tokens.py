"""A tokens file: ``token_ids`` (n,)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmprep.errors import EmptyError, FileFormatError, list_names
from llmprep.formats.ids import Array, check_ids, hash_ids, raw_blocks
from llmprep.formats.meta import check_dtype, compare, make_meta
from llmprep.output.writing import Sink
from llmprep.ptfile.layout import TensorView
from llmprep.ptfile.reading import PtFile
from llmprep.ptfile.writing import write_pt
from llmprep.tokens.stream import TokenStream


def read_tokens(file: PtFile) -> Array:
    """Return ``token_ids`` (n,) of a tokens file, or raise `FileFormatError`."""
    ids = file.tensors.get("token_ids")
    if ids is None:
        held = list_names([*file.tensors]) if file.tensors else "no tensor"
        raise FileFormatError(f"{file.name}: holds {held}; a tokens file has token_ids (n,), a windows file input_ids")
    if ids.ndim != 1 or file.dtypes["token_ids"] not in ("int64", "int32", "uint16"):
        raise FileFormatError(
            f"{file.name}: token_ids has shape {ids.shape} and dtype {file.dtypes['token_ids']}; need (n,) integers"
        )
    if not len(ids):
        raise EmptyError(f"{file.name}: empty: 0 tokens")
    return ids


def write_tokens(sink: Sink, stream: TokenStream, *, dtype: str) -> int:
    """Write a tokens file while the stream is read; return its size in bytes."""
    check_dtype(dtype, stream.origin.n_vocab)
    figures = stream.figures

    def describe(_: Sequence[int]) -> dict[str, Any]:
        view = TensorView(0, dtype, (figures.n_tokens,), (1,))
        return {"token_ids": view, "meta": make_meta("tokens", stream.origin, figures, dtype=dtype)}

    return write_pt(sink, [raw_blocks(stream, dtype)], describe)


def verify_tokens(file: PtFile, meta: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was checked of a tokens file. Raises `FileFormatError` for the first thing that does not hold."""
    ids = read_tokens(file)
    check_ids(ids, meta["n_vocab"], file.name)
    yield f"{len(ids)} ids, each in the vocabulary of {meta['n_vocab']}"
    compare(file.name, "n_tokens", len(ids), meta["n_tokens"])
    compare(file.name, "content_sha256", hash_ids(ids), meta["content_sha256"])
    yield f"content_sha256 {meta['content_sha256']}"
