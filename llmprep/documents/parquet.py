"""Parquet -> records: one a row, whose text column is the text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmprep.documents.opening import ByteStream
from llmprep.documents.source import Record, Source
from llmprep.errors import DataError, UsageError, list_names


def read_parquet(stream: ByteStream) -> Iterator[Record]:
    """Yield the text of each row of a source, and its place.

    Raises `DataError` for damage, a missing column, and a cell that is not a string, `UsageError` where pyarrow is not
    installed.
    """
    source = stream.source
    try:
        from pyarrow import ArrowException, ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise UsageError(f"{source.path}: Parquet files need an extra: pip install 'llmprep[parquet]'") from error
    _hash_whole(stream)
    row = 0
    try:
        with ParquetFile(source.path, page_checksum_verification=True) as file:
            _require_column(source, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=1024, columns=[source.text_field]):
                for value in batch.column(0):
                    row += 1
                    yield _text_of(source, value, f"row {row}"), f"row {row}"
    except UnicodeDecodeError as error:
        raise DataError(f"{source.path}: the name of a column is not valid UTF-8: {error.object!r:.60}") from error
    except (ArrowInvalid, ArrowException, OSError) as error:
        raise DataError(f"{source.path}: damaged near row {row + 1}: {str(error).splitlines()[0]}") from error
    stream.read(1)  # at the end again: an error if the file has changed since it was hashed


def count_rows(source: Source) -> int:
    """Return how many rows a Parquet file says it has."""
    from pyarrow.parquet import read_metadata

    return int(read_metadata(source.path).num_rows)


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


def _text_of(source: Source, scalar: Any, place: str) -> str:
    """Return a cell's text; some writers store text as bytes without saying that it is text."""
    try:
        value = scalar.as_py()
        if isinstance(value, bytes):
            return value.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{source.path}: {place}: column {source.text_field} is not valid UTF-8") from error
    if not isinstance(value, str):
        kind = "null" if value is None else f"a {type(value).__name__}"
        raise DataError(f"{source.path}: {place}: column {source.text_field} is {kind}, not a string")
    return value
