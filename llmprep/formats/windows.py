"""A windows file: ``input_ids`` and ``target_ids`` (N, L), two views of one token stream, and ``meta``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from llmprep.choices import ID_DTYPE, Announce
from llmprep.errors import DataError, EmptyError, FileFormatError, UsageError, plural
from llmprep.formats.arrays import raw_blocks
from llmprep.formats.ids import ID_DTYPES, IDS_PER_BLOCK, Array, check_ids
from llmprep.formats.meta import check_dtype, is_chained, make_meta, require_stated
from llmprep.formats.tokens import read_tokens
from llmprep.output.writing import Sink
from llmprep.ptfile.layout import DTYPES, TensorView, c_strides
from llmprep.ptfile.reading import PtFile
from llmprep.ptfile.writing import write_pt
from llmprep.tokens.content import hash_ids
from llmprep.tokens.cores import default_jobs
from llmprep.tokens.spooling import spool
from llmprep.tokens.stream import TokenStream
from llmprep.windows.counts import count_windows, require_windows
from llmprep.windows.views import stream_of, take_rows, view_windows

KEYS = ("input_ids", "target_ids")
ROWS_PER_BLOCK = 1 << 10


def read_windows(file: PtFile, max_length: int | None = None, stride: int | None = None) -> tuple[Array, Array]:
    """Return ``input_ids`` and ``target_ids`` (N, L) of a windows file.

    Raises `FileFormatError` for wrong keys, shapes or dtypes, `UsageError` if max_length or stride is given and is
    not the file's, `EmptyError` if there is no token in it. The ids themselves are for `check_ids`.
    """
    pair = []
    for key in KEYS:
        array = file.tensors.get(key)
        if array is None or array.ndim != 2 or file.dtypes[key] not in ID_DTYPES:
            held = "missing" if array is None else f"shape {array.shape}, dtype {file.dtypes[key]}"
            raise FileFormatError(f"{file.name}: {key}: {held}; a windows file has (N, L) integers")
        pair.append(array)
    inputs, targets = pair
    if inputs.shape != targets.shape:
        raise FileFormatError(f"{file.name}: input_ids {inputs.shape} and target_ids {targets.shape} differ in shape")
    if not inputs.size:
        raise EmptyError(f"{file.name}: empty: {len(inputs)} windows of {inputs.shape[1]} tokens")
    options = file.meta.get("options")
    own_stride = options.get("stride") if isinstance(options, dict) else None
    for name, wanted, own in (("max_length", max_length, inputs.shape[1]), ("stride", stride, own_stride)):
        if wanted is not None and own is not None and wanted != own:
            raise UsageError(f"{name} {wanted}: {file.name} was made with {name} {own}")
    return inputs, targets


def check_window_ids(file: PtFile, n_vocab: int) -> None:
    """Raise `FileFormatError` if an id in a window is not in the vocabulary.

    Only the storage is looked at, and the overlapping rows one by one only where an id of it is wrong.
    """
    for key in KEYS:
        storage = file.storages[key]
        try:
            check_ids(storage, n_vocab, file.name)
        except FileFormatError:
            check_ids(file.tensors[key], n_vocab, file.name)


def read_stream(file: PtFile, n_vocab: int) -> Array:
    """Return the ids of a tokens file, or the stream that a windows file was cut from, (n,), each in the vocabulary."""
    if "input_ids" not in file.tensors:
        ids = read_tokens(file)
        check_ids(ids, n_vocab, file.name)
        return ids
    inputs, targets = read_windows(file)
    options = file.meta.get("options")
    stride = options.get("stride") if isinstance(options, dict) else None
    if type(stride) is not int or not 1 <= stride <= inputs.shape[1] or not len(inputs):
        known = f"leave gaps (stride {stride}, max_length {inputs.shape[1]})"
        why = known if type(stride) is int else "have a stride that it does not tell"
        raise DataError(
            f"{file.name}: its windows {why}, so they are no continuous text; give the text or a tokens file"
        )
    ids = stream_of(inputs, targets, stride)
    check_ids(ids, n_vocab, file.name)
    return ids


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """The options that decide a windows file. ``dense``: two contiguous tensors, not views of one storage."""

    max_length: int
    stride: int
    dtype: str = ID_DTYPE
    dense: bool = False


def write_windows(sink: Sink, stream: TokenStream, options: WindowOptions, announce: Announce | None = None) -> int:
    """Write a windows file while the stream is read; return its size in bytes.

    Inputs and targets are views of one storage, which holds the whole stream once, or, where stride > max_length,
    rows of max_length + 1 ids. If they are dense, ``announce`` says their size before they are written. Raises
    `DataError` if the stream is too short for one window.
    """
    check_dtype(options.dtype, stream.origin.n_vocab)
    storages, views = _dense_storages(stream, options, announce) if options.dense else _shared_storage(stream, options)

    def describe(_: Sequence[int]) -> dict[str, Any]:
        return {**views(), "meta": make_meta("windows", stream.origin, stream.figures, **asdict(options))}

    return write_pt(sink, storages, describe)


Storages: TypeAlias = tuple[list[Iterator[memoryview]], Callable[[], dict[str, TensorView]]]


def _shared_storage(stream: TokenStream, options: WindowOptions) -> Storages:
    """Return one storage for both; the number of windows is known when it has been written."""
    max_length, stride, dtype = options.max_length, options.stride, options.dtype
    gaps = stride > max_length
    step = max_length + 1 if gaps else stride
    blocks = take_rows(stream, max_length, stride) if gaps else iter(stream)

    def views() -> dict[str, TensorView]:
        count = require_windows(stream.figures.n_tokens, max_length, stride, stream.origin.name)
        return {key: TensorView(0, dtype, (count, max_length), (step, 1), offset) for offset, key in enumerate(KEYS)}

    return [raw_blocks(blocks, dtype)], views


def _dense_storages(stream: TokenStream, options: WindowOptions, announce: Announce | None) -> Storages:
    """Return a storage for each; as they are written one after the other, the stream is held in a temporary file."""
    max_length, stride, dtype = options.max_length, options.stride, options.dtype
    ids = spool(iter(stream))
    shape = (require_windows(len(ids), max_length, stride, stream.origin.name), max_length)
    if announce is not None:
        n_bytes = 2 * shape[0] * shape[1] * DTYPES[dtype].itemsize
        announce(f"--dense: 2 x {shape[0]} x {shape[1]} {dtype} are {n_bytes:,} bytes")
    views = {key: TensorView(number, dtype, shape, c_strides(shape)) for number, key in enumerate(KEYS)}
    rows = view_windows(ids, max_length, stride)
    return [raw_blocks(_row_blocks(part), dtype) for part in rows], lambda: views


def _row_blocks(rows: Array) -> Iterator[Array]:
    step = max(1, IDS_PER_BLOCK // rows.shape[1])
    return (rows[k : k + step] for k in range(0, len(rows), step))


def verify_windows(file: PtFile, meta: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each thing that holds of a windows file; raise `FileFormatError` for the first that does not."""
    inputs, targets = read_windows(file)
    options = meta["options"]
    max_length, stride = options["max_length"], options["stride"]
    require_stated(file.name, "max_length", inputs.shape[1], max_length)
    require_stated(file.name, "windows", len(inputs), count_windows(meta["n_tokens"], max_length, stride))
    overlap = max(0, max_length - stride)
    for start in range(0, len(inputs), ROWS_PER_BLOCK):
        x, y = inputs[start : start + ROWS_PER_BLOCK], targets[start : start + ROWS_PER_BLOCK]
        check_ids(x, meta["n_vocab"], file.name)
        check_ids(y, meta["n_vocab"], file.name)
        _require_all(file.name, start, (x[:, 1:] == y[:, :-1]).all(1), "its targets are not its inputs moved by one")
        if overlap:
            _require_all(
                file.name, start, (x[:-1, stride:] == x[1:, :overlap]).all(1), "it does not overlap with the next one"
            )
    yield f"{plural(len(inputs), 'window')} of {max_length}, stride {stride}: targets are inputs moved by one"
    yield f"every id is in the vocabulary of {meta['n_vocab']}"
    storage = file.storages["input_ids"]
    if not options["dense"] and stride <= max_length:
        found = hash_ids(storage, chained=is_chained(meta), n_threads=default_jobs())
        require_stated(file.name, "content_sha256", found, meta["content_sha256"])
        yield f"content_sha256 {meta['content_sha256']}"


def _require_all(name: str, start: int, holds: Array, what: str) -> None:
    if not holds.all():
        raise FileFormatError(f"{name}: window {start + int(np.argmin(holds))}: {what}")
