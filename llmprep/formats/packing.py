"""A packing file: which runs of a stream stand in which row, and ``meta``. It holds no token.

``row_starts`` (rows + 1,) int64 say where the parts of each row begin, ``part_starts`` (parts,) int64 and
``part_lengths`` (parts,) int32 are these; ``lost_starts`` and ``lost_lengths`` (n,) int64 are runs that are in no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from llmprep.errors import FileFormatError
from llmprep.formats.arrays import raw_blocks
from llmprep.formats.ids import Array
from llmprep.formats.meta import checked_meta, require_stated, wrong_keys
from llmprep.output.writing import Sink
from llmprep.ptfile.layout import TensorView
from llmprep.ptfile.reading import PtFile
from llmprep.ptfile.writing import write_pt
from llmprep.windows.packed import Fill, PackedRows

COLUMNS = {
    "row_starts": "int64",
    "part_starts": "int64",
    "part_lengths": "int32",
    "lost_starts": "int64",
    "lost_lengths": "int64",
}
ROWS_AT_ONCE = 1 << 16
FIGURES = {field.name: int for field in fields(Fill)}


def write_packing(
    sink: Sink, columns: Mapping[str, Iterable[Array]], fill: Fill, meta: Mapping[str, Any], *, n_lost_runs: int
) -> int:
    """Write a packing file from its columns, each in blocks; return its size in bytes."""
    lengths = [fill.n_rows + 1, fill.n_parts, fill.n_parts, n_lost_runs, n_lost_runs]
    sizes = dict(zip(COLUMNS, lengths, strict=True))
    views = {key: TensorView(number, dtype, (sizes[key],), (1,)) for number, (key, dtype) in enumerate(COLUMNS.items())}
    storages = [raw_blocks(columns[key], dtype) for key, dtype in COLUMNS.items()]
    return write_pt(sink, storages, lambda _: {**views, "meta": {**meta, "fill": asdict(fill)}})


def is_packing(file: PtFile) -> bool:
    """Tell a packing file from any other."""
    return file.meta.get("kind") == "packing"


def read_packing(file: PtFile) -> PackedRows:
    """Return the rows of a packing file, mapped. Raises `FileFormatError` for what is none."""
    meta = checked_meta(file)
    wrong = wrong_keys(meta.get("fill"), FIGURES, "fill: ")
    columns = {key: file.tensors.get(key, np.empty(0)) for key in COLUMNS}
    found = {key: file.dtypes.get(key) for key in COLUMNS}
    if not is_packing(file) or wrong or found != COLUMNS or any(column.ndim != 1 for column in columns.values()):
        raise FileFormatError(f"{file.name}: is not a packing file{''.join(f'; {each}' for each in wrong[:1])}")
    fill = Fill(**{key: meta["fill"][key] for key in FIGURES})
    checksums = tuple(file.checksums.get(f"data/{number}", 0) for number in range(3))
    packed = PackedRows(**columns, fill=fill, checksums=checksums, name=file.name)
    sizes = [len(column) for column in columns.values()]
    stated = [packed.fill.n_rows + 1, packed.fill.n_parts, packed.fill.n_parts, sizes[3], sizes[3]]
    if min(meta["fill"].values()) < 0 or sizes != stated or packed.row_starts[[0, -1]].tolist() != [0, sizes[1]]:
        raise FileFormatError(f"{file.name}: does not hold the {packed.fill.n_rows} rows that its meta states")
    return packed


def verify_packing(file: PtFile) -> Iterator[str]:
    """Yield a line for each thing that holds of a packing file; raise `FileFormatError` for the first that does not.

    Whether its rows are those of a store, verifying the store tells.
    """
    packed = read_packing(file)
    n_stored = 0
    for first in range(0, len(packed), ROWS_AT_ONCE):
        n_stored += int(packed.take(np.arange(first, min(first + ROWS_AT_ONCE, len(packed))))[2].sum())
    yield f"{len(packed)} rows, each of at most {packed.fill.width} tokens"
    require_stated(file.name, "n_stored", n_stored, packed.fill.n_stored)
    require_stated(file.name, "n_lost", int(packed.lost_lengths.sum()), packed.fill.n_lost)
    yield f"{n_stored} tokens in rows, {packed.fill.n_repeated} of them twice, and {packed.fill.n_lost} lost"
