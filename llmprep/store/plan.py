"""Corpus and options -> which bytes go into which shard.

The plan depends on the corpus and the options alone, never on workers: files in order, small ones together, large
texts and JSON Lines in spans of bytes. Compressed files and Parquet cannot be entered in the middle and are never
split, nor are texts where the vocabulary allows no cut.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from llmprep import __version__
from llmprep.choices import Sharding
from llmprep.documents.blocks import require_whole
from llmprep.documents.cuts import Cuts
from llmprep.documents.reading import read_blocks
from llmprep.documents.recognising import is_packed
from llmprep.documents.source import Counts, Source
from llmprep.documents.sources import Sources
from llmprep.errors import EmptyError, UsageError
from llmprep.store.columns import CHUNK
from llmprep.store.content import stamps_of
from llmprep.store.schema import FORMAT, WHOLE, Plan, ShardSpans
from llmprep.tokens.cutting import cuts_of
from llmprep.tokens.stream import require_separator
from llmprep.vocabulary.references import Reference

if TYPE_CHECKING:
    from llmprep.choices import OnBad, TextOptions
    from llmprep.vocabulary.vocabulary import Vocabulary

LEAST_SHARD, LARGEST_SHARD = 16 << 20, 1 << 30
MANY_SHARDS = 1024
MAX_SHARDS = 100_000
"""More are made only where nobody has chosen their size."""


@dataclass(frozen=True, slots=True)
class PlannedCorpus:
    """A plan, and the files here that it is of.

    ``first`` is the shard with the first text in it: no separator stands before its first document.
    """

    plan: Plan
    sources: Sources
    first: int

    def parts(self, number: int) -> Sources:
        """Return what gives the bytes of a shard."""
        first, count, *_ = self.plan.shards.rows[number].tolist()
        return self.sources.part(first, first + count, spans_in(self.plan.shards, number))

    def continues(self, number: int) -> bool:
        """Tell whether a separator stands before a shard's first document."""
        return number != self.first

    def recipe(self, number: int) -> list[Any]:
        """Return, as JSON has it, all but options and content that decides a shard's bytes, whatever its number."""
        formats = [[*run] for run in self.parts(number).formats()]
        return [self.continues(number), self.plan.shards.rows[number].tolist(), formats]


def plan_corpus(
    sources: Sources, vocabulary: Vocabulary, options: TextOptions, sharding: Sharding, on_bad: OnBad = "stop"
) -> PlannedCorpus:
    """Plan a store of sources that tell their size, by default with shards of the size of `choose_shard_bytes`.

    ``on_bad`` says how those that were left out came to be: a plan of one choice is not one of the other.

    Raises `EmptyError` for a corpus without text, `UsageError` for a size that makes more than `MAX_SHARDS`, and as
    `require_whole` does.
    """
    require_separator(sources, vocabulary, options)
    shard_bytes = sharding.shard_bytes or choose_shard_bytes(sources.n_bytes)
    if sharding.shard_bytes is not None:
        _require_few(sources, sharding.shard_bytes)
    stamps = stamps_of(sources)
    shards = _divide(sources, shard_bytes, cuts_of(vocabulary))
    first = _first_with_text(sources, shards)
    decided: dict[str, Any] = {
        "format": FORMAT,
        "llmprep_version": __version__,
        "encoding": vocabulary.name,
        "vocab_sha256": vocabulary.sha256,
        **({} if Reference.to(vocabulary).is_encoding else {"fingerprint": vocabulary.fingerprint}),
        **options.content(),
        "text_field": sources[0].text_field,
        "shard_bytes": shard_bytes,
        **({"on_bad": on_bad} if on_bad != "stop" else {}),
    }
    plan = Plan(
        sha256=_hash(decided, sources),
        options=decided,
        names=sources.names,
        stamps=stamps,
        shards=shards,
        n_vocab=vocabulary.n_vocab,
        val_fraction=sharding.val_fraction,
        left_out=sources.left_out,
    )
    return PlannedCorpus(plan, sources, first)


def _divide(sources: Sources, shard_bytes: int, cuts: Cuts) -> ShardSpans:
    require_whole(sources, cuts)
    return ShardSpans(np.array(fill_shards(sources, shard_bytes, cut=cuts.allowed), np.int64))


def spans_in(shards: ShardSpans, number: int) -> dict[int, tuple[int, int]]:
    """Return the spans of sources that a shard does not take whole, by their place in it."""
    _, count, start, end, last_end = shards.rows[number].tolist()
    first = {} if end == WHOLE else {0: (start, end)}
    return first if last_end == WHOLE else first | {count - 1: (0, last_end)}


def _hash(decided: Mapping[str, Any], sources: Sources) -> str:
    """Return the sha256 of the JSON [decided, [[name, size, format], ...]], which is never held whole."""
    digest = hashlib.sha256(f"[{json.dumps(decided, sort_keys=True)}, [".encode())
    formats = chain.from_iterable(repeat(name, count) for name, count in sources.formats())
    rows = zip(sources.names, sources.sizes, formats, strict=True)
    comma = ""
    while some := [*islice(rows, CHUNK)]:
        digest.update((comma + json.dumps(some)[1:-1]).encode())
        comma = ", "
    digest.update(b"]]")
    return digest.hexdigest()


def choose_shard_bytes(corpus_bytes: int) -> int:
    """Return the least power of two from 16 MiB to 1 GiB that makes at most 1,024 shards of a corpus.

    >>> choose_shard_bytes(200_000_000), choose_shard_bytes(10**12)
    (16777216, 1073741824)
    """
    chosen = LEAST_SHARD
    while chosen < LARGEST_SHARD and corpus_bytes > MANY_SHARDS * chosen:
        chosen *= 2
    return chosen


def _first_with_text(sources: Sources, shards: ShardSpans) -> int:
    for number in range(len(shards)):
        for span in shards.of(number):
            part = sources[span.source]
            part = part if span.end is None else replace(part, span=(span.start, span.end))
            if part.size and _has_text(part):
                return number
    name = sources[0].path if len(sources) == 1 else f"{len(sources)} inputs"
    raise EmptyError(f"{name}: empty: 0 tokens")


def _has_text(part: Source) -> bool:
    with closing(read_blocks(Counts(part), block_bytes=1 << 12)) as blocks:
        return next(blocks, None) is not None


def fill_shards(sources: Sources, shard_bytes: int, *, cut: bool = True) -> list[list[int]]:
    """Return the rows of `ShardSpans`: files in order, together as long as there is room.

    Where texts may not be ``cut``, a plain one is taken whole, however large; JSON Lines have their spans.
    """
    rows: list[list[int]] = []
    room = -1
    for number, size in enumerate(sources.sizes):
        whole = size <= shard_bytes or not _has_spans(sources[number], cut=cut)
        for start in (0,) if whole else range(0, size, shard_bytes):
            end = WHOLE if whole else min(start + shard_bytes, size)
            span_bytes = size if whole else end - start
            if not rows or span_bytes > room:
                rows.append([number, 1, start, end, WHOLE])
                room = shard_bytes
            else:
                rows[-1][1] += 1
                rows[-1][4] = end
            room -= span_bytes
    return rows


def _has_spans(source: Source, *, cut: bool) -> bool:
    """Tell whether a source can be entered in the middle."""
    return (cut or source.format != "text") and not is_packed(source)


def _require_few(sources: Sources, shard_bytes: int) -> None:
    """Raise `UsageError` where a size that was chosen makes more than `MAX_SHARDS`: another unit was meant."""
    count = enough = count_shards(sources, shard_bytes)
    if count <= MAX_SHARDS:
        return
    larger = max(shard_bytes, 1 << (sources.n_bytes // MAX_SHARDS).bit_length() - 1)
    while enough > MAX_SHARDS:
        larger *= 2
        enough = count_shards(sources, larger)
    raise UsageError(
        f"--shard-bytes {shard_bytes}: is in bytes, and would make {count} shards; at most {MAX_SHARDS} are made: "
        f"--shard-bytes {larger} makes {enough}"
    )


def count_shards(sources: Sources, shard_bytes: int) -> int:
    """Return how many shards `fill_shards` would make, each large file as if it could be entered."""
    count, room = 0, -1
    for size in sources.sizes:
        n_parts = -(-size // shard_bytes)
        if n_parts > 1:
            count += n_parts - (room >= shard_bytes)  # where nothing but empty files comes before it
            room = n_parts * shard_bytes - size
        elif size > room:
            count += 1
            room = shard_bytes - size
        else:
            room -= size
    return count
