"""Rows of whole documents: the runs that a packing puts into a row, taken from the stream, and what fills the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from llmprep.choices import BestFit
from llmprep.errors import DataError, UsageError
from llmprep.formats.ids import Array
from llmprep.pytorch.documents import Marking
from llmprep.pytorch.mapped import changed_error
from llmprep.pytorch.rows import Places, StreamRows
from llmprep.pytorch.starts import NONE, StoreStarts
from llmprep.store.packing import Packing, build_packing, open_packing, shards_sha256
from llmprep.store.reading import TokenStore
from llmprep.windows.documents import DocumentRows, KnownStarts
from llmprep.windows.packed import DividedStream, KnownSpans, PackedRows, pack_all
from llmprep.windows.packing import Rule

NO_EOT = 0
"""What fills rows where no token ends a text; like any other fill, it is no target and of no document."""


@dataclass(frozen=True, slots=True)
class PackedStream:
    """Packed rows of a stream; ``fill_id`` stands where a row's documents leave places.

    ``begins`` are the first tokens of a store's shards.
    """

    ids: TokenStore | Array
    packed: PackedRows
    stated: str
    content: str
    begins: Places = field(default_factory=lambda: NONE)
    fill_id: int = NO_EOT

    @property
    def first(self) -> int:
        """The first token of a split, in its store."""
        return self.ids.first if isinstance(self.ids, TokenStore) else 0

    @property
    def max_length(self) -> int:
        """Tokens of an input."""
        return self.packed.fill.width - 1

    @property
    def stride(self) -> None:
        """Rows of documents have none."""
        return None

    @property
    def n_tokens(self) -> int:
        """Tokens of the stream."""
        return len(self.ids)

    def content_sha256(self) -> str:
        """Return the hash of the stream."""
        return self.content

    def __len__(self) -> int:
        return len(self.packed)

    def gather(self, places: Places) -> NoReturn:  # noqa: ARG002 - as others have it
        """Refuse: inputs and targets alone do not tell what only fills a row."""
        raise UsageError("packing: packed rows are dicts; give documents=True")

    def document_rows(self, places: Places) -> DocumentRows:
        """Return the rows at these places, with the documents in them."""
        counts, starts, lengths = self.packed.take(places)
        width, ends = self.packed.fill.width, lengths.cumsum()
        n_real = np.bincount(np.arange(len(places)).repeat(counts), lengths, len(places)).astype(np.int64)
        tokens = np.full((len(places), width), self.fill_id, np.int64)
        wanted = np.arange(lengths.sum()) + (starts - ends + lengths).repeat(lengths)
        tokens[np.arange(width) < n_real[:, None]] = self._gather(wanted)
        return DocumentRows(tokens, ends - lengths - (n_real.cumsum() - n_real).repeat(counts), counts, n_real)

    def _gather(self, places: Places) -> Array:
        """Return the tokens at places of the stream, those of each shard at once."""
        if not isinstance(self.ids, TokenStore):
            return self.ids[places]
        places = places + self.ids.first
        shards = self.begins.searchsorted(places, "right") - 1
        order, found = shards.argsort(kind="stable"), np.empty(len(places), np.int64)
        for run in np.split(order, np.flatnonzero(np.diff(shards[order])) + 1):
            if len(run):
                number = int(shards[run[0]])
                found[run] = self.ids.shard(number)[places[run] - self.begins[number]]
        return found

    def peek(self, count: int, length: int) -> list[tuple[list[int], list[int]]]:
        """Return the first rows, each cut."""
        rows, width = [], min(length, self.max_length) + 1
        for number in range(len(self))[:count]:
            _, starts, lengths = self.packed.take(np.array([number]))
            row: list[int] = []
            for start, n in zip(starts.tolist(), lengths.tolist(), strict=True):
                n_left = min(n, width - len(row))
                held = self.ids.peek(start, n_left) if isinstance(self.ids, TokenStore) else self.ids[start:][:n_left]
                row += held.tolist()
            row += [self.fill_id] * (width - len(row))
            rows.append((row[:-1], row[1:]))
        return rows


def pack_rows(rows: StreamRows, chosen: BestFit, marking: Marking, name: str) -> PackedStream:
    """Return the packed rows of a stream that knows its documents.

    Those of a store are in its index, which is built if it is not there; others are packed in memory. Raises as
    `build_packing` and `open_packing` do, and `DataError` where there is no token.
    """
    if isinstance(rows.ids, TokenStore):
        source = TokenStore(rows.ids.folder, rows.ids.split, check=False)  # tokens are checked when they are taken
        if source.contents != rows.ids.contents or shards_sha256(source) != shards_sha256(rows.ids):
            raise changed_error(rows.ids.folder)
        packing = Packing(source, rows.max_length, chosen, marking.separator_belongs)
        build_packing(packing)
        packed = open_packing(packing)
    else:
        if chosen.index_dir is not None:
            raise UsageError("index_dir: only the rows of a token store have an index; leave it out")
        starts = rows.documents.starts if isinstance(rows.documents, KnownStarts) else NONE
        corpus = DividedStream(KnownSpans(starts, len(rows.ids), rows.opens), len(rows.ids), bool(rows.opens))
        packed = pack_all(corpus, Rule(rows.max_length + 1, **chosen.content()))
    if not len(packed):
        raise DataError(f"{name}: holds no document to pack")
    begins = rows.documents.begins if isinstance(rows.documents, StoreStarts) else NONE
    return PackedStream(rows.ids, packed, rows.stated, rows.stated or rows.content_sha256(), begins)
