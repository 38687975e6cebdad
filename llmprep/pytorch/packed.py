"""Rows of whole documents: the runs that a packing puts into a row, taken from the stream, and what fills the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from llmprep.choices import BestFit
from llmprep.errors import DataError, UsageError
from llmprep.formats.ids import Array
from llmprep.pytorch.documents import Marking
from llmprep.pytorch.mapped import changed_error
from llmprep.pytorch.rows import Places, StreamRows
from llmprep.store.packing import Packing, build_packing, open_packing
from llmprep.store.reading import TokenStore
from llmprep.windows.documents import DocumentRows, KnownStarts
from llmprep.windows.packed import Corpus, KnownSpans, PackedRows, pack_all
from llmprep.windows.packing import Rule

NO_EOT = 0
"""What fills rows where no token ends a text; like any other fill, it is no target and of no document."""


@dataclass(frozen=True, slots=True)
class PackedStream:
    """Packed rows of a stream; ``fill_id`` stands where a row's documents leave places."""

    ids: TokenStore | Array
    packed: PackedRows
    stated: str
    content: str
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
        width, rows = self.packed.fill.width, np.repeat(np.arange(len(places)), counts)
        n_real = np.bincount(rows, lengths, len(places)).astype(np.int64)
        within = np.cumsum(lengths) - lengths - np.repeat(np.cumsum(n_real) - n_real, counts)
        tokens = np.full((len(places), width), self.fill_id, np.int64)
        for row, at, start, length in zip(*(each.tolist() for each in (rows, within, starts, lengths)), strict=True):
            tokens[row, at : at + length] = self._read(start, length)
        return DocumentRows(tokens, within, counts, n_real)

    def _read(self, start: int, length: int) -> Array:
        if isinstance(self.ids, TokenStore):
            return self.ids.read(start, length)
        return self.ids[start : start + length]

    def peek(self, count: int, length: int) -> list[tuple[list[int], list[int]]]:
        """Return the first rows, each cut."""
        rows = self.document_rows(np.arange(min(count, len(self)))).tokens[:, : min(length, self.max_length) + 1]
        return [(row[:-1], row[1:]) for row in rows.tolist()]


def pack_rows(rows: StreamRows, chosen: BestFit, marking: Marking, name: str) -> PackedStream:
    """Return the packed rows of a stream that knows its documents.

    Those of a store are in its index, which is built if it is not there; others are packed in memory. Raises as
    `build_packing` and `open_packing` do, and `DataError` where there is no token.
    """
    if isinstance(rows.ids, TokenStore):
        source = TokenStore(rows.ids.folder, rows.ids.split, check=False)  # tokens are checked when they are taken
        if source.contents != rows.ids.contents:
            raise changed_error(rows.ids.folder)
        packing = Packing(source, rows.max_length, chosen, marking.separator_belongs)
        build_packing(packing)
        packed = open_packing(packing)
    else:
        if chosen.index_dir is not None:
            raise UsageError("index_dir: only the rows of a token store have an index; leave it out")
        starts = rows.documents.starts if isinstance(rows.documents, KnownStarts) else np.empty(0, np.int64)
        corpus = Corpus(KnownSpans(starts, len(rows.ids), rows.opens), len(rows.ids), bool(rows.opens))
        packed = pack_all(corpus, Rule(rows.max_length + 1, **chosen.content()))
    if not len(packed):
        raise DataError(f"{name}: holds no document to pack")
    return PackedStream(rows.ids, packed, rows.stated, rows.stated or rows.content_sha256())
