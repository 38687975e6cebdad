"""A token's place in the stream -> the file, the document and the bytes it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from llmprep.store.manifest import Manifest
from llmprep.store.schema import count_separators

Read = Callable[[int, int], npt.NDArray[Any]]
"""Returns ``count`` ids from a position of the stream on."""
BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of a source's tokens in the stream, the separators in front of its documents included.

    ``first`` is its first token's place in the stream, ``n_ids`` how many there are. ``begin`` and ``end`` are the
    bytes of the source that it is made of, ``text_begin`` where it begins in the source's text, and
    ``documents_before`` how many of the source's documents begin before it, those without text included, -1 if
    that is not known. ``gaps`` are runs [number, count] of the documents in it that have no text, None if not known.
    """

    name: str
    first: int
    n_ids: int
    begin: int
    end: int
    text_begin: int
    n_separators: int
    n_documents: int
    documents_before: int
    gaps: list[list[int]] | None = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run of tokens came from. ``document`` counts from 1 within the file: the line of JSON Lines, the row.

    ``begin`` to ``end`` are bytes of the file; ``exact`` is false where newlines were normalised or the file holds
    records or is compressed: they then count bytes of its text, in a file of several documents from the start of that
    in which the run begins. Where documents cannot be told apart, as without separators, ``document`` is None.
    """

    name: str
    document: int | None
    begin: int
    end: int
    exact: bool


def store_pieces(manifest: Manifest) -> list[Piece]:
    """Return the pieces of a store, in order of the stream."""
    sources = manifest.values["sources"]
    entries = [_Entry(sources[n][0], n, *rest) for shard in manifest.shards for n, *rest in shard["pieces"]]
    return _lay_out(entries, manifest.values["options"])


def file_pieces(meta: Mapping[str, Any]) -> list[Piece]:
    """Return the pieces of a tokens or windows file: one for each of its sources."""
    entries = [
        _Entry(s["name"], n, 0, s["bytes"], s["tokens"], s["documents"], 0, s.get("gaps", []))
        for n, s in enumerate(meta["sources"])
    ]
    return _lay_out(entries, meta["options"])


class _Entry(NamedTuple):
    name: str
    number: int
    begin: int
    end: int
    tokens: int
    documents: int
    text: int
    gaps: list[list[int]] | None = []  # noqa: RUF012 - never written to


def _lay_out(entries: Sequence[_Entry], options: Mapping[str, Any]) -> list[Piece]:
    pieces: list[Piece] = []
    first, begun = 0, False
    source, text_begin, before = -1, 0, 0
    for name, number, begin, end, tokens, documents, text, gaps in entries:
        if number != source:
            source, text_begin, before = number, 0, 0
        separators = count_separators(documents, options, begun=begun)
        begun = begun or documents > 0
        pieces.append(
            Piece(name, first, tokens + separators, begin, end, text_begin, separators, documents, before, gaps)
        )
        first += tokens + separators
        text_begin += text
        before = -1 if gaps is None or before < 0 else before + documents + sum(count for _, count in gaps)
    return pieces


def _number(piece: Piece, nth: int) -> int | None:
    """Return the number in its source of a piece's ``nth`` document that has text (0: one that begins before it)."""
    if piece.gaps is None or piece.documents_before < 0:
        return None
    for first, count in piece.gaps if nth else ():
        nth += count if nth >= first else 0
    return max(1, piece.documents_before + nth)


def find_places(
    read: Read, pieces: Sequence[Piece], first: int, count: int, table: Mapping[int, bytes], eot_id: int
) -> list[Place]:
    """Return the places of tokens ``first`` to ``first + count``, one for each piece they lie in."""
    lengths = np.zeros(max(table) + 1, np.int64)
    for token_id, token in table.items():
        lengths[token_id] = len(token)
    behind = first + count
    touched = [p for p in pieces if p.n_ids and p.first < behind and first < p.first + p.n_ids]
    return [
        _place(read, piece, max(first, piece.first), min(behind, piece.first + piece.n_ids), lengths, eot_id)
        for piece in touched
    ]


def _place(read: Read, piece: Piece, first: int, behind: int, lengths: npt.NDArray[np.int64], eot_id: int) -> Place:
    """Add up the bytes of the tokens before and inside, a block at a time; separators have none."""
    begin = end = total = n_eots = skipped = start = 0
    several = piece.n_documents > 1
    for at in range(piece.first, piece.first + piece.n_ids, BLOCK):
        ids = read(at, min(BLOCK, piece.first + piece.n_ids - at))
        sizes = lengths.take(ids, mode="clip")
        eots = np.flatnonzero(ids == eot_id)
        seams = eots[: max(0, piece.n_separators - n_eots)]
        sizes[seams] = 0
        passed = seams[seams <= first - at]
        if len(passed):
            start = total + int(sizes[: passed[-1]].sum())
        begin += int(sizes[: max(0, first - at)].sum())
        end += int(sizes[: max(0, behind - at)].sum())
        total += int(sizes.sum())
        skipped += len(passed)
        n_eots += len(eots)
    told_apart = not several or n_eots == piece.n_separators == piece.n_documents - (piece.first == 0)
    exact = total == piece.end - piece.begin and not several
    origin = -piece.begin if exact else start if several and told_apart else -piece.text_begin
    return Place(
        name=piece.name,
        document=_number(piece, skipped + (piece.n_separators < piece.n_documents)) if told_apart else None,
        begin=begin - origin,
        end=end - origin,
        exact=exact,
    )
