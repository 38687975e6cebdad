"""Sources -> how many tokens they will give, from a small seeded sample."""

from __future__ import annotations

import math
import random
import statistics
import sys
import time
from bisect import bisect
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate

from llmprep.choices import Effort, TextOptions
from llmprep.documents.blocks import Block, require_whole
from llmprep.documents.cuts import Cuts, last_safe_cut
from llmprep.documents.opening import HEAD_BYTES, ByteStream
from llmprep.documents.reading import read_blocks
from llmprep.documents.recognising import is_packed
from llmprep.documents.source import Counts, Source
from llmprep.tokens.backends import LARGE_BYTES, Encoder
from llmprep.tokens.cutting import cuts_of
from llmprep.tokens.stream import stream_text
from llmprep.vocabulary.vocabulary import Vocabulary

SAMPLES = 48
"""How many pieces are drawn, with probability proportional to a source's size."""
SAMPLE_BYTES = 1 << 15
BEGINNING_BYTES = 4 << 20
"""How much text is read of a source that can be read from its beginning only."""
SEED = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """How many tokens, the bounds of a 95 % interval, and the seconds that one thread needs to encode them.

    ``n_bytes`` is the size of all sources that have one; ``n_unsized`` is how many (pipes) have none, and are left out.
    """

    n_bytes: int
    n_unsized: int
    tokens: int
    low: int
    high: int
    seconds: float

    @property
    def is_exact(self) -> bool:
        """Whether all sources were encoded whole."""
        return not self.n_unsized and self.n_bytes <= SAMPLES * SAMPLE_BYTES


@dataclass(frozen=True, slots=True)
class _Sample:
    """Bytes of a file, as they are stored, and the tokens that they gave."""

    n_bytes: int
    n_tokens: int


def estimate_tokens(
    sources: Sequence[Source], vocabulary: Vocabulary, options: TextOptions, effort: Effort
) -> Estimate:
    """Estimate from up to `SAMPLES` pieces of `SAMPLE_BYTES`.

    Small sources are encoded whole, and the interval is then one number. Compressed files and records are sampled at
    their beginnings, since they cannot be entered elsewhere. Raises as reading and encoding them do.
    """
    sized = [source for source in sources if source.size]
    require_whole(sized, cuts_of(vocabulary))
    n_bytes = sum(source.size or 0 for source in sized)
    started = time.perf_counter()
    if n_bytes <= SAMPLES * SAMPLE_BYTES:
        tokens = n_encoded = _count(sources, vocabulary, options, effort)
        spread = 0.0
    else:
        expected = min(n_bytes, LARGE_BYTES)  # a sample is not worth loading what only much text is worth
        samples = list(_sample(sized, Encoder(vocabulary, options.special, effort.backend, expected), options))
        n_encoded = sum(sample.n_tokens for sample in samples)
        tokens, spread = _extrapolate(samples, n_bytes)
    seconds = time.perf_counter() - started
    return Estimate(
        n_bytes=n_bytes,
        n_unsized=sum(source.size is None for source in sources),
        tokens=round(tokens),
        low=round(tokens * (1 - spread)),
        high=round(tokens * (1 + spread)),
        seconds=seconds * tokens / max(1, n_encoded),
    )


def _count(sources: Sequence[Source], vocabulary: Vocabulary, options: TextOptions, effort: Effort) -> float:
    """Encode all sources that have a size, and count their tokens."""
    sized = [source for source in sources if source.size is not None]
    stream = stream_text(sized, vocabulary, options, Effort(effort.backend)) if sized else ()
    return sum(len(block) for block in stream)


def _extrapolate(samples: Sequence[_Sample], n_bytes: int) -> tuple[float, float]:
    """Return the tokens of ``n_bytes``, and half the width of the interval as a part of them."""
    ratios = [sample.n_tokens / sample.n_bytes for sample in samples]
    mean = statistics.fmean(ratios)
    return mean * n_bytes, 2 * statistics.stdev(ratios) / math.sqrt(len(ratios)) / max(mean, 1e-9)


def _sample(sized: Sequence[Source], encoder: Encoder, options: TextOptions) -> Iterator[_Sample]:
    draw = random.Random(SEED)  # noqa: S311 - a sample, no secret
    drawn = draw.choices(range(len(sized)), weights=[source.size or 0 for source in sized], k=SAMPLES)
    for number, count in sorted(Counter(drawn).items()):
        source = sized[number]
        if source.format == "text" and (source.size or 0) > 2 * SAMPLE_BYTES and not is_packed(source):
            yield from (_sample_anywhere(source, encoder, draw) for _ in range(count))
        else:
            yield from _sample_beginning(source, count, encoder, options)


def _sample_anywhere(source: Source, encoder: Encoder, draw: random.Random) -> _Sample:
    """Encode a piece from a random place of a plain text."""
    counts = Counts(source)
    with closing(ByteStream(counts)) as stream:
        stream.seek(draw.randrange((source.size or 0) - SAMPLE_BYTES))
        data = stream.read(SAMPLE_BYTES + HEAD_BYTES)
    start = last_safe_cut(data[:HEAD_BYTES])
    part = data[start : start + SAMPLE_BYTES].decode("utf-8", "ignore").encode()
    return _Sample(max(1, len(part)), len(encoder.encode(Block(counts, part, part, 0))))


def _sample_beginning(source: Source, count: int, encoder: Encoder, options: TextOptions) -> Iterator[_Sample]:
    """Encode ``count`` pieces, evenly spread over the first `BEGINNING_BYTES` of text, or over the whole of it."""
    blocks, n_bytes = _read_beginning(source, options, cuts_of(encoder.vocabulary))
    if not blocks:
        yield from [_Sample(max(1, n_bytes), 0)] * count
        return
    ends = list(accumulate(len(block.data) for block in blocks))
    for k in range(count):
        block = blocks[bisect(ends, ends[-1] * (2 * k + 1) // (2 * count))]
        seams = -block.seams if options.separator == "none" else block.first
        n_tokens = len(encoder.encode(block)) + seams
        yield _Sample(max(1, round(n_bytes * len(block.data) / ends[-1])), n_tokens)


def _read_beginning(source: Source, options: TextOptions, cuts: Cuts) -> tuple[list[Block], int]:
    """Return the blocks of the first `BEGINNING_BYTES` of text, and how many bytes of the file they came from."""
    counts = Counts(source)
    blocks: list[Block] = []
    n_bytes = n_text = 0
    is_parquet = source.format == "parquet"
    # Small steps, so that the bytes read are those that the text came from; Parquet is read by its rows.
    step = sys.maxsize if is_parquet else HEAD_BYTES
    with closing(read_blocks(counts, options.newlines, SAMPLE_BYTES, step=step, cuts=cuts)) as reading:
        for block in reading:
            if n_text > BEGINNING_BYTES and (is_parquet or counts.n_bytes > n_bytes):
                break
            blocks.append(block)
            n_bytes, n_text = counts.n_bytes, n_text + len(block.data)
        else:
            n_bytes = counts.n_bytes
    if is_parquet and blocks:
        from llmprep.documents.parquet import count_rows

        n_bytes = n_bytes * sum(block.seams + 1 for block in blocks) // max(1, count_rows(source))
    return blocks, n_bytes
