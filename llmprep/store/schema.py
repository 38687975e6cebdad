"""What the files of a token store state, as values and as JSON: its manifest, its plan, and a shard's receipt.

`from_json` takes JSON in which `faults` has found nothing wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

from llmprep.errors import InputError, list_names

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMAT, FORMAT_1 = "llmprep-store/2", "llmprep-store/1"
"""Stores of the format before are read too: in them ``content_sha256`` is a chain, not a tree."""
Gaps: TypeAlias = Sequence[Sequence[int]] | None
"""Runs [number, count] of the numbers, from 1 on, of documents without text; None where they are not known."""


# --- the manifest ---------------------------------------------------------------------------------


class Piece(NamedTuple):
    """Bytes ``begin`` to ``end`` of a source, as a shard's tokens were made from them, and what they gave.

    ``tokens`` are without separators, and ``documents`` are counted where they begin. ``text`` is how many bytes were
    encoded, with newlines as chosen and without a byte order mark, 0 for records. There may be as many pieces as
    files: a named tuple is made in a third of the time of a dataclass.
    """

    source: int
    begin: int
    end: int
    tokens: int
    documents: int
    text: int
    gaps: Gaps = ()

    def to_json(self) -> list[Any]:
        """Return a list, which ends before ``gaps`` if there are none."""
        return [*self] if self.gaps is None or self.gaps else [*self[:-1]]


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a store: its size and sha256, how many tokens and documents it has, and what it was made from."""

    file: str
    tokens: int
    documents: int
    bytes: int
    sha256: str
    pieces: list[Piece]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a finished store states of itself: `manifest.json`, written last. No manifest: not finished.

    ``sources`` are (name, bytes), ``empty`` the numbers of those without a document, and ``n_empty`` counts records
    without text. ``splits`` name parts of the stream as (first token, end).
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
    sources: list[tuple[str, int]]
    empty: list[int]
    shards: list[Shard]
    splits: dict[str, tuple[int, int]]
    n_empty: int = 0
    format: str = FORMAT

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
        shards = [{**_values(shard), "pieces": [piece.to_json() for piece in shard.pieces]} for shard in self.shards]
        stated: dict[str, Any] = {
            "format": self.format,
            **_values(self),
            "sources": [[*source] for source in self.sources],
            "shards": shards,
            "splits": {name: [*span] for name, span in self.splits.items()},
        }
        if not self.n_empty:
            del stated["n_empty"]
        return stated

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> Self:
        """Return the manifest that a file states."""
        return cls(
            **_known(cls, stated)
            | {
                "sources": [(name, size) for name, size in stated["sources"]],
                "shards": [
                    Shard(**_known(Shard, shard) | {"pieces": [Piece(*piece) for piece in shard["pieces"]]})
                    for shard in stated["shards"]
                ],
                "splits": {name: (first, end) for name, (first, end) in stated["splits"].items()},
            }
        )


# --- the plan -------------------------------------------------------------------------------------


class Stamp(NamedTuple):
    """What a source is known by without reading it: two of one size and sample may still differ."""

    size: int
    mtime_ns: int
    sample: str


class Span(NamedTuple):
    """A part of the corpus's file number ``source``: the whole file where ``end`` is None.

    Else ``start`` and ``end`` are bytes, each of which stands for the first safe cut, or start of a line, at or after
    it: so neighbours agree without speaking to each other.
    """

    source: int
    start: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What every shard of a store is made from: `plan.json`, written first.

    ``sha256`` is of all that decides the bytes of the store. ``options`` are those of the text, with vocabulary and
    size of shards. ``names`` and ``stamps`` are of the sources as they were found; the stamps decide nothing.
    """

    sha256: str
    options: dict[str, Any]
    names: list[str]
    stamps: list[Stamp]
    shards: list[list[Span]]
    n_vocab: int
    val_fraction: float | None

    def to_json(self) -> dict[str, Any]:
        """Return what stands in the file, without its seal."""
        return {
            "plan_sha256": self.sha256,
            "options": self.options,
            "corpus": [[name, *stamp] for name, stamp in zip(self.names, self.stamps, strict=True)],
            "shards": self.shards,
            "n_vocab": self.n_vocab,
            "val_fraction": self.val_fraction,
        }

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> Self:
        """Return the plan that a file states."""
        return cls(
            sha256=stated["plan_sha256"],
            options={"format": FORMAT_1} | stated["options"],
            names=[name for name, *_ in stated["corpus"]],
            stamps=[Stamp(*stamp) for _, *stamp in stated["corpus"]],
            shards=[[Span(*span) for span in spans] for spans in stated["shards"]],
            n_vocab=stated["n_vocab"],
            val_fraction=stated["val_fraction"],
        )


# --- the receipts ---------------------------------------------------------------------------------


class Content(NamedTuple):
    """What a source, or a span of it, was when a shard was made from it; ``sha256`` is of the bytes that were read."""

    stamp: Stamp
    sha256: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of one shard, by which it is known whether it is whole, and whether it would be the same today.

    ``recipe`` is all but options and content that decided its bytes, as JSON has it. ``content`` and ``pieces`` are one
    for each span of the plan's, in order; the pieces' ``source`` is only their place in that order, since a plan of
    more or fewer files may number them otherwise. ``n_empty`` counts records without text.
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
    content: list[Content]
    pieces: list[Piece]
    n_empty: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return what stands in the file, without its seal."""
        stated = _values(self) | {
            "content": [[*stamp, sha256] for stamp, sha256 in self.content],
            "pieces": [piece.to_json()[1:] for piece in self.pieces],
        }
        n_empty = stated.pop("n_empty")
        return stated | ({"empty": n_empty} if n_empty else {})

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> Self:
        """Return the receipt that a file states."""
        return cls(
            **_known(cls, stated)
            | {
                "content": [Content(Stamp(*stamp), sha256) for *stamp, sha256 in stated["content"]],
                "pieces": [Piece(number, *figures) for number, figures in enumerate(stated["pieces"])],
                "n_empty": stated.get("empty", 0),
            }
        )


# --- helpers and names ----------------------------------------------------------------------------


def _values(instance: DataclassInstance) -> dict[str, Any]:
    """Return a dataclass's values by name, as they are."""
    return {field.name: getattr(instance, field.name) for field in fields(instance)}


def _known(kind: type[DataclassInstance], stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stated under the names of a dataclass's fields."""
    return {field.name: stated[field.name] for field in fields(kind) if field.name in stated}


def count_separators(n_documents: int, options: Mapping[str, Any], *, begun: bool) -> int:
    """Return how many separators stand before documents that begin in a piece; the corpus's first has none."""
    return max(0, n_documents - (not begun)) if options.get("separator") == "eot" else 0


def shard_name(number: int) -> str:
    """File name of a shard.

    >>> shard_name(7)
    'tokens-00007.pt'
    """
    return f"tokens-{number:05d}.pt"


def store_dtype(n_vocab: int) -> str:
    """Return the smallest dtype that holds every id: only readers that know read a store."""
    return "uint16" if n_vocab <= 65_536 else "int32"
