"""Whether a source is still the same: its content decides; size, time and a sample only save the reading."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

from llmprep.documents.blocks import find_safe_cut
from llmprep.documents.opening import ByteStream
from llmprep.documents.source import Counts, Source
from llmprep.documents.spans import open_span
from llmprep.errors import DataError, FileFormatError, InputError
from llmprep.store.schema import Stamp

SAMPLE_BYTES = 4096
READ_BYTES = 1 << 20


def size_and_time(source: Source) -> tuple[int, int]:
    """Return size and modification time in ns. Raises `InputError`."""
    try:
        status = Path(source.path).stat()
    except OSError as error:
        raise InputError(f"{source.path}: {error.strerror}") from error
    return status.st_size, status.st_mtime_ns


def stamp_of(source: Source) -> Stamp:
    """Return size, modification time and sample of a source. Raises `InputError`."""
    return Stamp(*size_and_time(source), sample_of(source))


def sample_of(source: Source) -> str:
    """Return a hash of a file's first, middle and last 4 KiB: size and time alone do not tell a file from another."""
    digest = hashlib.sha256()
    size = source.size or 0
    try:
        with Path(source.path).open("rb") as file:
            for position in sorted({0, max(0, (size - SAMPLE_BYTES) // 2), max(0, size - SAMPLE_BYTES)}):
                file.seek(position)
                digest.update(file.read(SAMPLE_BYTES))
    except OSError as error:
        raise InputError(f"{source.path}: {error.strerror}") from error
    return digest.hexdigest()[:16]


def reads_same(part: Source, begin: int, end: int, sha256: str) -> bool:
    """Read a source, or its span, again: tell whether it still begins and ends there and has this hash.

    That both ends are looked for anew matters: what lies outside a span decides where its first cut is.
    """
    counts = Counts(part)
    find = find_safe_cut
    if part.format == "jsonl":
        from llmprep.documents.json_lines import find_line_start as find
    try:
        with closing(ByteStream(counts)) as stream:
            read = stream.read if part.span is None else open_span(stream, find)[1]
            while read(READ_BYTES):
                pass
    except (DataError, FileFormatError, InputError):  # whoever builds from it says what is wrong with it
        return False
    return (counts.begin, counts.begin + counts.n_bytes, counts.sha256) == (begin, end, sha256)
