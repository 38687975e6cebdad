"""Ids -> text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from llmprep.errors import DataError, EmptyError
from llmprep.vocabulary.vocabulary import Vocabulary


def text_of(ids: Iterable[int], table: Mapping[int, bytes]) -> str:
    """Return the text of ids, with U+FFFD for a part of a character, as tiktoken's ``decode``.

    So it has for an id that the vocabulary leaves unused, for which tiktoken raises KeyError.
    """
    return b"".join(table.get(i, b"\xff") for i in ids).decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Decoder:
    """Ids -> their text, by the bytes of each. ``name`` is the vocabulary's, ``n_vocab`` its largest id plus one.

    An id that the vocabulary leaves unused, for which tiktoken raises KeyError, is a byte that is no text.
    """

    table: Mapping[int, bytes] = field(repr=False)
    name: str
    n_vocab: int

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Decoder:
        """Return the decoder of a vocabulary."""
        return cls(vocabulary.token_table(), vocabulary.name, vocabulary.n_vocab)

    def data(self, ids: Iterable[int]) -> bytes:
        """Return the bytes of ids, exactly."""
        given = list(ids)
        try:
            return b"".join(map(self.table.__getitem__, given))
        except KeyError:
            return b"".join(self.table.get(i, b"\xff") for i in given)

    def text(self, ids: Iterable[int]) -> str:
        """Return the text of ids, as `text_of` does."""
        return text_of(ids, self.table)

    def tokens(self, ids: Iterable[int]) -> list[bytes]:
        """Return the bytes of each id."""
        return [self.data([i]) for i in ids]

    def __call__(self, ids: Iterable[int]) -> str:
        r"""Return the text of ids to be looked at: of a character's part it has the bytes, as ``\xe4\xb8``."""
        return self.data(ids).decode("utf-8", "backslashreplace")

    def blocks(self, ids: Iterable[Sequence[int]], name: str, first: int = 0) -> Iterator[bytes]:
        """Yield the bytes of ids that come in blocks.

        Raises `DataError` that names the first id which is not in the vocabulary, and its place; the first has
        ``first``.
        """
        for block in ids:
            wrong = self.first_unknown(block)
            if wrong is not None:
                raise DataError(f"{name}: token {first + wrong}: id {block[wrong]} is not in {self.words}")
            yield self.data(block)
            first += len(block)

    def first_unknown(self, ids: Sequence[int]) -> int | None:
        """Return the place of the first id that is not in the vocabulary, if there is one."""
        if self.table.keys() >= set(ids):
            return None
        return next(place for place, i in enumerate(ids) if i not in self.table)

    @property
    def words(self) -> str:
        """The vocabulary and its range, for a message about an id that is not in it."""
        return f"{self.name}, whose ids go from 0 to {self.n_vocab - 1}"


def take_ids(blocks: Iterable[Sequence[int]], span: Span, name: str, seen: int = 0) -> Iterator[Sequence[int]]:
    """Yield the ids of a span, of blocks whose first id is number ``seen``.

    Nothing more is read than that takes. Raises `DataError` if there are fewer, `EmptyError` if there is none at all.
    """
    for block in blocks:
        part = block[max(0, span.start - seen) : None if span.end is None else max(0, span.end - seen)]
        seen += len(block)
        if len(part):
            yield part
        if span.end is not None and seen >= span.end:
            return
    span.require(seen, name)


@dataclass(frozen=True, slots=True)
class Span:
    """Some ids of many: ``count`` from the one numbered ``start`` on, or all of them."""

    start: int = 0
    count: int | None = None

    @property
    def end(self) -> int | None:
        """The number of the first id after it, if it has an end."""
        return None if self.count is None else self.start + self.count

    def require(self, n_ids: int, name: str) -> None:
        """Raise `DataError` if so many ids do not hold the span, `EmptyError` if there is none at all."""
        if not n_ids:
            raise EmptyError(f"{name}: empty: 0 tokens")
        if n_ids < (self.start + 1 if self.end is None else self.end):
            wanted = f"from {self.start} on" if self.end is None else f"{self.start} to {self.end - 1}"
            raise DataError(
                f"{name}: tokens {wanted} were asked for, and its last is {n_ids - 1}; lower --start or --count"
            )
