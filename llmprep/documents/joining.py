"""Many sources -> blocks: small plain texts, one after the other, joined in one block.

A file of 200 bytes must cost neither a reader nor a call of the encoder, so small files are read at once and joined, as
`records` joins small documents. Whatever is not plain at first sight is left to `read_blocks`, which says what it is.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Generator, Sequence

from llmprep.choices import BLOCK_BYTES, Newlines
from llmprep.documents.blocks import SMALL_BYTES, Block, normalise
from llmprep.documents.cuts import TIKTOKEN_CUTS, Cuts
from llmprep.documents.kinds import markup_remark
from llmprep.documents.opening import Run, run_now
from llmprep.documents.reading import read_blocks
from llmprep.documents.recognising import is_plainly_text
from llmprep.documents.source import READ_ONLY, Counts, Source


def read_sources(
    counted: Sequence[Counts],
    newlines: Newlines = "universal",
    block_bytes: int = BLOCK_BYTES,
    run: Run = run_now,
    cuts: Cuts = TIKTOKEN_CUTS,
) -> Generator[Block]:
    """Yield the documents of several sources in order, as `read_blocks` does for one, small texts joined."""
    batch, joins = _Batch(cuts.joint or b""), len(counted) > 1 and cuts.joint is not None
    for counts in counted:
        text = read_small(counts, newlines, cuts) if joins else None
        if text is None:
            yield from batch.take()
            yield from read_blocks(counts, newlines, block_bytes, run, cuts=cuts)
        elif text:
            batch.add(counts, text)
            if batch.n_bytes >= block_bytes:
                yield from batch.take()
    yield from batch.take()


class _Batch:
    """Texts that wait to be joined."""

    def __init__(self, joint: bytes) -> None:
        self.n_bytes = 0
        self._joint = joint
        self._counted: list[Counts] = []
        self._texts: list[bytes] = []

    def add(self, counts: Counts, text: bytes) -> None:
        self._counted.append(counts)
        self._texts.append(text)
        self.n_bytes += len(text)

    def take(self) -> Generator[Block]:
        """Yield one block of all texts, if there are any, and forget them."""
        counted, texts, self._counted, self._texts, self.n_bytes = self._counted, self._texts, [], [], 0
        if texts:
            yield Block(counted[0], self._joint.join(texts), b"", 0, seams=len(texts) - 1, joined=counted)


def read_small(counts: Counts, newlines: Newlines, cuts: Cuts = TIKTOKEN_CUTS) -> bytes | None:
    """Return the text of a small file, counted, or None, and nothing counted, for what `read_blocks` must look at."""
    source = counts.source
    data = _bytes_of(source)
    if data is None or cuts.may_hold_special(data) or not is_plainly_text(source.path, data):
        return None
    if data.isascii():
        n_chars = len(data)
    else:
        try:
            n_chars = len(data.decode())
        except UnicodeDecodeError:
            return None
    text = normalise(data, newlines)
    counts.n_bytes, counts.sha256 = len(data), hashlib.sha256(data).hexdigest()
    counts.n_chars, counts.n_text = n_chars - (len(data) - len(text)), len(text)
    counts.n_documents = 1 if text else 0
    if text:
        counts.remark(markup_remark(source.path))
    return text


def _bytes_of(source: Source) -> bytes | None:
    """Return the bytes of a small file that is at rest, None for any other and for what cannot be read."""
    size = source.size
    if size is None or size > SMALL_BYTES or source.format != "text" or source.span is not None:
        return None
    try:
        number = os.open(source.path, READ_ONLY)
    except (OSError, ValueError):
        return None
    try:
        before, data, after = os.fstat(number), os.read(number, size + 1), os.fstat(number)
    except OSError:
        return None
    finally:
        os.close(number)
    at_rest = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return data if at_rest and len(data) == before.st_size and stat.S_ISREG(before.st_mode) else None
