"""JSON Lines and Parquet -> documents, each the text field of a record; many small ones in one block.

Many small documents must not cost a call each, so those without a special token are joined with the end-of-text
string into blocks, and encoded in one call with that token allowed: the ids at the seams are the separators. A document
that holds such a string goes alone, and a large one is cut as any text is.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmprep.choices import Newlines
from llmprep.documents.blocks import JOINT, SMALL_BYTES, SPECIAL, Block, cut_blocks, normalise
from llmprep.documents.json_lines import read_json_lines
from llmprep.documents.opening import ByteStream
from llmprep.documents.parquet import read_parquet
from llmprep.documents.source import Counts, Source
from llmprep.errors import DataError

MAX_GAPS = 1 << 16
"""How many runs of records without text have their numbers kept."""
_READERS = {"jsonl": read_json_lines, "parquet": read_parquet}
"""Each yields the text of each record, and its place."""


def read_records(stream: ByteStream, newlines: Newlines, block_bytes: int) -> Iterator[Block]:
    """Yield the documents of a JSON Lines or Parquet source, small ones joined, in order.

    Raises `DataError` with the place of a record that is damaged, or has no text field that is a string.
    """
    counts = stream.counts
    batch: list[bytes] = []
    n_bytes, place_of_first = 0, ""
    for data, place in _with_text(stream, newlines):
        if len(data) > SMALL_BYTES or SPECIAL in data:
            yield from _batch(counts, batch, place_of_first)
            yield from _alone(counts, data, place, block_bytes)
            batch, n_bytes = [], 0
            continue
        place_of_first = place_of_first if batch else place
        batch.append(data)
        n_bytes += len(data)
        if n_bytes >= block_bytes:
            yield from _batch(counts, batch, place_of_first)
            batch, n_bytes = [], 0
    yield from _batch(counts, batch, place_of_first)


def _with_text(stream: ByteStream, newlines: Newlines) -> Iterator[tuple[bytes, str]]:
    """Yield (UTF-8, place) of the records that hold text, counting the others and keeping their numbers."""
    source, counts = stream.source, stream.counts
    records = _READERS[source.format](stream)
    gaps: list[list[int]] = []
    counts.gaps = gaps
    for number, (text, place) in enumerate(records, 1):
        encoded = _encode(source, text, place) if text else b""
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
    """Yield one block of all documents of a batch, if it has any."""
    if batch:
        counts.n_documents += len(batch)
        yield Block(counts, JOINT.join(batch), b"", 0, seams=len(batch) - 1, place=place)


def _alone(counts: Counts, data: bytes, place: str, block_bytes: int) -> Iterator[Block]:
    """Yield one document in blocks of its own."""
    counts.n_documents += 1
    parts = iter([data[k : k + block_bytes] for k in range(0, len(data), block_bytes)])
    offset = 0
    for part in cut_blocks(counts.source.path, lambda _: next(parts, b""), block_bytes):
        yield Block(counts, part, part, offset, first=offset == 0, place=place)
        offset += len(part)


def _encode(source: Source, text: str, place: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{source.path}: {place}: field {source.text_field} holds half a surrogate pair "
            f"(\\u{ord(text[error.start]):04x}), which is no character; mend the record"
        ) from error
