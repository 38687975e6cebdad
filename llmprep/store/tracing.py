"""Many runs of tokens of a store -> the files, documents and bytes that they came from, no token read more than once.

Where a document begins is known, so bytes are counted from there, or from where its part in a shard begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from llmprep.store.documents import Documents
from llmprep.store.provenance import BLOCK, Place, Stretch, Stretches, stretches_of_store
from llmprep.store.reading import TokenStore

Lengths = npt.NDArray[np.int64]


class Part(NamedTuple):
    """Tokens ``low`` to ``high`` of a run: those of one document, in one stretch."""

    document: int
    stretch: int
    low: int
    high: int


class Origin(NamedTuple):
    """From which token on bytes are counted, which byte that is, and whether bytes of the file are meant."""

    token: int
    byte: int
    exact: bool


def trace_runs(
    store: TokenStore, firsts: Sequence[int], count: int, table: Mapping[int, bytes] | None = None
) -> list[list[Place]]:
    """Return the places of each of several runs of ``count`` tokens, one for each document.

    ``firsts`` are the first tokens of the runs in the whole ``store``, which is opened without a split. ``table`` has
    the bytes of each id; without one, bytes are None. Separators are of no document. Of a text file, which is one
    document, bytes count from its begin, of records from the begin of the record. Raises `FileFormatError` for a store
    of an older version that does not tell where documents begin.
    """
    documents, stretches = store.documents(), stretches_of_store(store.manifest)
    runs = [list(_divide(documents, stretches, first, first + count)) for first in firsts]
    held = {number: documents[number] for number in sorted({part.document for parts in runs for part in parts})}
    pieces = {number: stretches[number] for number in {part.stretch for parts in runs for part in parts}}
    n_texts = stretches.pieces.text

    def origin_of(part: Part) -> Origin:
        return _origin(pieces[part.stretch], int(n_texts[part.stretch]), held[part.document].start)

    origins = {part: origin_of(part) for parts in runs for part in parts}
    n_bytes = {} if table is None else _count_bytes(store, origins, _lengths(table))

    def place(part: Part) -> Place:
        origin = origins[part]
        begin, end = (n_bytes.get((origin.token, edge)) for edge in (part.low, part.high))
        name, record = pieces[part.stretch].name, held[part.document].record
        return Place(name, record, begin, end, origin.exact and begin is not None)

    return [_join(map(place, parts)) for parts in runs]


def _join(places: Iterable[Place]) -> list[Place]:
    """Return places in order, those of one document that follow each other in a file as one."""
    joined: list[Place] = []
    for place in places:
        goes_on = place.name, place.document, place.exact, place.begin
        if joined and place.document and goes_on == _end_of(joined[-1]):
            joined[-1] = replace(joined[-1], end=place.end)
        else:
            joined.append(place)
    return joined


def _end_of(place: Place) -> tuple[str, int | None, bool, int | None]:
    return place.name, place.document, place.exact, place.end


def _divide(documents: Documents, stretches: Stretches, first: int, end: int) -> Iterator[Part]:
    """Yield the parts of a run that are of one document, and lie in one stretch."""
    number, last = documents.number_at(first), documents.number_at(end - 1)
    starts, ends = documents.spans(number, last + 1 - number)
    for document, (begun, ended) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True), number):
        low, high = max(first, begun), min(end, ended)
        while low < high:
            stretch = stretches.holding(low)
            upto = min(high, int(stretches.firsts[stretch + 1]))
            yield Part(document, stretch, low, upto)
            low = upto


def _origin(stretch: Stretch, n_text: int, start: int) -> Origin:
    """Return from where on bytes are counted in a stretch of ``n_text`` bytes of text, for a document and its start."""
    if not n_text:  # a part of a file of records
        return Origin(max(stretch.first, start), 0, exact=False)
    exact = n_text == stretch.end - stretch.begin
    return Origin(stretch.first + stretch.n_separators, stretch.begin if exact else stretch.text_begin, exact)


def _lengths(table: Mapping[int, bytes]) -> Lengths:
    lengths = np.zeros(max(table) + 1, np.int64)
    for token_id, token in table.items():
        lengths[token_id] = len(token)
    return lengths


def _count_bytes(store: TokenStore, origins: Mapping[Part, Origin], lengths: Lengths) -> dict[tuple[int, int], int]:
    """Return the byte at which each part begins and ends, by the token that its bytes are counted from, and that token.

    The tokens between are read once, a block at a time.
    """
    edges: dict[tuple[int, int], set[int]] = {}
    for part, origin in origins.items():
        edges.setdefault((origin.token, origin.byte), set()).update((part.low, part.high))
    counted: dict[tuple[int, int], int] = {}
    for (token, byte), wanted in edges.items():
        ordered, at, before = np.array(sorted(wanted)), token, byte
        counted[token, token] = byte
        while at < ordered[-1]:
            ids = store.read(at, min(BLOCK, int(ordered[-1]) - at))
            sums = before + np.cumsum(lengths.take(ids, mode="clip"))
            here = ordered[(ordered > at) & (ordered <= at + len(ids))]
            counted |= {(token, edge): int(sums[edge - at - 1]) for edge in here.tolist()}
            before, at = int(sums[-1]), at + len(ids)
    return counted
