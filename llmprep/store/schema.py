"""Manifest, plan and receipts, as values and as JSON; `from_json` takes JSON in which `faults` finds nothing wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from llmprep.documents.names import Names, split_names
from llmprep.documents.source import LeftOut
from llmprep.errors import InputError, list_names
from llmprep.store.columns import Numbers, Pieces, Stamps, exact_sum, join_hex, join_numbers, split_hex, split_numbers
from llmprep.tokens.figures import left_out_of, state_left_out

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMAT, FORMAT_1 = "llmprep-store/2", "llmprep-store/1"
"""Stores of the format before are read too: in them ``content_sha256`` is a chain, not a tree, and rows are lists."""


# --- the manifest ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a store: its size and sha256, how many tokens and documents it has, and what it was made from.

    That is a piece each of ``n_pieces`` sources from the one numbered ``first`` on.
    """

    file: str
    tokens: int
    documents: int
    bytes: int
    sha256: str
    first: int
    n_pieces: int


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """What a finished store states of itself: `manifest.json`, written last. No manifest: not finished.

    ``names`` and ``sizes`` in bytes are of the sources, ``empty`` the numbers of those without a document, and
    ``n_empty`` counts records without text. ``fingerprint`` is the vocabulary's; stores of older versions, which are of
    encodings of tiktoken, state none. ``left_out`` are inputs that could not be read. ``pieces`` are those of all
    shards, in order. ``splits`` name parts of the stream as (first token, end).
    """

    llmprep_version: str
    encoding: str
    vocab_sha256: str
    n_vocab: int
    dtype: str
    options: dict[str, Any]
    plan_sha256: str
    n_tokens: int
    n_documents: int
    n_special: int
    n_boms: int
    content_sha256: str
    names: Names = field(repr=False)
    sizes: Numbers = field(repr=False)
    empty: Numbers = field(repr=False)
    shards: list[Shard] = field(repr=False)
    pieces: Pieces = field(repr=False)
    splits: dict[str, tuple[int, int]]
    n_empty: int = 0
    left_out: Sequence[LeftOut] = ()
    fingerprint: str | None = None
    format: str = FORMAT

    @property
    def n_bytes(self) -> int:
        """Bytes of all sources."""
        return exact_sum(self.sizes)

    def span(self, split: str | None) -> tuple[int, int]:
        """Return the first token of a part of the stream, and its end. Raises `InputError` for an unknown part."""
        if split is None:
            return 0, self.n_tokens
        if split not in self.splits:
            names = list_names([*self.splits])
            raise InputError(f"split {split}: this store has {names}; build it with --val-fraction")
        return self.splits[split]

    def to_json(self) -> dict[str, Any]:
        """Return what stands in the file, without its seal."""
        stated: dict[str, Any] = {
            "format": self.format,
            **dict.fromkeys(("llmprep_version", "encoding", "vocab_sha256", "fingerprint")),  # which come first
            **_values(self),
            "names": self.names.join(),
            "sizes": join_numbers(self.sizes),
            "empty": join_numbers(self.empty),
            "shards": [_values(shard) for shard in self.shards],
            "pieces": self.pieces.to_json(),
            "splits": {name: [*span] for name, span in self.splits.items()},
        }
        del stated["left_out"]
        if not self.n_empty:
            del stated["n_empty"]
        if self.fingerprint is None:
            del stated["fingerprint"]
        return stated | state_left_out(self.left_out)

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> Self:
        """Return the manifest that a file states."""
        shards = [Shard(**_known(Shard, shard)) for shard in stated["shards"]]
        return cls(
            **_known(cls, stated)
            | {
                "names": split_names(stated["names"]),
                "sizes": split_numbers(stated["sizes"]),
                "empty": split_numbers(stated["empty"]),
                "shards": shards,
                "pieces": Pieces.from_json(stated["pieces"], sources_of([(s.first, s.n_pieces) for s in shards])),
                "splits": {name: (first, end) for name, (first, end) in stated["splits"].items()},
                "left_out": left_out_of(stated),
            }
        )


def sources_of(spans: Sequence[tuple[int, int]]) -> Numbers:
    """Return the numbers of the sources of shards that each have so many, from a first one on."""
    return np.concatenate([np.arange(first, first + count) for first, count in spans] or [np.empty(0, np.int64)])


# --- the plan -------------------------------------------------------------------------------------


class Span(NamedTuple):
    """A part of the corpus's file number ``source``: the whole file where ``end`` is None.

    Else ``start`` and ``end`` are bytes, each of which stands for the first safe cut, or start of a line, at or after
    it: so neighbours agree without speaking to each other.
    """

    source: int
    start: int
    end: int | None


WHOLE = -1


@dataclass(frozen=True, slots=True, eq=False)
class ShardSpans:
    """The spans of each shard, in a row of int64 for each: (n shards, 5).

    A row is [first source, how many, start and end of the span of the first, end of that of the last if it is another].
    An end is `WHOLE` where the source is taken to its end, as every other source of a shard is, from its start on.
    """

    rows: Numbers

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, number: int) -> Iterator[Span]:
        """Yield the spans of a shard."""
        first, count, start, end, last_end = self.rows[number].tolist()
        for source in range(first, first + count):
            if source == first:
                yield Span(source, start, None if end == WHOLE else end)
            else:
                yield Span(source, 0, None if last_end == WHOLE or source < first + count - 1 else last_end)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShardSpans) and np.array_equal(self.rows, other.rows)

    __hash__ = None  # type: ignore[assignment] # as of a list


@dataclass(frozen=True, slots=True)
class Plan:
    """What every shard of a store is made from: `plan.json`, written first.

    ``sha256`` is of all that decides the bytes of the store. ``options`` are those of the text, with vocabulary and
    size of shards. ``names`` and ``stamps`` are of the sources as they were found; the stamps decide nothing.
    """

    sha256: str
    options: dict[str, Any]
    names: Names
    stamps: Stamps
    shards: ShardSpans
    n_vocab: int
    val_fraction: float | None
    left_out: Sequence[LeftOut] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what stands in the file, without its seal."""
        return {
            "plan_sha256": self.sha256,
            "options": self.options,
            "names": self.names.join(),
            "stamps": self.stamps.to_json(),
            "shards": self.shards.rows.tolist(),
            "n_vocab": self.n_vocab,
            "val_fraction": self.val_fraction,
            **state_left_out(self.left_out),
        }

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> Self:
        """Return the plan that a file states."""
        values: dict[str, Any] = {
            "sha256": stated["plan_sha256"],
            "options": {"format": FORMAT_1} | stated["options"],
            "names": split_names(stated["names"]),
            "stamps": Stamps.from_json(stated["stamps"]),
            "shards": ShardSpans(np.array(stated["shards"], np.int64)),
            "n_vocab": stated["n_vocab"],
            "val_fraction": stated["val_fraction"],
            "left_out": left_out_of(stated),
        }
        return cls(**values)


# --- the receipts ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of one shard, by which it is known whether it is whole, and whether it would be the same today.

    ``recipe`` is all but options and content that decided its bytes, as JSON has it. ``stamps``, ``hashes`` and
    ``pieces`` are one for each span of the plan's, in order: what the source was when the shard was made from it, the
    sha256 of the bytes that were read, (n, 32) uint8, and what they gave. The pieces' ``source`` is only their place in
    that order, since a plan of more or fewer files may number them otherwise. ``n_empty`` counts records without text.
    """

    plan_sha256: str
    file: str
    bytes: int
    sha256: str
    tokens: int
    documents: int
    special: int
    boms: int
    recipe: list[Any]
    stamps: Stamps
    hashes: npt.NDArray[np.uint8]
    pieces: Pieces
    n_empty: int = 0

    def without_content(self) -> Receipt:
        """Return what a manifest needs of it: there may be many."""
        return replace(self, recipe=[], stamps=Stamps.of([]), hashes=np.empty((0, 32), np.uint8))

    def to_json(self) -> dict[str, Any]:
        """Return what stands in the file, without its seal."""
        stated = _values(self) | {
            "stamps": self.stamps.to_json(),
            "hashes": join_hex(self.hashes),
            "pieces": self.pieces.to_json(),
        }
        n_empty = stated.pop("n_empty")
        return stated | ({"empty": n_empty} if n_empty else {})

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> Receipt | None:
        """Return the receipt that a file states, None if its columns are none, or not of the same length."""
        stamps, hashes = Stamps.from_json(stated["stamps"]), split_hex(stated["hashes"], "u1")
        if stamps is None or hashes is None:
            return None
        pieces = Pieces.from_json(stated["pieces"], np.arange(len(stamps)))
        if pieces is None or len(hashes) != 32 * len(stamps):
            return None
        columns = {"stamps": stamps, "hashes": hashes.reshape(-1, 32), "pieces": pieces}
        return cls(**_known(cls, stated) | columns | {"n_empty": stated.get("empty", 0)})


# --- helpers and names ----------------------------------------------------------------------------


def _values(instance: DataclassInstance) -> dict[str, Any]:
    """Return a dataclass's values by name, as they are."""
    return {field.name: getattr(instance, field.name) for field in fields(instance)}


def _known(kind: type[DataclassInstance], stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stated under the names of a dataclass's fields."""
    return {field.name: stated[field.name] for field in fields(kind) if field.name in stated}


def shard_name(number: int) -> str:
    """File name of a shard.

    >>> shard_name(7)
    'tokens-00007.pt'
    """
    return f"tokens-{number:05d}.pt"
