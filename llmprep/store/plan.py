"""Corpus and options -> which bytes go into which shard.

The plan depends on the corpus and the options alone, never on workers: files in order, small ones together, large
texts and JSON Lines in spans of bytes. Compressed files and Parquet cannot be entered in the middle and are never
split.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from llmprep import __version__
from llmprep.choices import Sharding
from llmprep.documents.reading import read_blocks
from llmprep.documents.recognising import is_packed
from llmprep.documents.source import Counts, Source
from llmprep.errors import EmptyError
from llmprep.store.content import stamp_of
from llmprep.store.schema import FORMAT, Plan, Span

if TYPE_CHECKING:
    from llmprep.choices import TextOptions
    from llmprep.vocabulary.vocabulary import Vocabulary

LEAST_SHARD, LARGEST_SHARD = 16 << 20, 1 << 30
MANY_SHARDS = 1024


@dataclass(frozen=True, slots=True)
class PlannedCorpus:
    """A plan, and the files here that it is of.

    ``first`` is the shard with the first text in it: no separator stands before its first document.
    """

    plan: Plan
    sources: list[Source]
    first: int

    def parts(self, number: int) -> list[Source]:
        """Return what gives the bytes of a shard."""
        return [_part_of(self.sources, span) for span in self.plan.shards[number]]

    def continues(self, number: int) -> bool:
        """Tell whether a separator stands before a shard's first document."""
        return number != self.first

    def recipe(self, number: int) -> list[Any]:
        """Return, as JSON has it, all but options and content that decides a shard's bytes, whatever its number."""
        spans = [[*span, self.sources[span.source].format] for span in self.plan.shards[number]]
        return [self.continues(number), spans]


def plan_corpus(
    sources: list[Source], vocabulary: Vocabulary, options: TextOptions, sharding: Sharding
) -> PlannedCorpus:
    """Plan a store of sources that tell their size, by default with shards of the size of `choose_shard_bytes`.

    Raises `EmptyError` for a corpus without text.
    """
    stamps = [stamp_of(source) for source in sources]
    shard_bytes = sharding.shard_bytes or choose_shard_bytes(sum(source.size or 0 for source in sources))
    shards = _fill_shards(sources, shard_bytes)
    first = _first_with_text(sources, shards)
    decided: dict[str, Any] = {
        "format": FORMAT,
        "llmprep_version": __version__,
        "encoding": vocabulary.name,
        "vocab_sha256": vocabulary.sha256,
        **asdict(options),
        "text_field": sources[0].text_field,
        "shard_bytes": shard_bytes,
    }
    corpus = [[source.name, source.size, source.format] for source in sources]
    decides = json.dumps([decided, corpus], ensure_ascii=True, sort_keys=True)
    plan = Plan(
        sha256=hashlib.sha256(decides.encode()).hexdigest(),
        options=decided,
        names=[source.name for source in sources],
        stamps=stamps,
        shards=shards,
        n_vocab=vocabulary.n_vocab,
        val_fraction=sharding.val_fraction,
    )
    return PlannedCorpus(plan, sources, first)


def choose_shard_bytes(corpus_bytes: int) -> int:
    """Return the least power of two from 16 MiB to 1 GiB that makes at most 1,024 shards of a corpus.

    >>> choose_shard_bytes(200_000_000), choose_shard_bytes(10**12)
    (16777216, 1073741824)
    """
    chosen = LEAST_SHARD
    while chosen < LARGEST_SHARD and corpus_bytes > MANY_SHARDS * chosen:
        chosen *= 2
    return chosen


def _part_of(sources: Sequence[Source], span: Span) -> Source:
    """Return what gives a span's bytes: the source itself if that is the whole of it, as there may be many."""
    source = sources[span.source]
    return source if span.end is None else replace(source, span=(span.start, span.end))


def _first_with_text(sources: Sequence[Source], shards: Sequence[Sequence[Span]]) -> int:
    for number, spans in enumerate(shards):
        for span in spans:
            part = _part_of(sources, span)
            if part.size and _has_text(part):
                return number
    name = sources[0].path if len(sources) == 1 else f"{len(sources)} inputs"
    raise EmptyError(f"{name}: empty: 0 tokens")


def _has_text(part: Source) -> bool:
    with closing(read_blocks(Counts(part), block_bytes=1 << 12)) as blocks:
        return next(blocks, None) is not None


def _fill_shards(sources: Sequence[Source], shard_bytes: int) -> list[list[Span]]:
    shards: list[list[Span]] = [[]]
    room = shard_bytes
    for number, source in enumerate(sources):
        for span, size in _spans(number, source, shard_bytes):
            if size > room and shards[-1]:
                shards.append([])
                room = shard_bytes
            shards[-1].append(span)
            room -= size
    return shards


def _spans(number: int, source: Source, shard_bytes: int) -> list[tuple[Span, int]]:
    """Return the spans that a source is divided into, each with its nominal size."""
    size = source.size or 0
    if size <= shard_bytes or is_packed(source):
        return [(Span(number, 0, None), size)]
    starts = range(0, size, shard_bytes)
    ends = [min(start + shard_bytes, size) for start in starts]
    return [(Span(number, start, end), end - start) for start, end in zip(starts, ends, strict=True)]
