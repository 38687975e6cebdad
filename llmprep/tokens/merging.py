"""Tokens -> the pieces of text that they are parts of, and how the bytes of a piece were merged, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from llmprep.vocabulary.ranks import Ranks
from llmprep.vocabulary.vocabulary import Vocabulary

MAX_BYTES = 128
"""The longest piece whose steps are worked out: each step looks at every pair that is left."""

_PARTS = "".join(map(chr, range(0xDC80, 0xDD00)))
"""What stands for a byte that is a part of a character."""

Step: TypeAlias = tuple[int, int]
"""A place in the parts of a piece, and the id that the two parts from there on become."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of tokens that the vocabulary's pattern keeps together, and that no merge crosses.

    It is tokens ``first`` to ``first + n_tokens - 1``, and ``data`` are its bytes. ``steps`` lead from single bytes to
    them, in order; of a piece of more than `MAX_BYTES` there are none, and ``data`` is left out.
    """

    first: int
    n_tokens: int
    data: bytes
    steps: tuple[Step, ...]


def merge_steps(data: bytes, ranks: Ranks) -> list[Step]:
    """Return the merges of a piece: each time, of the pairs whose join has a rank, the lowest, the first of equals.

    >>> merge_steps(b"abc", {b"a": 0, b"b": 1, b"c": 2, b"bc": 3, b"abc": 4})
    [(1, 3), (0, 4)]
    """
    parts = [bytes([byte]) for byte in data]
    steps: list[Step] = []
    while True:
        joins = (parts[place] + parts[place + 1] for place in range(len(parts) - 1))
        found = min(((ranks[join], place) for place, join in enumerate(joins) if join in ranks), default=None)
        if found is None:
            return steps
        rank, place = found
        steps.append((place, rank))
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


def merged_ids(data: bytes, steps: Sequence[Step], ranks: Ranks) -> list[int]:
    """Return the ids that a piece becomes. tiktoken looks the whole piece up first, and then needs no step."""
    if data in ranks:
        return [ranks[data]]
    ids = [ranks[bytes([byte])] for byte in data]
    for place, rank in steps:
        ids[place : place + 2] = [rank]
    return ids


def find_pieces(ids: Sequence[int], vocabulary: Vocabulary, *, complete: bool) -> Iterator[Piece]:
    """Yield the pieces of a stream's first ids, in order; without those that the pattern and merges do not explain.

    These are the special tokens, what was not made from text, and, unless the stream is ``complete``, its last
    pieces, which may go on after the ids. Nothing is explained where texts are not cut by one pattern that is known:
    of another, two libraries may make different things.
    """
    import regex

    if vocabulary.pattern is None or vocabulary.known is None or not vocabulary.ranks:
        return
    sets = regex.VERSION1 if "&&" in vocabulary.pattern else regex.VERSION0  # of characters, met with each other
    pattern = regex.compile(vocabulary.pattern, sets)
    tokens = {rank: token for token, rank in vocabulary.ranks.items()}
    begin = 0
    for end in range(len(ids) + 1):
        if end == len(ids) or ids[end] not in tokens:
            run = [tokens[token_id] for token_id in ids[begin:end]]
            for piece in _cut(run, begin, pattern, vocabulary.ranks, settled=complete or end < len(ids)):
                found = merged_ids(piece.data, piece.steps, vocabulary.ranks)
                if not piece.data or [*ids[piece.first : piece.first + piece.n_tokens]] == found:
                    yield piece
            begin = end + 1


def _cut(tokens: Sequence[bytes], first: int, pattern: Any, ranks: Ranks, *, settled: bool) -> Iterator[Piece]:
    """Cut a run of tokens without a special one into pieces, up to a token that would be in two of them.

    Of a run that is not ``settled``, which may go on, the last two are left out, as a pattern may look on by a
    word such as ``'ll``, and a character that is cut.
    """
    text = b"".join(tokens).decode("utf-8", "surrogateescape")
    spans = list(pattern.finditer(text if settled else text.rstrip(_PARTS)))
    number = 0
    for found in spans if settled else spans[:-2]:
        data, begin, n_bytes = found.group().encode("utf-8", "surrogateescape"), number, 0
        while n_bytes < len(data):
            n_bytes += len(tokens[number])
            number += 1
        if n_bytes > len(data):
            return
        short = data if n_bytes <= MAX_BYTES else b""
        yield Piece(first + begin, number - begin, short, tuple(merge_steps(short, ranks)))
