"""A plain text, or a span of one -> blocks of valid UTF-8."""

from __future__ import annotations

import io
from collections.abc import Iterator

from llmprep.choices import Newlines
from llmprep.documents.blocks import Block, cut_blocks, normalise
from llmprep.documents.cuts import TIKTOKEN_CUTS, Cuts, find_safe_cut
from llmprep.documents.decompressing import open_content
from llmprep.documents.opening import HEAD_BYTES, ByteStream, Read, read_up_to
from llmprep.documents.recognising import require_text
from llmprep.documents.source import BOM
from llmprep.documents.spans import FindBoundary, open_span
from llmprep.errors import DataError


def read_text(stream: ByteStream, newlines: Newlines, block_bytes: int, cuts: Cuts = TIKTOKEN_CUTS) -> Iterator[Block]:
    """Yield a plain text, or a span of one, in blocks. Raises `DataError` for the first byte that is not UTF-8."""
    counts, span = stream.counts, stream.source.span
    offset, read = open_text(stream, find_safe_cut)
    for raw in cut_blocks(stream.source.path, read, block_bytes, offset, cuts):
        data = raw
        if offset == 0 and raw.startswith(BOM):
            counts.bom = True
            data = raw[len(BOM) :]
        n_chars = _count_characters(stream.source.path, data, offset + len(raw) - len(data))
        text = normalise(data, newlines)
        counts.n_chars += n_chars - (len(data) - len(text))
        counts.n_text += len(text)
        if text:
            begins = counts.n_documents == 0 and (span is None or span[0] == 0)
            yield Block(counts, text, raw, offset, first=begins)
            counts.n_documents = 1
        offset += len(raw)


def open_text(stream: ByteStream, find: FindBoundary) -> tuple[int, Read]:
    """Return where a source, or its span, begins, and a function that reads its content, decompressed.

    ``find`` tells where spans may begin and end. Raises, as `require_text` does, for what is plainly not a text.
    """
    if stream.source.span is not None:
        return open_span(stream, find)
    read = open_content(stream)
    head = read_up_to(HEAD_BYTES, read)
    require_text(stream, head)
    kept = io.BytesIO(head)
    return 0, lambda count: kept.read(count) or read(count)


def _count_characters(path: str, data: bytes, offset: int) -> int:
    """Return the number of characters in UTF-8. Raises `DataError` with the place of the first bad byte."""
    if data.isascii():
        return len(data)
    try:
        return len(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not valid UTF-8 at byte {offset + error.start} (0x{data[error.start]:02x}); "
            f"convert it to UTF-8 first, for example with iconv"
        ) from error
