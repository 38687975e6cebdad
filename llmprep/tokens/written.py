"""Ids that are written as numbers -> ids: as `tokenize --ids` prints them, or Python a list, an array or a tensor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, suppress

from llmprep.documents.cuts import find_safe_cut
from llmprep.documents.opening import ByteStream, Read
from llmprep.documents.source import Counts, Source
from llmprep.documents.texts import open_text
from llmprep.errors import DataError, shorten

READ_BYTES = 1 << 18
LONGEST = 64
"""Bytes of the longest word that may stand between ids; a longer one is no id anyway."""
_BETWEEN = b",[]()\t\n\v\f\r"
_AS_SPACES = bytes.maketrans(_BETWEEN, b" " * len(_BETWEEN))
_PLAIN = re.compile(rb"[0-9 ]*")
_PRINTED = re.compile(rb"tensor|array|dtype=[\w.]+")
"""What Python prints around ids."""


def read_written_ids(source: Source) -> Iterator[list[int]]:
    """Yield the ids that a text holds, in lists. Raises as `parse_ids` does, and `InputError` as reading does."""
    with closing(ByteStream(Counts(source))) as stream:
        _, read = open_text(stream, find_safe_cut)
        yield from parse_ids(read, source.path)


def parse_ids(read: Read, name: str) -> Iterator[list[int]]:
    """Yield ids, in lists, of bytes that are read in parts: whole numbers, between them white space, commas, brackets.

    Raises `DataError`, with its place, for the first word that is no whole number or is negative.

    >>> import io
    >>> list(parse_ids(io.BytesIO(b"tensor([[464, 15987]])").read, "ids"))
    [[464, 15987]]
    """
    held, place, waiting = b"", 0, list[int]()  # the last word is whole only at the end: it belongs to what came before
    while True:
        data = read(READ_BYTES)
        words = (held + data).translate(_AS_SPACES)
        end = words.rfind(b" ") + 1 if data else len(words)
        words, held = words[:end], words[end:][: LONGEST + 1]
        ids = _parse(words, name, place)
        place += len(ids)
        if len(held) > LONGEST:
            raise _no_id(held, name, place)
        if not data:
            break
        if waiting:
            yield waiting
        waiting = ids
    if waiting or ids:
        yield waiting + ids


def _parse(words: bytes, name: str, place: int) -> list[int]:
    """Return the ids of whole words, of which the first id is number ``place``."""
    if _PLAIN.fullmatch(words):
        with suppress(ValueError):  # a number of thousands of digits
            return list(map(int, words.split()))
    return list(_numbers(words, name, place))


def _numbers(words: bytes, name: str, place: int) -> Iterator[int]:
    for word in words.split():
        if word.isdigit() and len(word) <= LONGEST:
            yield int(word)
            place += 1
        elif not _PRINTED.fullmatch(word):
            raise _no_id(word, name, place)


def _no_id(word: bytes, name: str, place: int) -> DataError:
    text = word.decode("utf-8", "backslashreplace")
    if re.fullmatch("-[0-9]+", text):
        return DataError(f"{name}: token {place}: id {shorten(text)} is negative")
    return DataError(
        f"{name}: token {place}: {shorten(text)} is not an id; "
        f"give whole numbers with white space or commas between them"
    )
