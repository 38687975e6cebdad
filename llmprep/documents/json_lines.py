"""JSON Lines -> records: one object a line, whose text field is the text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from llmprep.documents.opening import ByteStream, Read
from llmprep.documents.quick_json import find_text
from llmprep.documents.source import BOM, Record, Source
from llmprep.documents.texts import open_text
from llmprep.errors import DataError, list_names

MAX_LINE_BYTES = 8 << 20
"""The longest line: a record is parsed as a whole, which takes up to 10 bytes of memory for each byte of a text."""
Pairs = list[tuple[str, Any]]


def read_json_lines(stream: ByteStream) -> Iterator[Record]:
    """Yield the text of each line of a source, or of its span; where it is, `place_of_line` puts in words.

    A blank line has no text. Raises `DataError` for a line that is not a JSON object with one text field, a string.
    """
    source = stream.source
    start, read = open_text(stream, find_line_start)
    for begin, number, whole in _lines(source, read, start):
        stream.counts.bom |= begin == 0 and whole.startswith(BOM)
        line = whole.removeprefix(BOM) if begin == 0 else whole
        where = number if source.span is None else begin
        yield _record(source, line, where) if line.strip() else (None, 0, where)
        del whole, line  # a long one leaves memory before the next is put together


def _record(source: Source, line: bytes, where: int) -> Record:
    found = find_text(line, source.text_field)
    if found is not None:
        return *found, where
    text = _text_of(source, _parse(source, line, where), where)
    return _encode(source, text, where), len(text), where


def place_of_line(source: Source, where: int) -> str:
    """Return where a line is, in words; how many lines come before a span is not known."""
    return f"line {where}" if source.span is None else f"the line at byte {where}"


def find_line_start(data: bytes, after: int) -> int | None:
    """Return where the first line at or after a position begins, None if that is not in the data."""
    end = data.find(b"\n", max(0, after - 1))
    return end + 1 if end >= 0 else None


def _lines(source: Source, read: Read, begin: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield (where it begins, its number, bytes without its end) of each line. Linear in the bytes."""
    parts: list[bytes] = []
    number, n_held = 1, 0
    while data := read(1 << 18):
        *lines, rest = data.split(b"\n")
        for line in lines:
            _check_length(source, n_held + len(line), number if source.span is None else begin)
            parts.append(line)
            whole = b"".join(parts)
            parts, n_held = [], 0
            size = len(whole)
            yield begin, number, whole
            del whole
            number, begin = number + 1, begin + size + 1
        parts.append(rest)
        n_held += len(rest)
        _check_length(source, n_held, number if source.span is None else begin)
    if any(parts):
        yield begin, number, b"".join(parts)


def _check_length(source: Source, n_bytes: int, where: int) -> None:
    if n_bytes > MAX_LINE_BYTES:
        raise _error(
            source,
            where,
            f"longer than {MAX_LINE_BYTES} bytes, the most that is parsed at once; if it is JSON Lines, split the "
            f"record, or give its text as a plain file",
        )


_KINDS = {
    dict: "an object", list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean",
    type(None): "null",
}  # fmt: skip
"""What JSON calls that of which Python makes these types."""


def _parse(source: Source, line: bytes, where: int) -> dict[str, Any]:
    """Return a line's object. Raises `DataError` if it is anything else, or has the text field twice."""
    twice = False

    def check(pairs: Pairs) -> dict[str, Any]:
        nonlocal twice  # what is left in the end is true of the outermost object, which comes last
        found = dict(pairs)
        twice = len(found) != len(pairs) and sum(key == source.text_field for key, _ in pairs) > 1
        return found

    try:
        # A field that appears once, spelt plainly, cannot be there twice: the common case needs no look at every pair.
        once = line.count(f'"{source.text_field}"'.encode()) == 1 and b"\\u" not in line
        record = _load(line.decode(), None if once else check)
    except UnicodeDecodeError as error:
        raise _error(source, where, f"not valid UTF-8 at byte {error.start} of the line") from error
    except (ValueError, RecursionError) as error:
        if line.lstrip().startswith(b"["):
            raise _array_error(source, where) from error
        raise _error(source, where, f"not valid JSON: {error}") from error
    if isinstance(record, list):
        raise _array_error(source, where)
    if not isinstance(record, dict):
        raise _error(source, where, f"holds {_KINDS[type(record)]}, not an object with field {source.text_field}")
    if twice:
        raise _error(source, where, f"field {source.text_field} appears twice; which one is meant is not clear")
    return record


def _load(line: str, hook: Callable[[Pairs], Any] | None) -> Any:
    try:
        return json.loads(line, object_pairs_hook=hook)
    except json.JSONDecodeError:
        raise
    except ValueError:  # a number of more digits than Python makes an int of; no number is of use here
        return json.loads(line, object_pairs_hook=hook, parse_int=lambda _: 0)


def _text_of(source: Source, record: dict[str, Any], where: int) -> str:
    if source.text_field not in record:
        known = list_names(sorted(record))
        raise _error(source, where, f"has no field {source.text_field}; its fields: {known} (see --field)")
    text = record[source.text_field]
    if not isinstance(text, str):
        raise _error(source, where, f"field {source.text_field} is {_KINDS[type(text)]}, not a string")
    return text


def _encode(source: Source, text: str, where: int) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise _error(
            source,
            where,
            f"field {source.text_field} holds half a surrogate pair (\\u{ord(text[error.start]):04x}), which is no "
            f"character; mend the record",
        ) from error


def _error(source: Source, where: int, reason: str) -> DataError:
    return DataError(f"{source.path}: {place_of_line(source, where)}: {reason}")


def _array_error(source: Source, where: int) -> DataError:
    reason = "holds a JSON array, and JSON Lines has an object on each line; write one on each, for example with: "
    return _error(source, where, f"{reason}jq -c '.[]'")
