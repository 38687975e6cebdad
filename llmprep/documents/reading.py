"""The one door to the documents of a source, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator

from llmprep.choices import BLOCK_BYTES, Newlines
from llmprep.documents.blocks import Block
from llmprep.documents.opening import Run, close_source, open_source, run_now
from llmprep.documents.source import Source
from llmprep.documents.texts import read_text


def read_blocks(
    source: Source, newlines: Newlines = "universal", block_bytes: int = BLOCK_BYTES, run: Run = run_now
) -> Iterator[Block]:
    """Yield a source's documents as blocks of text, filling in the source's figures on the way.

    ``universal`` turns CRLF and CR into LF, as ``open(path, newline=None)`` does; ``keep`` leaves them. A byte order
    mark is dropped. ``run`` may do the hashing elsewhere, in order. Raises `DataError` with the byte offset, or the
    record, for what is not UTF-8 text.
    """
    open_source(source).run = run
    try:
        if source.format != "text":
            from llmprep.documents.records import read_records

            yield from read_records(source, newlines, block_bytes)
        else:
            yield from read_text(source, newlines, block_bytes)
    finally:
        close_source(source)
