"""Parquet -> records: one a row, whose text column is the text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from llmprep.documents.opening import ByteStream
from llmprep.documents.recognising import compression, looks_like
from llmprep.documents.source import Record, Source
from llmprep.errors import DataError, UsageError, list_names

_READING: dict[str, Any] = {"pre_buffer": False, "buffer_size": 1 << 18}
"""How much of a column is read at once, in bytes; else pyarrow takes all that a row group has of it."""
BATCH_BYTES, BATCH_ROWS = 1 << 20, 128
"""How much of a column is decoded at once, as far as its mean cell tells, and no more rows than these."""


def read_parquet(stream: ByteStream) -> Iterator[Record]:
    """Yield the text of each row of a source; where it is, `place_of_row` puts in words.

    Memory holds a page of the column, the least that can be decompressed, and a batch of its rows. Raises `DataError`
    for damage, a missing column, and a cell that is not a string, `UsageError` where pyarrow is not installed.
    """
    source = stream.source
    try:
        from pyarrow import ArrowException, ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise UsageError(f"{source.path}: Parquet files need an extra: pip install 'llmprep[parquet]'") from error
    _require_parquet(stream)
    _hash_whole(stream)
    row = 0
    try:
        with ParquetFile(source.path, page_checksum_verification=True, **_READING) as file:
            _require_column(source, file.schema_arrow.names)
            for batch in file.iter_batches(_batch_rows(file, source), columns=[source.text_field], use_threads=False):
                for text, n_chars in cell_texts(source, batch.column(0), row + 1):
                    row += 1
                    yield text, n_chars, row
    except UnicodeDecodeError as error:
        raise DataError(f"{source.path}: the name of a column is not valid UTF-8: {error.object!r:.60}") from error
    except (ArrowInvalid, ArrowException, OSError) as error:
        raise DataError(f"{source.path}: damaged near row {row + 1}: {str(error).splitlines()[0]}") from error
    stream.read(1)  # at the end again: an error if the file has changed since it was hashed


def place_of_row(_: Source, where: int) -> str:
    """Return where a row is, in words."""
    return f"row {where}"


def count_rows(source: Source) -> int:
    """Return how many rows a Parquet file says it has."""
    from pyarrow.parquet import read_metadata

    return int(read_metadata(source.path).num_rows)


def _require_parquet(stream: ByteStream) -> None:
    """Raise `DataError` for what is compressed as a whole, or is something else, by its first bytes."""
    path, head = stream.source.path, stream.peek()
    kind = compression(head)
    if kind is not None:
        raise DataError(f"{path}: is {kind} data, and Parquet is read by seeking in it; unpack the file first")
    if not (head.startswith((b"PAR1", b"PARE")) or b"PAR1".startswith(head)):
        what, advice = looks_like(path, head)
        found = f", but {what}; {advice}" if what else "; rename it if it is a text"
        raise DataError(f"{path}: is not a Parquet file, by its first bytes{found}")


def _hash_whole(stream: ByteStream) -> None:
    """Parquet is read by seeking, so its hash takes a pass of its own."""
    while stream.read(1 << 18):
        pass


def _require_column(source: Source, names: list[str]) -> None:
    if source.text_field not in names:
        raise DataError(
            f"{source.path}: has no column {source.text_field}; its columns: {list_names(names)} (see --field)"
        )
    if names.count(source.text_field) > 1:
        raise DataError(
            f"{source.path}: has {names.count(source.text_field)} columns {source.text_field}; which one is meant is "
            f"not clear; rename one"
        )


def _batch_rows(file: Any, source: Source) -> int:
    """Return how many rows to decode at once: few where the cells are large in some row group."""
    metadata, largest = file.metadata, 1
    for column in range(metadata.num_columns):
        if metadata.schema.column(column).path == source.text_field:
            chunks = (metadata.row_group(group).column(column) for group in range(metadata.num_row_groups))
            means = (chunk.total_uncompressed_size // max(1, chunk.num_values) for chunk in chunks)
            largest = max(largest, *means, 1)
    return max(1, min(BATCH_ROWS, BATCH_BYTES // largest))


def cell_texts(source: Source, column: Any, first: int) -> Iterator[tuple[bytes, int]]:
    """Yield the UTF-8 of each cell of an Arrow array, and how many characters it has; ``first`` is its first row.

    Raises `DataError` for a cell that is no text.
    """
    data, ends = _buffers(column)
    if ends is None:
        for row, scalar in enumerate(column, first):
            value = _text_of(source, scalar, row)
            yield value.encode(), len(value)
    elif data.isascii():
        for begin, end in pairwise(ends):
            yield data[begin:end], end - begin
    else:
        for row, (begin, end) in enumerate(pairwise(ends), first):
            text = data[begin:end]
            try:
                n_chars = len(text.decode())
            except UnicodeDecodeError as error:
                raise _not_utf8(source, row) from error
            yield text, n_chars


def _buffers(column: Any) -> tuple[bytes, list[int] | None]:
    """Return the bytes of an array of n texts, and the n + 1 places in them where these begin and the last one ends.

    There are no such places, but None, for an array of anything else, or with a null.
    """
    import pyarrow as pa
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if types.is_string_view(column.type) or types.is_binary_view(column.type):
        column = column.cast(pa.large_binary())
    wide = types.is_large_string(column.type) or types.is_large_binary(column.type)
    if column.null_count or not (wide or types.is_string(column.type) or types.is_binary(column.type)):
        return b"", None
    _, offsets, data = column.buffers()
    if data is None or not len(column):
        return b"", [0] * (len(column) + 1)
    places = memoryview(offsets).cast("q" if wide else "i")[column.offset : column.offset + len(column) + 1].tolist()
    begin = places[0]
    return data[begin : places[-1]].to_pybytes(), [place - begin for place in places]


def _text_of(source: Source, scalar: Any, row: int) -> str:
    """Return a cell's text; some writers store text as bytes without saying that it is text."""
    try:
        value = scalar.as_py()
        if isinstance(value, bytes):
            return value.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(source, row) from error
    if not isinstance(value, str):
        kind = "null" if value is None else f"a {type(value).__name__}"
        raise DataError(f"{source.path}: row {row}: column {source.text_field} is {kind}, not a string")
    return value


def _not_utf8(source: Source, row: int) -> DataError:
    return DataError(f"{source.path}: row {row}: column {source.text_field} is not valid UTF-8")
