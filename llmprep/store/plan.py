"""Corpus and options -> which bytes go into which shard.

The plan depends on the corpus and the options alone, never on workers: files in order, small ones together, large
texts and JSON Lines in spans of bytes. The ends of a span are nominal: whoever reads it moves both to the first safe
cut, or begin of a line, at or after them, so neighbours agree without speaking to each other. Compressed files and
Parquet cannot be entered in the middle and are never split.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from llmprep import __version__
from llmprep.documents.reading import read_blocks
from llmprep.documents.recognising import is_compressed
from llmprep.documents.source import STDIN, Counts, Source
from llmprep.errors import EmptyError, UsageError
from llmprep.store.content import Stamp, stamp

if TYPE_CHECKING:
    from llmprep.choices import TextOptions
    from llmprep.vocabulary.loading import Vocabulary

BYTES_PER_TOKEN = 4
LEAST_SHARD, MOST_SHARD = 16 << 20, 1 << 30
MANY_SHARDS = 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes ``start`` to ``end`` (nominal) of the corpus's file number ``source``; ``end`` None: the whole file."""

    source: int
    start: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What every shard holds. ``sha256`` is of all that decides the bytes of the store.

    ``first`` is the first piece that gives any text: no separator stands before its first document. ``stamps`` are of
    the sources as they were found, and decide nothing.
    """

    sources: list[Source]
    shards: list[list[Piece]]
    first: Piece
    options: dict[str, Any]
    sha256: str
    stamps: list[Stamp]

    def continues(self, number: int) -> bool:
        """Tell whether a separator stands before a shard's first document."""
        return self.first not in self.shards[number]

    def recipe(self, number: int) -> list[Any]:
        """Return, as JSON has it, all but options and content that decides a shard's bytes, whatever its number."""
        pieces = [[p.source, p.start, p.end, self.sources[p.source].format] for p in self.shards[number]]
        return [self.continues(number), pieces]


def make_plan(
    sources: list[Source], vocabulary: Vocabulary, options: TextOptions, shard_bytes: int | None = None
) -> Plan:
    """Plan a store of shards of ``shard_bytes`` text, by default what `choose_shard_bytes` says.

    Raises `UsageError` for inputs without a size, `EmptyError` for a corpus without text.
    """
    for source in sources:
        if source.path == STDIN or source.size is None:
            raise UsageError(
                f"{source.path}: a token store is planned from files that tell their size; copy it into one"
            )
    stamps = [stamp(source) for source in sources]
    shard_bytes = shard_bytes or choose_shard_bytes(sum(source.size or 0 for source in sources))
    shards = _fill_shards(sources, shard_bytes)
    first = _first_with_text(sources, chain.from_iterable(shards))
    decided: dict[str, Any] = {
        "llmprep_version": __version__,
        "encoding": vocabulary.name,
        "vocab_sha256": vocabulary.sha256,
        **asdict(options),
        "text_field": sources[0].text_field,
        "shard_bytes": shard_bytes,
    }
    corpus = [[source.name, source.size, source.format] for source in sources]
    told = json.dumps([decided, corpus], ensure_ascii=True, sort_keys=True)
    return Plan(sources, shards, first, decided, hashlib.sha256(told.encode()).hexdigest(), stamps)


def choose_shard_bytes(corpus_bytes: int) -> int:
    """Return the least power of two from 16 MiB to 1 GiB that makes at most 1,024 shards of a corpus.

    >>> choose_shard_bytes(200_000_000), choose_shard_bytes(10**12)
    (16777216, 1073741824)
    """
    chosen = LEAST_SHARD
    while chosen < MOST_SHARD and corpus_bytes > MANY_SHARDS * chosen:
        chosen *= 2
    return chosen


def part_of(sources: Sequence[Source], piece: Piece) -> Source:
    """Return what gives a piece's bytes: the source itself if that is the whole of it, as there may be many."""
    source = sources[piece.source]
    return source if piece.end is None else replace(source, span=(piece.start, piece.end))


def _first_with_text(sources: Sequence[Source], pieces: Iterable[Piece]) -> Piece:
    for piece in pieces:
        part = part_of(sources, piece)
        if part.size:
            with closing(read_blocks(Counts(part), block_bytes=1 << 12)) as blocks:
                if next(blocks, None) is not None:
                    return piece
    name = sources[0].path if len(sources) == 1 else f"{len(sources)} inputs"
    raise EmptyError(f"{name}: empty: 0 tokens")


def _fill_shards(sources: Sequence[Source], shard_bytes: int) -> list[list[Piece]]:
    shards: list[list[Piece]] = [[]]
    room = shard_bytes
    for number, source in enumerate(sources):
        for piece, size in _pieces(number, source, shard_bytes):
            if size > room and shards[-1]:
                shards.append([])
                room = shard_bytes
            shards[-1].append(piece)
            room -= size
    return shards


def _pieces(number: int, source: Source, shard_bytes: int) -> list[tuple[Piece, int]]:
    size = source.size or 0
    if size <= shard_bytes or source.format == "parquet" or is_compressed(source):
        return [(Piece(number, 0, None), size)]
    starts = range(0, size, shard_bytes)
    spans = [(start, min(start + shard_bytes, size)) for start in starts]
    return [(Piece(number, start, end), end - start) for start, end in spans]
