"""The one door to the documents of a source, whatever its format."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import closing

from llmprep.choices import BLOCK_BYTES, Newlines
from llmprep.documents.blocks import Block
from llmprep.documents.cuts import TIKTOKEN_CUTS, Cuts
from llmprep.documents.opening import ByteStream, Run, run_now
from llmprep.documents.source import Counts
from llmprep.documents.texts import read_text


def read_blocks(
    counts: Counts,
    newlines: Newlines = "universal",
    block_bytes: int = BLOCK_BYTES,
    run: Run = run_now,
    step: int = sys.maxsize,
    cuts: Cuts = TIKTOKEN_CUTS,
) -> Generator[Block]:
    """Yield the documents of ``counts.source`` as blocks of text, counting on the way.

    ``universal`` turns CRLF and CR into LF, as ``open(path, newline=None)`` does; ``keep`` leaves them. A byte order
    mark is dropped. ``run`` may do the hashing elsewhere, in order; at most ``step`` bytes are read at once. ``cuts``
    are those of the vocabulary. Raises `DataError` with the byte offset, or the record, for anything that is not UTF-8
    text, and for what is too long to be encoded whole and cannot be cut, and `InputError` for a source that cannot be
    read.
    """
    with closing(ByteStream(counts, run, step)) as stream:
        if counts.source.format == "text":
            yield from read_text(stream, newlines, block_bytes, cuts)
        else:
            from llmprep.documents.records import read_records

            yield from read_records(stream, newlines, block_bytes, cuts)
