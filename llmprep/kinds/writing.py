"""A stream of ids -> each kind of .pt file, written as the stream passes by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from llmprep import __version__
from llmprep.errors import UsageError
from llmprep.kinds.reading import FORMAT, IDS_PER_BLOCK, Array, id_blocks
from llmprep.ptfile import DTYPES, TensorView, c_strides, write_pt
from llmprep.ptfile.writing import Sink
from llmprep.tokens import Hashing, TokenStream, spool
from llmprep.vocabulary import Announce
from llmprep.windows import Pairs, require_windows, split_place, take_rows, view_windows


def check_dtype(dtype: str, n_vocab: int) -> None:
    """Raise `UsageError` if ids of this vocabulary do not fit the dtype."""
    if dtype == "uint16" and n_vocab > 65_536:
        raise UsageError(f"--dtype uint16: holds ids up to 65535, this vocabulary has {n_vocab}; use int32 or int64")


def make_meta(kind: str, stream: TokenStream, **options: object) -> dict[str, Any]:
    """Return ``meta`` for a file made from a stream that has been read to its end."""
    return {
        "format": FORMAT,
        "kind": kind,
        "llmprep_version": __version__,
        "encoding": stream.encoding,
        "vocab_sha256": stream.vocab_sha256,
        "n_vocab": stream.n_vocab,
        "n_tokens": stream.n_tokens,
        "options": {**stream.options, **options},
        "sources": stream.sources,
        "content_sha256": stream.content_sha256,
    }


def _bytes_of(blocks: Iterable[Array], dtype: str) -> Iterator[memoryview]:
    for block in blocks:
        yield (np.ascontiguousarray(block, DTYPES[dtype].numpy).data.cast("B") if block.size else memoryview(b""))


def write_tokens(sink: Sink, stream: TokenStream, *, dtype: str) -> int:
    """Write a tokens file as the stream passes by; returns its size in bytes."""
    check_dtype(dtype, stream.n_vocab)

    def describe(_: Sequence[int]) -> dict[str, Any]:
        view = TensorView(0, dtype, (stream.n_tokens,), (1,))
        return {"token_ids": view, "meta": make_meta("tokens", stream, dtype=dtype)}

    return write_pt(sink, [_bytes_of(stream, dtype)], describe)


def write_windows(
    sink: Sink,
    stream: TokenStream,
    max_length: int,
    stride: int,
    *,
    dtype: str,
    dense: bool = False,
    announce: Announce | None = None,
) -> int:
    """Write a windows file as the stream passes by; returns its size in bytes.

    Inputs and targets are views of one storage, which holds the whole stream once, or, where stride > max_length,
    rows of max_length + 1 ids. With ``dense`` they are two contiguous tensors, and ``announce`` is told their size
    before they are written. Raises `DataError` if the stream is too short for one window.
    """
    check_dtype(dtype, stream.n_vocab)
    written = _dense_storages if dense else _shared_storage
    storages, views = written(stream, max_length, stride, dtype, announce)
    options = {"max_length": max_length, "stride": stride, "dtype": dtype, "dense": dense}
    return write_pt(sink, storages, lambda _: {**views(), "meta": make_meta("windows", stream, **options)})


Storages = tuple[list[Iterator[memoryview]], Callable[[], dict[str, TensorView]]]


def _shared_storage(stream: TokenStream, max_length: int, stride: int, dtype: str, _: Announce | None) -> Storages:
    """One storage; the number of windows is known when it has been written."""
    apart = stride > max_length
    step = max_length + 1 if apart else stride
    blocks = take_rows(stream, max_length, stride) if apart else iter(stream)

    def views() -> dict[str, TensorView]:
        shape = (require_windows(stream.n_tokens, max_length, stride, stream.name), max_length)
        return {
            key: TensorView(0, dtype, shape, (step, 1), offset)
            for offset, key in enumerate(("input_ids", "target_ids"))
        }

    return [_bytes_of(blocks, dtype)], views


def _dense_storages(
    stream: TokenStream, max_length: int, stride: int, dtype: str, announce: Announce | None
) -> Storages:
    """Two storages, each written from front to back, so the stream is held in a temporary file."""
    ids = spool(iter(stream))
    shape = (require_windows(len(ids), max_length, stride, stream.name), max_length)
    if announce is not None:
        n_bytes = 2 * shape[0] * shape[1] * DTYPES[dtype].itemsize
        announce(f"--dense: 2 x {shape[0]} x {shape[1]} {dtype} are {n_bytes:,} bytes")
    rows = view_windows(ids, max_length, stride)
    views = {
        key: TensorView(number, dtype, shape, c_strides(shape))
        for number, key in enumerate(("input_ids", "target_ids"))
    }
    return [_bytes_of(_row_blocks(part), dtype) for part in rows], lambda: views


def _row_blocks(rows: Array) -> Iterator[Array]:
    step = max(1, IDS_PER_BLOCK // rows.shape[1])
    return (rows[k : k + step] for k in range(0, len(rows), step))


def split_stream(stream: TokenStream, val_fraction: float) -> list[TokenStream]:
    """Cut a stream once, before windowing, so that the two parts share no token: [train, val].

    The last ``floor(n * val_fraction)`` tokens are for validation.
    """
    ids = spool(iter(stream))
    cut = split_place(len(ids), val_fraction)
    return [
        replace(
            stream,
            name=f"{stream.name} ({part})",
            options={**stream.options, "val_fraction": val_fraction, "part": part},
            blocks=id_blocks(held),
            records=stream.sources,
            n_tokens=0,
            head=[],
            hashing=Hashing(threaded=False),
        )
        for part, held in (("train", ids[:cut]), ("val", ids[cut:]))
    ]


def write_pairs(sink: Sink, pairs: Pairs, meta: Mapping[str, Any]) -> int:
    """Write a pairs file; returns its size in bytes."""
    arrays = {"contexts": pairs.contexts, "lengths": pairs.lengths, "targets": pairs.targets}
    described: dict[str, Any] = {
        key: TensorView(number, "int64", array.shape, c_strides(array.shape))
        for number, (key, array) in enumerate(arrays.items())
    }
    return write_pt(
        sink,
        [_bytes_of([array], "int64") for array in arrays.values()],
        lambda _: {**described, "meta": dict(meta)},
    )


def write_embeddings(
    sink: Sink,
    batches: Iterable[memoryview],
    shape: tuple[int, int, int],
    *,
    dtype: str,
    meta: Mapping[str, Any],
) -> int:
    """Write an embeddings file from the raw bytes of its batches; returns its size in bytes."""
    view = TensorView(0, dtype, shape, c_strides(shape))
    return write_pt(sink, [batches], lambda _: {"input_embeddings": view, "meta": dict(meta)})


def write_weights(sink: Sink, weights: Mapping[str, Array]) -> int:
    """Write named float32 tables, as ``embed --weights`` reads them; returns the size in bytes."""
    described = {
        key: TensorView(number, "float32", table.shape, c_strides(table.shape))
        for number, (key, table) in enumerate(weights.items())
    }
    return write_pt(sink, [_bytes_of([table], "float32") for table in weights.values()], lambda _: described)
