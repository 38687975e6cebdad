"""A windows file: ``input_ids`` and ``target_ids`` (N, L), two views of one token stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llmprep.choices import Announce
from llmprep.errors import EmptyError, FileFormatError, UsageError
from llmprep.formats.ids import IDS_PER_BLOCK, Array, check_ids, raw_blocks
from llmprep.formats.meta import check_dtype, make_meta
from llmprep.output.writing import Sink
from llmprep.ptfile.layout import DTYPES, TensorView, c_strides
from llmprep.ptfile.reading import PtFile
from llmprep.ptfile.writing import write_pt
from llmprep.tokens.spooling import spool
from llmprep.tokens.stream import TokenStream
from llmprep.windows.counts import require_windows
from llmprep.windows.views import take_rows, view_windows


def file_windows(file: PtFile, max_length: int | None = None, stride: int | None = None) -> tuple[Array, Array]:
    """Return ``input_ids`` and ``target_ids`` (N, L) of a windows file.

    Raises `FileFormatError` for wrong keys, shapes or dtypes, `UsageError` if max_length or stride is given and is
    not the file's, `EmptyError` if there is no token in it. The ids themselves are for `check_ids`.
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
    if not inputs.size:
        raise EmptyError(f"{file.name}: empty: {len(inputs)} windows of {inputs.shape[1]} tokens")
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

    return [raw_blocks(blocks, dtype)], views


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
    return [raw_blocks(_row_blocks(part), dtype) for part in rows], lambda: views


def _row_blocks(rows: Array) -> Iterator[Array]:
    step = max(1, IDS_PER_BLOCK // rows.shape[1])
    return (rows[k : k + step] for k in range(0, len(rows), step))
