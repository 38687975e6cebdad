"""A tokens file: ``token_ids`` (n,), in a dtype of `IdDtype`, and ``meta``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmprep.errors import EmptyError, FileFormatError, list_names
from llmprep.formats.arrays import raw_blocks
from llmprep.formats.ids import ID_DTYPES, Array, check_ids
from llmprep.formats.meta import check_dtype, is_chained, make_meta, require_stated
from llmprep.output.writing import Sink
from llmprep.ptfile.layout import TensorView
from llmprep.ptfile.reading import PtFile
from llmprep.ptfile.writing import write_pt
from llmprep.tokens.content import hash_ids
from llmprep.tokens.cores import default_jobs
from llmprep.tokens.stream import TokenStream


def read_tokens(file: PtFile) -> Array:
    """Return ``token_ids`` (n,) of a tokens file; the ids themselves are for `check_ids`.

    Raises `FileFormatError` for another key, shape or dtype, `EmptyError` if there is no id.
    """
    ids = file.tensors.get("token_ids")
    if ids is None:
        held = list_names([*file.tensors]) if file.tensors else "no tensor"
        raise FileFormatError(f"{file.name}: holds {held}; a tokens file has token_ids (n,), a windows file input_ids")
    if ids.ndim != 1 or file.dtypes["token_ids"] not in ID_DTYPES:
        raise FileFormatError(
            f"{file.name}: token_ids has shape {ids.shape} and dtype {file.dtypes['token_ids']}; need (n,) integers"
        )
    if not len(ids):
        raise EmptyError(f"{file.name}: empty: 0 tokens")
    return ids


def write_tokens(sink: Sink, stream: TokenStream, *, dtype: str) -> int:
    """Write a tokens file while the stream is read; return its size in bytes.

    Raises `UsageError` if the ids do not fit ``dtype``.
    """
    check_dtype(dtype, stream.origin.n_vocab)
    figures = stream.figures

    def describe(_: Sequence[int]) -> dict[str, Any]:
        view = TensorView(0, dtype, (figures.n_tokens,), (1,))
        return {"token_ids": view, "meta": make_meta("tokens", stream.origin, figures, dtype=dtype)}

    return write_pt(sink, [raw_blocks(stream, dtype)], describe)


def verify_tokens(file: PtFile, meta: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each thing that holds of a tokens file; raise `FileFormatError` for the first that does not."""
    ids = read_tokens(file)
    check_ids(ids, meta["n_vocab"], file.name)
    yield f"{len(ids)} ids, each in the vocabulary of {meta['n_vocab']}"
    require_stated(file.name, "n_tokens", len(ids), meta["n_tokens"])
    if "content_sha256" not in meta:
        yield "no content_sha256 is stated, as in a shard of a store, whose manifest has the hash of all ids"
        return
    found = hash_ids(ids, chained=is_chained(meta), n_threads=default_jobs())
    require_stated(file.name, "content_sha256", found, meta["content_sha256"])
    yield f"content_sha256 {meta['content_sha256']}"
