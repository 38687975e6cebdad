"""A token's place in the stream -> the file, the document and the bytes it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from llmprep.documents.names import Names
from llmprep.store.columns import Gaps, Numbers, Piece, Pieces
from llmprep.store.schema import Manifest

Read: TypeAlias = Callable[[int, int], npt.NDArray[Any]]
"""Returns ``count`` ids from a position of the stream on."""
BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of the stream that was made from one piece of a source, the separators before its documents included.

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
    gaps: Gaps = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run of tokens came from. ``document`` counts from 1 within the file: the line of JSON Lines, the row.

    ``begin`` to ``end`` are bytes of the file; ``exact`` is false where newlines were normalised or the file holds
    records or is compressed: they then count bytes of its text, in a file of several documents from the start of that
    in which the run begins. Where documents cannot be told apart, as without separators, ``document`` is None, and
    where the bytes of ids are not known, ``begin`` and ``end`` are.
    """

    name: str
    document: int | None
    begin: int | None
    end: int | None
    exact: bool


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """The stretches of a stream, in order, each made when it is asked for.

    ``firsts`` are the places of their first tokens, ``documents`` and ``texts`` the documents and bytes of text before
    each, and all of them: (n + 1,).
    """

    pieces: Pieces
    names: Names
    options: Mapping[str, Any]
    firsts: Numbers
    documents: Numbers
    texts: Numbers

    @classmethod
    def of(cls, pieces: Pieces, names: Names, options: Mapping[str, Any], firsts: Numbers) -> Self:
        """Return the stretches that were made from pieces, and begin at these places."""
        return cls(pieces, names, options, firsts, _sums(pieces.documents), _sums(pieces.text))

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, number: int) -> Stretch:
        source, begin, end, tokens, documents, _, gaps = self.pieces[number]
        first, n_ids = int(self.firsts[number]), int(self.firsts[number + 1] - self.firsts[number])
        of_source = int(np.searchsorted(self.pieces.source, source))
        before = int(self.documents[number] - self.documents[of_source])
        for earlier in self.pieces.gaps.keys() & range(of_source, number):
            runs = self.pieces.gaps[earlier]
            before = -1 if before < 0 or runs is None else before + sum(count for _, count in runs)
        text_begin, name = int(self.texts[number] - self.texts[of_source]), self.names[source]
        return Stretch(name, first, n_ids, begin, end, text_begin, n_ids - tokens, documents, before, gaps)

    def within(self, first: int, end: int) -> list[Stretch]:
        """Return the stretches in which tokens from ``first`` to ``end`` lie."""
        low = int(np.searchsorted(self.firsts[1:], first, "right"))
        high = int(np.searchsorted(self.firsts[:-1], end, "left"))
        return [self[number] for number in range(low, high) if self.firsts[number] < self.firsts[number + 1]]

    def holding(self, place: int) -> int:
        """Return the number of the stretch that holds a token, of the last for one after all."""
        return min(int(np.searchsorted(self.firsts[1:], place, "right")), len(self) - 1)

    def beginning(self, document: int) -> int:
        """Return the number of the stretch in which a document begins, by its number among all of the inputs'."""
        return int(np.searchsorted(self.documents[1:], document, "right"))


def stretches_of_store(manifest: Manifest) -> Stretches:
    """Return the stretches of a store."""
    return _lay_out(manifest.pieces, manifest.names, manifest.options)


def stretches_of_file(meta: Mapping[str, Any]) -> Stretches:
    """Return the stretches of a tokens or windows file: one for each of its sources."""
    pieces = [
        Piece(number, 0, source["bytes"], source["tokens"], source["documents"], 0, source.get("gaps", ()))
        for number, source in enumerate(meta["sources"])
    ]
    return _lay_out(Pieces.of(pieces), Names.of(source["name"] for source in meta["sources"]), meta["options"])


def _lay_out(pieces: Pieces, names: Names, options: Mapping[str, Any]) -> Stretches:
    firsts = np.zeros(len(pieces) + 1, np.int64)
    n_ids = firsts[1:]
    n_ids += pieces.tokens
    if options.get("separator") == "eot":
        n_ids += pieces.documents
        begun = np.flatnonzero(pieces.documents)[:1]
        n_ids[begun] -= 1  # no separator stands before the first document
    return Stretches.of(pieces, names, options, np.cumsum(firsts, out=firsts))


def _sums(numbers: Numbers) -> Numbers:
    """Return the sum of the numbers before each, and that of all: (n + 1,)."""
    sums = np.zeros(len(numbers) + 1, np.int64)
    np.cumsum(numbers, out=sums[1:])
    return sums


def find_places(
    read: Read, stretches: Iterable[Stretch], first: int, count: int, table: Mapping[int, bytes], eot_id: int
) -> list[Place]:
    """Return the places of ``count`` tokens from ``first`` on, one for each stretch they lie in.

    ``read`` returns ids of the stream, ``table`` has the bytes of each id.
    """
    lengths = np.zeros(max(table) + 1, np.int64)
    for token_id, token in table.items():
        lengths[token_id] = len(token)
    end = first + count
    return [
        _place(read, stretch, max(first, stretch.first), min(end, stretch.first + stretch.n_ids), lengths, eot_id)
        for stretch in stretches
        if stretch.n_ids and stretch.first < end and first < stretch.first + stretch.n_ids
    ]


def _place(read: Read, stretch: Stretch, first: int, end: int, lengths: npt.NDArray[np.int64], eot_id: int) -> Place:
    """Add up the bytes of the tokens before ``first`` and before ``end``, a block at a time; separators have none."""
    before = upto = total = n_eots = n_passed = document_begins = 0
    for at in range(stretch.first, stretch.first + stretch.n_ids, BLOCK):
        ids = read(at, min(BLOCK, stretch.first + stretch.n_ids - at))
        sizes = lengths.take(ids, mode="clip")
        eots = np.flatnonzero(ids == eot_id)
        seams = eots[: max(0, stretch.n_separators - n_eots)]
        sizes[seams] = 0
        passed = seams[seams <= first - at]
        if len(passed):
            document_begins = total + int(sizes[: passed[-1]].sum())
        before += int(sizes[: max(0, first - at)].sum())
        upto += int(sizes[: max(0, end - at)].sum())
        total += int(sizes.sum())
        n_passed += len(passed)
        n_eots += len(eots)
    several = stretch.n_documents > 1
    told_apart = not several or n_eots == stretch.n_separators == stretch.n_documents - (stretch.first == 0)
    exact = total == stretch.end - stretch.begin and not several
    origin = -stretch.begin if exact else document_begins if several and told_apart else -stretch.text_begin
    nth = n_passed + (stretch.n_separators < stretch.n_documents)
    return Place(
        name=stretch.name,
        document=number_in_source(stretch, nth) if told_apart else None,
        begin=before - origin,
        end=upto - origin,
        exact=exact,
    )


def number_in_source(stretch: Stretch, nth: int) -> int | None:
    """Return the number in its source of the ``nth`` document with text (0: one that begins before the stretch)."""
    if stretch.gaps is None or stretch.documents_before < 0:
        return None
    for first, count in stretch.gaps if nth else ():
        nth += count if nth >= first else 0
    return max(1, stretch.documents_before + nth)
