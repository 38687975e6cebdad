"""JSON Lines and Parquet -> documents, each the text field of a record; many small ones in one block.

Many small documents must not cost a call each, so those without a special token are joined with the end-of-text
string into blocks, and encoded in one call with that token allowed: the ids at the seams are the separators. A document
that holds such a string goes alone, and a large one is cut as any text is.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmprep.choices import Newlines
from llmprep.documents.blocks import SMALL_BYTES, Block, cut_blocks, normalise
from llmprep.documents.cuts import TIKTOKEN_CUTS, Cuts
from llmprep.documents.json_lines import place_of_line, read_json_lines
from llmprep.documents.opening import ByteStream
from llmprep.documents.parquet import place_of_row, read_parquet
from llmprep.documents.source import Counts

MAX_GAPS = 1 << 16
"""How many runs of records without text have their numbers kept."""
_READERS = {"jsonl": (read_json_lines, place_of_line), "parquet": (read_parquet, place_of_row)}
"""For each format, what yields its records, and what says where one is, in words."""


def read_records(
    stream: ByteStream, newlines: Newlines, block_bytes: int, cuts: Cuts = TIKTOKEN_CUTS
) -> Iterator[Block]:
    """Yield the documents of a JSON Lines or Parquet source, small ones joined, in order.

    Raises `DataError` with the place of a record that is damaged, or has no text field that is a string.
    """
    counts = stream.counts
    joint, batch = cuts.joint, list[bytes]()
    n_bytes = first = 0
    for data, where in _with_text(stream, newlines):
        if joint is None or len(data) > SMALL_BYTES or cuts.may_hold_special(data):
            yield from _batch(counts, batch, first, joint)
            yield from _alone(counts, data, where, block_bytes, cuts)
            batch, n_bytes = [], 0
            continue
        first = first if batch else where
        batch.append(data)
        n_bytes += len(data)
        if n_bytes >= block_bytes:
            yield from _batch(counts, batch, first, joint)
            batch, n_bytes = [], 0
    yield from _batch(counts, batch, first, joint)


def _with_text(stream: ByteStream, newlines: Newlines) -> Iterator[tuple[bytes, int]]:
    """Yield (UTF-8, where it is) of the records that hold text, counting the others and keeping their numbers."""
    counts = stream.counts
    read, _ = _READERS[stream.source.format]
    gaps: list[list[int]] = []
    counts.gaps = gaps
    for number, (text, n_chars, where) in enumerate(read(stream), 1):
        if text:
            data = normalise(text, newlines)
            counts.n_chars += n_chars - (len(text) - len(data))
            yield data, where
            continue
        counts.n_empty += text is not None
        if gaps and sum(gaps[-1]) == number:
            gaps[-1][1] += 1
        elif len(gaps) < MAX_GAPS:
            gaps.append([number, 1])
        else:
            counts.gaps = None


def _place(counts: Counts, where: int) -> str:
    _, place = _READERS[counts.source.format]
    return place(counts.source, where)


def _batch(counts: Counts, batch: list[bytes], first: int, joint: bytes | None) -> Iterator[Block]:
    """Yield one block of all documents of a batch, if it has any; ``first`` is where the first is."""
    if batch and joint is not None:
        counts.n_documents += len(batch)
        yield Block(counts, joint.join(batch), b"", 0, seams=len(batch) - 1, place=_place(counts, first))


def _alone(counts: Counts, data: bytes, where: int, block_bytes: int, cuts: Cuts) -> Iterator[Block]:
    """Yield one document in blocks of its own."""
    counts.n_documents += 1
    place = _place(counts, where)
    parts = (data[k : k + block_bytes] for k in range(0, len(data), block_bytes))
    offset = 0
    for part in cut_blocks(f"{counts.source.path}: {place}", lambda _: next(parts, b""), block_bytes, cuts=cuts):
        yield Block(counts, part, part, offset, first=offset == 0, place=place)
        offset += len(part)
