"""JSON Lines and Parquet -> documents: each record's text field is one.

Many small documents must not cost a call each, so those without a special token are joined with the end-of-text
string into blocks, and encoded in one call with that token allowed: the ids at the seams are the separators. A document
that holds such a string goes alone, and a large one is cut as any text is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from llmprep.choices import Newlines
from llmprep.documents.blocks import Block, cut_blocks, normalise
from llmprep.documents.decompressing import open_content
from llmprep.documents.opening import ByteStream
from llmprep.documents.parquet import Documents, parquet_rows
from llmprep.documents.recognising import checked_head
from llmprep.documents.source import BOM, Counts, Source
from llmprep.documents.texts import open_span
from llmprep.errors import DataError, list_names

JOINT = b"<|endoftext|>"
SPECIAL = b"<|"
"""What every special token begins with."""
SMALL_BYTES = 1 << 16
MAX_LINE_BYTES = 256 << 20
"""The longest line: a record is parsed as a whole, which takes up to 12 bytes of memory a byte."""
MAX_GAPS = 1 << 16
"""So many runs of records without text have their numbers kept."""


def read_records(stream: ByteStream, newlines: Newlines, block_bytes: int) -> Iterator[Block]:
    """Yield the documents of a JSON Lines or Parquet source, small ones joined, in order."""
    counts = stream.counts
    batch: list[bytes] = []
    size, where = 0, ""
    for data, place in _with_text(stream, newlines):
        if len(data) > SMALL_BYTES or SPECIAL in data:
            yield from _batch(counts, batch, where)
            yield from _alone(counts, data, place, block_bytes)
            batch, size = [], 0
            continue
        where = where if batch else place
        batch.append(data)
        size += len(data)
        if size >= block_bytes:
            yield from _batch(counts, batch, where)
            batch, size = [], 0
    yield from _batch(counts, batch, where)


def _with_text(stream: ByteStream, newlines: Newlines) -> Iterator[tuple[bytes, str]]:
    """Yield (UTF-8, place) of the records that hold text, counting the others and keeping their numbers."""
    source, counts = stream.source, stream.counts
    documents = _json_lines(stream) if source.format == "jsonl" else parquet_rows(stream)
    gaps: list[list[int]] = []
    counts.gaps = gaps
    for number, (text, place) in enumerate(documents, 1):
        encoded = _utf8(source, text, place) if text else b""
        data = normalise(encoded, newlines)
        if data:
            counts.n_chars += len(text or "") - (len(encoded) - len(data))
            yield data, place
            continue
        counts.n_empty += text is not None
        if gaps and sum(gaps[-1]) == number:
            gaps[-1][1] += 1
        elif len(gaps) < MAX_GAPS:
            gaps.append([number, 1])
        else:
            counts.gaps = None


def _batch(counts: Counts, batch: list[bytes], place: str) -> Iterator[Block]:
    if batch:
        counts.n_documents += len(batch)
        data = JOINT.join(batch)
        yield Block(counts, data, b"", 0, seams=len(batch) - 1, place=place)


def _alone(counts: Counts, data: bytes, place: str, block_bytes: int) -> Iterator[Block]:
    counts.n_documents += 1
    parts = iter([data[k : k + block_bytes] for k in range(0, len(data), block_bytes)])
    offset = 0
    for part in cut_blocks(counts.source.path, lambda _: next(parts, b""), block_bytes):
        yield Block(counts, part, part, offset, first=offset == 0, place=place)
        offset += len(part)


def _utf8(source: Source, text: str, place: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{source.path}: {place}: field {source.text_field} holds half a surrogate pair "
            f"(\\u{ord(text[error.start]):04x}), which is no character; mend the record"
        ) from error


def _json_lines(stream: ByteStream) -> Documents:
    source = stream.source
    if source.span is None:
        start, read = 0, checked_head(stream, open_content(stream))
    else:
        start, read = open_span(stream, find_line)
    for begin, place, whole in _lines(source, read, start):
        stream.counts.bom |= begin == 0 and whole.startswith(BOM)
        line = whole.removeprefix(BOM) if begin == 0 else whole
        yield _text_of(source, _parse(source, line, place), place) if line.strip() else None, place


def find_line(data: bytes, after: int) -> int | None:
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
    if any(parts):
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
        record = _load(line.decode(), None if once else check)
    except UnicodeDecodeError as error:
        raise DataError(f"{source.path}: {place}: not valid UTF-8 at byte {error.start} of the line") from error
    except (ValueError, RecursionError) as error:
        if line.lstrip().startswith(b"["):
            raise _is_array(source, place) from error
        raise DataError(f"{source.path}: {place}: not valid JSON: {error}") from error
    if isinstance(record, list):
        raise _is_array(source, place)
    if not isinstance(record, dict):
        raise DataError(
            f"{source.path}: {place}: holds a {type(record).__name__}, not an object with field {source.text_field}"
        )
    if twice:
        raise DataError(
            f"{source.path}: {place}: field {source.text_field} stands twice; which one is meant is not clear"
        )
    return record


def _load(line: str, hook: Callable[[list[tuple[str, Any]]], Any] | None) -> Any:
    try:
        return json.loads(line, object_pairs_hook=hook)
    except json.JSONDecodeError:
        raise
    except ValueError:  # a number of more digits than Python makes an int of; no number is of use here
        return json.loads(line, object_pairs_hook=hook, parse_int=lambda _: 0)


def _is_array(source: Source, place: str) -> DataError:
    return DataError(
        f"{source.path}: {place}: holds a JSON array, and JSON Lines has an object on each line; "
        f"write one on each, for example with: jq -c '.[]'"
    )


def _text_of(source: Source, record: dict[str, Any], place: str) -> str:
    if source.text_field not in record:
        known = list_names(sorted(record))
        raise DataError(f"{source.path}: {place}: has no field {source.text_field}; its fields: {known} (see --field)")
    text = record[source.text_field]
    if not isinstance(text, str):
        raise DataError(f"{source.path}: {place}: field {source.text_field} is a {type(text).__name__}, not a string")
    return text
