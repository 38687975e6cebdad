"""JSON Lines and Parquet -> documents: each record's text field is one.

Many small documents must not cost a call each, so those without a special token are joined with the end-of-text
string into blocks, and encoded in one call with that token allowed: the ids at the seams are the separators. A document
that holds such a string goes alone, and a large one is cut as any text is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from llmprep.documents.blocks import (
    BOM,
    Block,
    Newlines,
    checked_head,
    cut_blocks,
    normalise,
    open_span,
)
from llmprep.documents.opening import open_content, open_source
from llmprep.documents.sources import Source
from llmprep.errors import DataError, UsageError, list_names

JOINT = b"<|endoftext|>"
SPECIAL = b"<|"
"""What every special token begins with."""
SMALL_BYTES = 1 << 16
MAX_LINE_BYTES = 256 << 20
"""The longest line: a record is parsed as a whole, which takes up to 12 bytes of memory a byte."""

Documents = Iterator[tuple[str, str]]
"""(text, where it stood) of each record."""


def read_records(source: Source, newlines: Newlines, block_bytes: int) -> Iterator[Block]:
    """Yield the documents of a JSON Lines or Parquet source, small ones joined, in order."""
    documents = _json_lines(source) if source.format == "jsonl" else _parquet_rows(source)
    batch: list[bytes] = []
    size, where = 0, ""
    for text, place in documents:
        encoded = _utf8(source, text, place)
        data = normalise(encoded, newlines)
        source.n_chars += len(text) - (len(encoded) - len(data))
        if not data:
            continue
        if len(data) > SMALL_BYTES or SPECIAL in data:
            yield from _batch(source, batch, where)
            yield from _alone(source, data, place, block_bytes)
            batch, size = [], 0
            continue
        where = where if batch else place
        batch.append(data)
        size += len(data)
        if size >= block_bytes:
            yield from _batch(source, batch, where)
            batch, size = [], 0
    yield from _batch(source, batch, where)


def _batch(source: Source, batch: list[bytes], place: str) -> Iterator[Block]:
    if batch:
        source.n_documents += len(batch)
        data = JOINT.join(batch)
        yield Block(source, data, b"", 0, seams=len(batch) - 1, place=place)


def _alone(source: Source, data: bytes, place: str, block_bytes: int) -> Iterator[Block]:
    source.n_documents += 1
    parts = iter([data[k : k + block_bytes] for k in range(0, len(data), block_bytes)])
    offset = 0
    for part in cut_blocks(source, lambda _: next(parts, b""), block_bytes):
        yield Block(source, part, part, offset, first=offset == 0, place=place)
        offset += len(part)


def _utf8(source: Source, text: str, place: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{source.path}: {place}: field {source.text_field} holds half a surrogate pair "
            f"(\\u{ord(text[error.start]):04x}), which is no character; mend the record"
        ) from error


# --- JSON Lines -----------------------------------------------------------------------------------


def _json_lines(source: Source) -> Documents:
    if source.span is None:
        start, read = 0, checked_head(source, open_content(source))
    else:
        start, read = open_span(source, _find_line)
    for begin, place, whole in _lines(source, read, start):
        source.bom |= begin == 0 and whole.startswith(BOM)
        line = whole.removeprefix(BOM) if begin == 0 else whole
        if line.strip():
            yield _text_of(source, _parse(source, line, place), place), place


def _find_line(data: bytes, after: int) -> int | None:
    """Return where the first line at or after a position begins."""
    end = data.find(b"\n", max(0, after - 1))
    return end + 1 if end >= 0 else None


def _lines(source: Source, read: Callable[[int], bytes], begin: int) -> Iterator[tuple[int, str, bytes]]:
    """Yield (where it begins, the same for messages, bytes without its end) of each line.

    Linear in the bytes, and a line's length is capped. How many lines stand before a span is not known.
    """
    parts: list[bytes] = []
    number = held = 0
    while data := read(1 << 18):
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole = b"".join((*parts, line))
            yield begin, _line_place(source, number, begin), whole
            parts, held, number, begin = [], 0, number + 1, begin + len(whole) + 1
        parts.append(rest)
        held += len(rest)
        if held > MAX_LINE_BYTES:
            place = _line_place(source, number, begin)
            raise DataError(f"{source.path}: {place}: longer than {MAX_LINE_BYTES} bytes; is it JSON Lines?")
    yield begin, _line_place(source, number, begin), b"".join(parts)


def _line_place(source: Source, number: int, begin: int) -> str:
    return f"line {number + 1}" if source.span is None else f"the line at byte {begin}"


def _parse(source: Source, line: bytes, place: str) -> dict[str, Any]:
    twice = False

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice  # true in the end if it is of the outermost object, which comes last
        found = dict(pairs)
        twice = len(found) != len(pairs) and sum(key == source.text_field for key, _ in pairs) > 1
        return found

    try:
        # A field that stands once, spelt plainly, cannot stand twice: the common case needs no look at every pair.
        once = line.count(f'"{source.text_field}"'.encode()) == 1 and b"\\u" not in line
        record = json.loads(line.decode()) if once else json.loads(line.decode(), object_pairs_hook=check)
    except UnicodeDecodeError as error:
        raise DataError(f"{source.path}: {place}: not valid UTF-8 at byte {error.start} of the line") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source.path}: {place}: not valid JSON: {error}") from error
    if not isinstance(record, dict):
        raise DataError(
            f"{source.path}: {place}: holds a {type(record).__name__}, not an object with field {source.text_field}"
        )
    if twice:
        raise DataError(
            f"{source.path}: {place}: field {source.text_field} stands twice; which one is meant is not clear"
        )
    return record


def _text_of(source: Source, record: dict[str, Any], place: str) -> str:
    if source.text_field not in record:
        known = list_names(sorted(record))
        raise DataError(f"{source.path}: {place}: has no field {source.text_field}; its fields: {known} (see --field)")
    text = record[source.text_field]
    if not isinstance(text, str):
        raise DataError(f"{source.path}: {place}: field {source.text_field} is a {type(text).__name__}, not a string")
    return text


# --- Parquet --------------------------------------------------------------------------------------


def _parquet_rows(source: Source) -> Documents:
    try:
        from pyarrow import ArrowException, ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise UsageError(f"{source.path}: Parquet files need an extra: pip install 'llmprep[parquet]'") from error
    _hash_whole(source)
    row = 0
    try:
        with ParquetFile(source.path, page_checksum_verification=True) as file:
            if source.text_field not in file.schema_arrow.names:
                known = list_names(file.schema_arrow.names)
                raise DataError(f"{source.path}: has no column {source.text_field}; its columns: {known} (see --field)")
            for batch in file.iter_batches(batch_size=1024, columns=[source.text_field]):
                for value in batch.column(0):
                    row += 1
                    yield _cell(source, value, f"row {row}"), f"row {row}"
    except UnicodeDecodeError as error:
        raise DataError(f"{source.path}: the name of a column is not valid UTF-8: {error.object!r:.60}") from error
    except (ArrowInvalid, ArrowException, OSError) as error:
        raise DataError(f"{source.path}: damaged near row {row + 1}: {str(error).splitlines()[0]}") from error
    open_source(source).read(1)  # at the end again: an error if the file has changed since it was hashed


def _cell(source: Source, scalar: Any, place: str) -> str:
    try:
        value = scalar.as_py()
    except UnicodeDecodeError as error:
        raise DataError(f"{source.path}: {place}: column {source.text_field} is not valid UTF-8") from error
    if not isinstance(value, str):
        kind = "null" if value is None else f"a {type(value).__name__}"
        raise DataError(f"{source.path}: {place}: column {source.text_field} is {kind}, not a string")
    return value


def count_rows(source: Source) -> int:
    """Return how many rows a Parquet file says it has."""
    from pyarrow.parquet import read_metadata

    return int(read_metadata(source.path).num_rows)


def _hash_whole(source: Source) -> None:
    """Parquet is read by seeking, so its hash takes a pass of its own."""
    stream = open_source(source)
    while stream.read(1 << 18):
        pass
