"""Whether a source is still the same: its content decides; size, time and a sample only save the reading."""

from __future__ import annotations

import hashlib
import os
from array import array
from contextlib import closing

import numpy as np

from llmprep.documents.cuts import find_safe_cut
from llmprep.documents.opening import ByteStream
from llmprep.documents.pointers import POINTER_BYTES, refuse_pointer
from llmprep.documents.source import READ_ONLY, Counts, Source
from llmprep.documents.sources import Sources
from llmprep.documents.spans import open_span
from llmprep.errors import DataError, FileFormatError, InputError
from llmprep.store.columns import MAX_INT, Stamp, Stamps

SAMPLE_BYTES = 4096
READ_BYTES = 1 << 20


def size_and_time(path: str) -> tuple[int, int]:
    """Return size and modification time in ns. Raises `InputError`."""
    try:
        status = os.stat(path)  # noqa: PTH116 - there may be many
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    return status.st_size, time_of(status)


def time_of(status: os.stat_result) -> int:
    """Return a modification time in ns, as near as 62 bits come to it."""
    return max(-MAX_INT, min(MAX_INT, status.st_mtime_ns))


def stamps_of(sources: Sources) -> Stamps:
    """Return the stamps of sources that tell their size, each of which is opened once.

    Raises `InputError`, and `DataError` for a pointer that stands for a file.
    """
    sizes, times, samples = array("q"), array("q"), array("Q")
    for path, size in zip(sources.paths, sources.sizes, strict=True):
        stamp = stamp_of(path, size)
        sizes.append(stamp.size)
        times.append(stamp.mtime_ns)
        samples.append(int(stamp.sample, 16))
    return Stamps(np.array(sizes), np.array(times), np.array(samples))


def stamp_of(path: str, size: int) -> Stamp:
    """Return size, modification time and sample of a file that was found with this size.

    The sample is a hash of its first, middle and last 4 KiB: size and time alone do not tell a file from another.
    Raises `InputError`, and `DataError` for a pointer that stands for a file.
    """
    try:
        number = os.open(path, READ_ONLY)
        try:
            status, head = os.fstat(number), os.read(number, SAMPLE_BYTES)
            digest = hashlib.sha256(head)
            if size > SAMPLE_BYTES:
                for position in sorted({(size - SAMPLE_BYTES) // 2, size - SAMPLE_BYTES} - {0}):
                    os.lseek(number, position, os.SEEK_SET)
                    digest.update(os.read(number, SAMPLE_BYTES))
        finally:
            os.close(number)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    if len(head) < POINTER_BYTES:
        refuse_pointer(path, head)
    return Stamp(status.st_size, time_of(status), digest.hexdigest()[:16])


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
