"""Documents -> the rows that they are packed in, taken by number; and what becomes of each token."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from llmprep.errors import FileFormatError
from llmprep.windows.fitting import Numbers
from llmprep.windows.packing import Packed, Rule, count_chunks, list_chunks, pack_block

Array = npt.NDArray[Any]


class Spans(Protocol):
    """Where the documents of a stream begin and end, separators between them excluded."""

    def __len__(self) -> int: ...

    def spans(self, first: int, count: int) -> tuple[Numbers, Numbers]:
        """Return the starts and ends, each (count,) int64, of the documents from the one numbered ``first`` on."""


@dataclass(frozen=True, slots=True)
class KnownSpans:
    """Documents in memory, by their ``starts`` (n,) in ``n_tokens``; a separator of ``gap`` tokens is between two."""

    starts: Numbers
    n_tokens: int
    gap: int = 0

    def __len__(self) -> int:
        return len(self.starts)

    def spans(self, first: int, count: int) -> tuple[Numbers, Numbers]:
        """Return the starts and ends of ``count`` documents."""
        ends = self.starts[first + 1 : first + count + 1] - self.gap
        ends = ends if len(ends) == count else np.append(ends, self.n_tokens)
        return self.starts[first : first + count], ends


@dataclass(frozen=True, slots=True)
class DividedStream:
    """A stream of ``n_tokens`` and its documents. With ``opens``, a separator is of the document after it."""

    documents: Spans
    n_tokens: int
    opens: bool = False

    def units(self, first: int, end: int) -> tuple[Numbers, Numbers]:
        """Return where documents begin, and how many tokens they have with their separators: all have each token once.

        What stands before the first document is of it, and what comes after the last.
        """
        is_last = end == len(self.documents)
        if self.opens:
            before = max(0, first - 1)
            ends = self.documents.spans(before, end - before)[1]
            bounds = ends.copy() if first else np.append(0, ends)
        else:
            starts = self.documents.spans(first, end - first + (not is_last))[0]
            bounds = np.append(starts, self.n_tokens) if is_last else starts.copy()
        if first == 0:
            bounds[0] = 0
        if is_last:
            bounds[-1] = self.n_tokens
        return bounds[:-1], np.diff(bounds)


@dataclass(frozen=True, slots=True)
class Fill:
    """What becomes of each token, counted while documents are packed into ``n_rows`` rows of ``width``.

    ``n_split`` documents are longer than a row; they are cut at ``n_cuts`` places, or truncated. ``n_stored`` counts
    the tokens in all rows: those of the stream, without the ``n_lost``, and again those that parts repeat.
    """

    width: int
    n_tokens: int = 0
    n_documents: int = 0
    n_rows: int = 0
    n_parts: int = 0
    n_split: int = 0
    n_cuts: int = 0
    n_stored: int = 0
    n_lost: int = 0

    @property
    def n_repeated(self) -> int:
        """Tokens that stand in two rows."""
        return self.n_stored + self.n_lost - self.n_tokens

    @property
    def n_filler(self) -> int:
        """Places in rows that no token takes."""
        return self.n_rows * self.width - self.n_stored

    @property
    def n_targets(self) -> int:
        """Tokens that stand in a row after another of their document: all but the first of each part."""
        return self.n_stored - self.n_parts

    @property
    def share(self) -> float:
        """The part of all places that tokens take, each counted once: from 0 to 1."""
        return (self.n_tokens - self.n_lost) / max(1, self.n_rows * self.width)

    def with_documents(self, lengths: Numbers, rule: Rule) -> Fill:
        """Return these figures with documents of these lengths counted."""
        long = lengths[lengths > rule.width]
        n_cuts = 0 if rule.truncate else int(((long - rule.overlap - 1) // (rule.width - rule.overlap)).sum())
        return replace(
            self,
            n_tokens=self.n_tokens + int(lengths.sum()),
            n_documents=self.n_documents + len(lengths),
            n_split=self.n_split + len(long),
            n_cuts=self.n_cuts + n_cuts,
        )

    def with_rows(self, packed: Packed) -> Fill:
        """Return these figures with rows counted."""
        return replace(
            self,
            n_rows=self.n_rows + len(packed.counts),
            n_parts=self.n_parts + len(packed.starts),
            n_stored=self.n_stored + int(packed.lengths.sum()),
            n_lost=self.n_lost + int(packed.lost_lengths.sum()),
        )


def pack_blocks(corpus: DividedStream, rule: Rule, first: int = 0) -> Iterator[tuple[Numbers, Iterator[Packed]]]:
    """Yield of each block from number ``first`` on the lengths of its documents, and its rows as they are packed."""
    n_documents = len(corpus.documents)
    for number in range(first, count_chunks(n_documents, rule.buffer)[2]):
        units = [corpus.units(*chunk) for chunk in list_chunks(n_documents, number, rule)]
        starts, lengths = (np.concatenate(column) for column in zip(*units, strict=True))
        yield lengths, pack_block(starts, lengths, number, rule)


@dataclass(frozen=True, slots=True, eq=False)
class PackedRows:
    """Packed rows by number, as arrays in memory or mapped from an index.

    Row k has the parts ``row_starts[k]`` up to ``row_starts[k + 1]``; ``part_starts`` and ``part_lengths`` (n,) are
    runs of the stream. ``lost_starts`` and ``lost_lengths`` are those that are in no row. ``checksums`` are the CRC-32
    of the first three, as int64, int64 and int32: equal only where the rows are, as far as checksums tell.
    """

    row_starts: Array
    part_starts: Array
    part_lengths: Array
    lost_starts: Array
    lost_lengths: Array
    fill: Fill
    checksums: tuple[int, ...]
    name: str = "packing"

    def __len__(self) -> int:
        return len(self.row_starts) - 1

    def take(self, places: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Return of these rows how many parts each has, and where these begin and how long they are, row after row.

        All are int64. Raises `FileFormatError` for a row that no packing of the stream has.
        """
        firsts, ends = self.row_starts[places].astype(np.int64), self.row_starts[places + 1].astype(np.int64)
        counts = ends - firsts
        if not ((firsts >= 0) & (counts > 0) & (counts <= self.fill.width) & (ends <= len(self.part_starts))).all():
            raise FileFormatError(f"{self.name}: has rows that are none; build it anew")
        last = np.cumsum(counts)
        numbers = np.arange(last[-1] if len(last) else 0) + np.repeat(firsts - last + counts, counts)
        starts, lengths = self.part_starts[numbers].astype(np.int64), self.part_lengths[numbers].astype(np.int64)
        sound = (starts >= 0) & (lengths > 0) & (lengths <= self.fill.width) & (starts <= self.fill.n_tokens - lengths)
        if not sound.all() or (len(last) and (np.add.reduceat(lengths, last - counts) > self.fill.width).any()):
            raise FileFormatError(f"{self.name}: has rows that are none; build it anew")
        return counts, starts, lengths


def pack_all(corpus: DividedStream, rule: Rule) -> PackedRows:
    """Pack documents in memory: 12 bytes for each part, 8 for each row."""
    fill, parts = Fill(rule.width), []
    for lengths, rows in pack_blocks(corpus, rule):
        fill = fill.with_documents(lengths, rule)
        for packed in rows:
            fill = fill.with_rows(packed)
            parts.append(packed)
    columns = {
        name: np.concatenate([np.empty(0, np.int64), *(getattr(packed, name) for packed in parts)])
        for name in ("counts", "starts", "lengths", "lost_starts", "lost_lengths")
    }
    row_starts = np.append(0, np.cumsum(columns.pop("counts")))
    lengths = columns.pop("lengths").astype(np.int32)
    told = (row_starts.astype("<i8"), columns["starts"].astype("<i8"), lengths.astype("<i4"))
    checksums = tuple(zlib.crc32(column.data) for column in told)
    lost = columns["lost_starts"], columns["lost_lengths"]
    return PackedRows(row_starts, columns["starts"], lengths, *lost, fill, checksums)
