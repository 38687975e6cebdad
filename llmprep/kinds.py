"""The four kinds of .pt file: how each is written, and how it is read back.

    tokens       token_ids (n,)
    pairs        contexts (n, context_size), lengths (n,), targets (n,)
    windows      input_ids (N, L), target_ids (N, L): two views of one token stream
    embeddings   input_embeddings (N, L, D)

Each also holds ``meta``: what it was made from and with which options, and nothing of when, where, by whom or how
fast. Reading takes nothing on trust: keys, shapes, dtypes and every id are checked.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmprep import __version__
from llmprep.backends import Encoder
from llmprep.documents import Source, close_source, find_sources, open_source, peek
from llmprep.errors import DataError, FileFormatError, UsageError
from llmprep.ptfile import DTYPES, PtFile, TensorView, c_strides, is_zip, read_pt, write_pt
from llmprep.ptfile.writing import Sink
from llmprep.store.manifest import is_store
from llmprep.store.reading import TokenStore
from llmprep.tokens import (
    Effort,
    Hashing,
    TextOptions,
    TokenStream,
    create_encoder,
    spool,
    stream_text,
    temporary_file,
)
from llmprep.vocabulary import Announce, load_vocabulary, resolve_encoding
from llmprep.windows import Pairs, require_windows, stream_of, take_rows, view_windows

Array = npt.NDArray[Any]

FORMAT = "llmprep/1"
IDS_PER_BLOCK = 1 << 18
TEXT_OPTIONS = ("newlines", "separator", "special")
MAX_VOCAB = 1 << 24
META_TYPES = {
    "encoding": str,
    "vocab_sha256": str,
    "n_vocab": int,
    "n_tokens": int,
    "content_sha256": str,
    "options": dict,
    "sources": list,
}
SOURCE_TYPES = {"name": str, "bytes": int, "sha256": str, "tokens": int}


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


# --- writing --------------------------------------------------------------------------------------


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
    cut = len(ids) - math.floor(len(ids) * val_fraction)
    return [
        replace(
            stream,
            name=f"{stream.name} ({part})",
            options={**stream.options, "val_fraction": val_fraction, "part": part},
            blocks=_id_blocks(held),
            records=stream.sources,
            n_tokens=0,
            head=[],
            hashing=Hashing(threaded=False),
        )
        for part, held in (("train", ids[:cut]), ("val", ids[cut:]))
    ]


def _id_blocks(ids: Array) -> Iterator[npt.NDArray[np.uint32]]:
    return (ids[k : k + IDS_PER_BLOCK].astype(np.uint32) for k in range(0, len(ids), IDS_PER_BLOCK))


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


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """How inputs are read. ``None`` stands for what was not chosen: a .pt file has made those choices already.

    ``announce`` is told what a person should know meanwhile; ``watch`` sees the sources before they are read.
    """

    encoding: str | None = None
    options: TextOptions | None = None
    vocab_dir: str | None = None
    text_field: str | None = None
    effort: Effort | None = None
    announce: Announce | None = None
    watch: Callable[[list[Source]], None] | None = None


def open_tokens(paths: Sequence[str], reading: Reading | None = None) -> TokenStream:
    """Open texts, or one tokens or windows .pt file (its first bytes tell), as one stream of ids.

    The encoding is gpt2 for texts unless chosen; a .pt file knows its own, and refuses another.
    """
    reading = reading or Reading()
    if len(paths) == 1 and is_store(paths[0]):
        return stream_store(TokenStore(Path(paths[0])), reading)
    sources = find_sources(paths, reading.text_field, reading.announce)
    file = open_pt(sources)
    return stream_file(file, reading) if file else _stream_sources(sources, reading)


def stream_store(store: TokenStore, reading: Reading) -> TokenStream:
    """Stream the ids of a token store, whose tokens are made already."""
    _refuse_text_choices(str(store.folder), reading)
    values = store.manifest.values
    return TokenStream(
        name=str(store.folder),
        encoding=check_encoding(str(store.folder), values["encoding"], reading.encoding),
        vocab_sha256=values["vocab_sha256"],
        n_vocab=values["n_vocab"],
        options={key: values["options"][key] for key in TEXT_OPTIONS if key in values["options"]},
        blocks=store.blocks(),
        records=[
            {
                "name": f"{len(values['sources'])} inputs",
                "tokens": values["n_tokens"],
                "documents": values["n_documents"],
                "bytes": sum(size for _, size in values["sources"]),
                "sha256": values["plan_sha256"],
            }
        ],
    )


def open_each(paths: Sequence[str], reading: Reading) -> Iterator[TokenStream]:
    """Open each input as a stream of its own, as `open_tokens` does; all are checked before any is read."""
    sources = find_sources(paths, reading.text_field, reading.announce)

    @functools.cache
    def encoder() -> Encoder:
        vocabulary = load_vocabulary(reading.encoding or "gpt2", reading.vocab_dir, reading.announce)
        return create_encoder(sources, vocabulary, reading.options, reading.effort)

    for source in sources:
        file = open_pt([source])
        if file:
            yield stream_file(file, reading)
        else:
            yield stream_text([source], encoder().vocabulary, reading.options, reading.effort, encoder())


def _stream_sources(sources: list[Source], reading: Reading) -> TokenStream:
    if reading.watch is not None:
        reading.watch(sources)
    vocabulary = load_vocabulary(reading.encoding or "gpt2", reading.vocab_dir, reading.announce)
    return stream_text(sources, vocabulary, reading.options, reading.effort)


def open_pt(sources: Sequence[Source]) -> PtFile | None:
    """Read the one input if it is a .pt file; one that comes through a pipe goes into a temporary file first."""
    if len(sources) != 1:
        return None
    (source,) = sources
    is_pt = is_zip(peek(source, 4))
    if source.size is not None:
        close_source(source)
    if not is_pt:
        return None
    if source.size is not None:
        return read_pt(Path(source.path))
    with temporary_file() as spooled:
        stream = open_source(source)
        while data := stream.read(IDS_PER_BLOCK):
            spooled.write(data)
        close_source(source)
        spooled.flush()
        spooled.seek(0)
        return read_pt(spooled, source.path)


def stream_file(file: PtFile, reading: Reading | None = None) -> TokenStream:
    """Stream the ids of a tokens file, or the token stream that a windows file was cut from."""
    stream = _stream_of_meta(file, reading or Reading())
    stream.blocks = _id_blocks(_checked_stream(file, stream.n_vocab))
    stream.options = {key: value for key, value in stream.options.items() if key in TEXT_OPTIONS}
    return stream


def _stream_of_meta(file: PtFile, reading: Reading) -> TokenStream:
    """A stream with the figures that a file states of itself, and no blocks."""
    _refuse_text_choices(file.name, reading)
    meta, name = file.meta, encoding_of(file, reading.encoding)
    if meta:
        _check_meta(meta, file.name)
    vocabulary = None if meta else load_vocabulary(name, reading.vocab_dir, reading.announce)
    return TokenStream(
        name=file.name,
        encoding=name,
        vocab_sha256=vocabulary.sha256 if vocabulary else meta["vocab_sha256"],
        n_vocab=vocabulary.n_vocab if vocabulary else meta["n_vocab"],
        options=meta.get("options", {}),
        blocks=iter(()),
        vocabulary=vocabulary,
        vocab_dir=reading.vocab_dir,
        records=meta.get("sources", []),
        n_tokens=meta.get("n_tokens", 0),
        content_sha256=meta.get("content_sha256", ""),
    )


def _refuse_text_choices(name: str, reading: Reading) -> None:
    if reading.options is not None or reading.text_field is not None:
        raise UsageError(f"{name}: its tokens are made already; options for text do not apply")


def _check_meta(meta: Mapping[str, Any], name: str) -> None:
    """Raise `FileFormatError` unless what a file states of itself has the types and ranges that are counted on."""
    for key, kind in META_TYPES.items():
        if type(meta.get(key)) is not kind:
            raise FileFormatError(f"{name}: meta: {key} is missing or no {kind.__name__}")
    if meta.get("format") != FORMAT:
        raise FileFormatError(f"{name}: format is {meta.get('format')!r}, this llmprep reads {FORMAT!r}")
    if not 1 <= meta["n_vocab"] <= MAX_VOCAB or meta["n_tokens"] < 0:
        raise FileFormatError(f"{name}: meta: n_vocab {meta['n_vocab']} or n_tokens {meta['n_tokens']} is out of range")
    for source in meta["sources"]:
        if type(source) is not dict or any(type(source.get(key)) is not kind for key, kind in SOURCE_TYPES.items()):
            raise FileFormatError(f"{name}: meta: sources are records of {', '.join(SOURCE_TYPES)}")


def encoding_of(file: PtFile, encoding: str | None = None) -> str:
    """Return the encoding a file was made with; one that is asked for must be the same."""
    own = file.meta.get("encoding")
    if not isinstance(own, str):
        return resolve_encoding(encoding) if encoding else "gpt2"
    return check_encoding(file.name, own, encoding)


def check_encoding(name: str, own: str, encoding: str | None) -> str:
    """Return ``own``, or raise `UsageError` if another encoding is asked for."""
    if encoding and resolve_encoding(encoding) != own:
        raise UsageError(f"--encoding {encoding}: {name} was made with {own}")
    return own


def _checked_stream(file: PtFile, n_vocab: int) -> Array:
    if "input_ids" not in file.tensors:
        ids = file_tokens(file)
        check_ids(ids, n_vocab, file.name)
        return ids
    inputs, targets = file_windows(file)
    options = file.meta.get("options")
    stride = options.get("stride") if isinstance(options, dict) else None
    if type(stride) is not int or not 1 <= stride <= inputs.shape[1] or not len(inputs):
        raise DataError(
            f"{file.name}: its windows leave gaps (stride {stride}, max_length {inputs.shape[1]}), so they are no "
            f"continuous text; give the text or a tokens file"
        )
    ids = stream_of(inputs, targets, stride)
    check_ids(ids, n_vocab, file.name)
    return ids


def file_tokens(file: PtFile) -> Array:
    """Return ``token_ids`` (n,) of a tokens file, or raise `FileFormatError`."""
    ids = file.tensors.get("token_ids")
    if ids is None:
        held = ", ".join(file.tensors) or "no tensor"
        raise FileFormatError(f"{file.name}: holds {held}; a tokens file has token_ids (n,), a windows file input_ids")
    if ids.ndim != 1 or file.dtypes["token_ids"] not in ("int64", "int32", "uint16"):
        raise FileFormatError(
            f"{file.name}: token_ids has shape {ids.shape} and dtype {file.dtypes['token_ids']}; need (n,) integers"
        )
    if not len(ids):
        raise DataError(f"{file.name}: empty: 0 tokens")
    return ids


def file_windows(file: PtFile, max_length: int | None = None, stride: int | None = None) -> tuple[Array, Array]:
    """Return ``input_ids`` and ``target_ids`` (N, L) of a windows file.

    Raises `FileFormatError` for wrong keys, shapes or dtypes, `UsageError` if max_length or stride is given and is
    not the file's. The ids themselves are for `check_ids`.
    """
    pair = []
    for key in ("input_ids", "target_ids"):
        array = file.tensors.get(key)
        if array is None or array.ndim != 2 or file.dtypes[key] not in ("int64", "int32", "uint16"):
            held = "missing" if array is None else f"shape {array.shape}, dtype {file.dtypes[key]}"
            raise FileFormatError(f"{file.name}: {key}: {held}; a windows file has (N, L) integers")
        pair.append(array)
    inputs, targets = pair
    if inputs.shape != targets.shape:
        raise FileFormatError(f"{file.name}: input_ids {inputs.shape} and target_ids {targets.shape} differ in shape")
    options = file.meta.get("options")
    own_stride = options.get("stride") if isinstance(options, dict) else None
    for name, wanted, own in (("max_length", max_length, inputs.shape[1]), ("stride", stride, own_stride)):
        if wanted is not None and own is not None and wanted != own:
            raise UsageError(f"{name} {wanted}: {file.name} was made with {name} {own}")
    return inputs, targets


def check_window_ids(file: PtFile, n_vocab: int) -> None:
    """Check the ids of a windows file; a storage that is sound spares looking at its overlapping rows one by one."""
    for key in ("input_ids", "target_ids"):
        storage = file.storages[key]
        try:
            check_ids(storage, n_vocab, file.name)
        except FileFormatError:
            check_ids(file.tensors[key], n_vocab, file.name)


def check_ids(ids: Array, n_vocab: int, name: str) -> None:
    """Raise `FileFormatError` that names the first id outside 0..n_vocab-1 and where it stands."""
    rows = max(1, IDS_PER_BLOCK // max(1, ids[0].size if len(ids) else 1))
    for start in range(0, len(ids), rows):
        part = ids[start : start + rows]
        if part.min() >= 0 and part.max() < n_vocab:
            continue
        place = np.argwhere((part < 0) | (part >= n_vocab))[0].tolist()
        value, where = int(part[tuple(place)]), [start + place[0], *place[1:]]
        reason = "is negative" if value < 0 else f">= vocabulary {n_vocab}"
        raise FileFormatError(f"{name}: id {value} at {where} {reason}")


@dataclass(frozen=True, slots=True)
class WindowSource:
    """Input windows (N, L), to be read in any order, and the stream they were cut from, read to its end."""

    rows: Array
    stream: TokenStream


def open_windows(
    paths: Sequence[str], max_length: int | None, stride: int | None, reading: Reading | None = None
) -> WindowSource:
    """Open a windows file, or cut windows from texts or a tokens file (max_length is then 256 unless given)."""
    reading = reading or Reading()
    store = TokenStore(Path(paths[0])) if len(paths) == 1 and is_store(paths[0]) else None
    sources = [] if store else find_sources(paths, reading.text_field, reading.announce)
    file = open_pt(sources)
    if file and "input_ids" in file.tensors:
        rows, _ = file_windows(file, max_length, stride)
        stream = _stream_of_meta(file, reading)
        check_window_ids(file, stream.n_vocab)
        return WindowSource(rows, stream)
    stream = (
        stream_store(store, reading)
        if store
        else stream_file(file, reading)
        if file
        else _stream_sources(sources, reading)
    )
    max_length = 256 if max_length is None else max_length
    stride = stride or max_length
    ids = spool(iter(stream))
    require_windows(len(ids), max_length, stride, stream.name)
    stream.options = {**stream.options, "max_length": max_length, "stride": stride}
    return WindowSource(view_windows(ids, max_length, stride)[0], stream)
