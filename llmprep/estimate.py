"""Inputs -> how many tokens they will give, from a small seeded sample. Nothing is written."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from llmprep.backends import Encoder
from llmprep.documents import Block, Source, close_source, last_safe_cut, read_blocks
from llmprep.documents.opening import HEAD_BYTES, open_source
from llmprep.documents.sources import COMPRESSED
from llmprep.tokens import Effort, TextOptions
from llmprep.vocabulary import Vocabulary

SAMPLES = 48
SAMPLE_BYTES = 1 << 15
SEED = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens with the bounds of a 95 % interval, and the seconds that one thread needs to encode them.

    ``n_bytes`` are the inputs' bytes; inputs without a size (pipes) are not counted, and ``n_unsized`` says how many.
    """

    n_bytes: int
    n_unsized: int
    tokens: int
    low: int
    high: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Sample:
    n_bytes: int
    n_tokens: int


def estimate_tokens(
    sources: Sequence[Source], vocabulary: Vocabulary, options: TextOptions, effort: Effort
) -> Estimate:
    """Estimate from up to `SAMPLES` pieces of `SAMPLE_BYTES`, drawn with probability proportional to size.

    A small input is encoded whole, and the interval is then one number. Compressed files and records are sampled at
    their beginnings, since they cannot be entered elsewhere.
    """
    sized = [source for source in sources if source.size]
    total = sum(source.size or 0 for source in sized)
    encoder = Encoder(vocabulary, options.special, effort.backend, total)
    started = time.perf_counter()
    if total <= SAMPLES * SAMPLE_BYTES:
        samples = [_whole(source, encoder, options) for source in sized]
        spread = 0.0
    else:
        draw = random.Random(SEED)  # noqa: S311 - a sample, no secret
        drawn = draw.choices(sized, weights=[source.size or 0 for source in sized], k=SAMPLES)
        samples = [_piece(source, encoder, options, draw) for source in drawn]
        ratios = [sample.n_tokens / max(1, sample.n_bytes) for sample in samples]
        mean = sum(ratios) / len(ratios)
        spread = 2 * math.sqrt(sum((r - mean) ** 2 for r in ratios) / (len(ratios) - 1) / len(ratios)) / max(mean, 1e-9)
    seconds = time.perf_counter() - started
    n_bytes, n_tokens = sum(s.n_bytes for s in samples), sum(s.n_tokens for s in samples)
    tokens = n_tokens * total / max(1, n_bytes)
    return Estimate(
        n_bytes=total,
        n_unsized=len(sources) - len(sized),
        tokens=round(tokens),
        low=round(tokens * (1 - spread)),
        high=round(tokens * (1 + spread)),
        seconds=seconds * total / max(1, n_bytes),
    )


def _whole(source: Source, encoder: Encoder, options: TextOptions) -> _Sample:
    copy = _fresh(source)
    n_tokens = sum(len(encoder.encode(block)) for block in read_blocks(copy, options.newlines))
    return _Sample(copy.n_bytes, n_tokens)


def _piece(source: Source, encoder: Encoder, options: TextOptions, draw: random.Random) -> _Sample:
    """Encode a piece from a random place of a plain text; the beginning of anything else."""
    copy = _fresh(source)
    if source.format != "text" or source.path.lower().endswith(COMPRESSED):
        blocks = islice(read_blocks(copy, options.newlines, SAMPLE_BYTES), 2)
        n_tokens = sum(len(encoder.encode(block)) for block in blocks)
        close_source(copy)
        return _Sample(copy.n_bytes, n_tokens)
    stream = open_source(copy)
    stream.skip(draw.randrange(max(1, (source.size or 0) - SAMPLE_BYTES)))
    data = stream.read(SAMPLE_BYTES + HEAD_BYTES)
    close_source(copy)
    start = last_safe_cut(data[:HEAD_BYTES])
    part = data[start : start + SAMPLE_BYTES].decode("utf-8", "ignore").encode()
    return _Sample(len(part), len(encoder.encode(Block(copy, part, part, 0))))


def _fresh(source: Source) -> Source:
    return replace(source, n_bytes=0, n_chars=0, n_tokens=0, n_documents=0, stream=None)
