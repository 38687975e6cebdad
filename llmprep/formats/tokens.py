"""A tokens file: ``token_ids`` (n,), in a dtype of `IdDtype`, ``document_starts`` and ``meta``.

``document_starts`` (documents,) int64 are the places in ``token_ids`` at which documents begin, separators left out, in
order; a document may have no tokens. A file of one document, which begins with the first token, leaves them out, and so
does a shard of a store in which none begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmprep.errors import EmptyError, FileFormatError, list_names, plural
from llmprep.formats.arrays import raw_blocks
from llmprep.formats.ids import ID_DTYPES, IDS_PER_BLOCK, Array, check_ids
from llmprep.formats.meta import check_dtype, is_chained, make_meta, require_stated, wrong_keys
from llmprep.output.writing import Sink
from llmprep.ptfile.layout import TensorView
from llmprep.ptfile.reading import PtFile
from llmprep.ptfile.writing import write_pt
from llmprep.tokens.content import hash_ids
from llmprep.tokens.cores import default_jobs
from llmprep.tokens.starts import is_left_out
from llmprep.tokens.stream import TokenStream

Starts = npt.NDArray[np.int64]


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


def read_starts(file: PtFile) -> Starts | None:
    """Return ``document_starts`` (documents,) int64 of a tokens file, [0] where it is one document; None if not known.

    The places themselves are for `check_starts`. Raises `FileFormatError` for another shape or dtype.
    """
    starts = file.tensors.get("document_starts")
    if starts is None:
        return np.zeros(1, np.int64) if _is_one_document(file) else None
    if starts.ndim != 1 or file.dtypes["document_starts"] != "int64":
        raise FileFormatError(
            f"{file.name}: document_starts has shape {starts.shape} and dtype {file.dtypes['document_starts']}; "
            f"need (documents,) int64"
        )
    return starts


def _is_one_document(file: PtFile) -> bool:
    sources = file.meta.get("sources")
    if not isinstance(sources, list) or any(wrong_keys(source, {"documents": int}) for source in sources):
        return False
    return bool(sum(source["documents"] for source in sources) <= 1)


def check_starts(starts: Starts, ids: Array, name: str, *, separated: bool = False) -> None:
    """Raise `FileFormatError` that names the first of ``starts`` that is not in order, or not within the ids.

    Where documents are ``separated``, the same id must stand before each, but for one that begins with the first.
    """
    before, n_tokens = 0, len(ids)
    separator = ids[starts[starts > 0][:1] - 1] if separated else None
    for at in range(0, len(starts), IDS_PER_BLOCK):
        block = starts[at : at + IDS_PER_BLOCK]
        wrong = np.diff(block, prepend=before) < 0
        wrong |= block > n_tokens
        if wrong.any():
            place = int(np.argmax(wrong))
            raise FileFormatError(
                f"{name}: document_starts: {int(block[place])} at [{at + place}] is not in order, or not within the "
                f"{n_tokens} tokens"
            )
        if separator is not None and (ids[block[block > 0] - 1] != separator).any():
            raise FileFormatError(f"{name}: document_starts: not all of them are after the same id, an end of text")
        before = block[-1]


def write_tokens(sink: Sink, stream: TokenStream, *, dtype: str, is_shard: bool = False) -> int:
    """Write a tokens file, or a shard of a store, while the stream is read; return its size in bytes.

    Raises `UsageError` if the ids do not fit ``dtype``.
    """
    check_dtype(dtype, stream.origin.n_vocab)
    figures = stream.figures

    def storages() -> Iterator[Iterable[memoryview]]:
        yield raw_blocks(stream, dtype)
        if figures.starts is not None and not is_left_out(figures.starts, is_shard=is_shard):
            yield raw_blocks(figures.starts.blocks(), "int64")

    def describe(sizes: Sequence[int]) -> dict[str, Any]:
        views = {"token_ids": TensorView(0, dtype, (figures.n_tokens,), (1,))}
        if len(sizes) > 1:
            views["document_starts"] = TensorView(1, "int64", (sizes[1] // 8,), (1,))
        return {**views, "meta": make_meta("tokens", stream.origin, figures, dtype=dtype)}

    return write_pt(sink, storages(), describe)


def verify_tokens(file: PtFile, meta: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each thing that holds of a tokens file; raise `FileFormatError` for the first that does not."""
    ids = read_tokens(file)
    check_ids(ids, meta["n_vocab"], file.name)
    yield f"{len(ids)} ids, each in the vocabulary of {meta['n_vocab']}"
    require_stated(file.name, "n_tokens", len(ids), meta["n_tokens"])
    yield from _verify_starts(file, ids, meta)
    if "content_sha256" not in meta:
        yield "no content_sha256 is stated, as in a shard of a store, whose manifest has the hash of all ids"
        return
    found = hash_ids(ids, chained=is_chained(meta), n_threads=default_jobs())
    require_stated(file.name, "content_sha256", found, meta["content_sha256"])
    yield f"content_sha256 {meta['content_sha256']}"


def _verify_starts(file: PtFile, ids: Array, meta: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for where documents begin, if the file states it."""
    starts, options = read_starts(file), meta["options"]
    if "document_starts" not in file.tensors or starts is None:
        return
    if options.get("boundaries") is None and "content_sha256" in meta:
        stated = sum(source["documents"] for source in meta["sources"])
        require_stated(file.name, "the number of document_starts", len(starts), stated)
    check_starts(starts, ids, file.name, separated=options.get("separator") == "eot")
    yield f"{plural(len(starts), 'document')}, where each begins in order"
