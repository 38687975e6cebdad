"""Many sources in order, each made when it is asked for: a million of them must not be a million objects."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Self, overload

from llmprep.choices import TEXT_FIELD
from llmprep.documents.names import Names
from llmprep.documents.source import Format, LeftOut, Source

FORMATS: tuple[Format, ...] = ("text", "jsonl", "parquet")
UNKNOWN = -1


@dataclass(slots=True, eq=False)
class Sources(Sequence[Source]):
    """Sources for which no pipe was opened, and that share a field of text; in 33 bytes each beside path and name.

    ``spans`` are of some, by their number. A size is `UNKNOWN` of what does not tell it. ``left_out`` are those that
    were found among them and cannot be read.
    """

    paths: Names = field(default_factory=Names)
    names: Names = field(default_factory=Names)
    sizes: array[int] = field(default_factory=lambda: array("q"))
    numbered_formats: array[int] = field(default_factory=lambda: array("b"))
    text_field: str = TEXT_FIELD
    spans: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    left_out: Sequence[LeftOut] = ()

    def append(self, source: Source) -> None:
        """Add one at the end."""
        self.paths.append(source.path)
        self.names.append(source.name)
        self.text_field = source.text_field
        self.sizes.append(UNKNOWN if source.size is None else source.size)
        self.numbered_formats.append(FORMATS.index(source.format))

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, number: int) -> Source: ...
    @overload
    def __getitem__(self, number: slice) -> list[Source]: ...
    def __getitem__(self, number: int | slice) -> Source | list[Source]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        size = self.sizes[number]
        return Source(
            self.paths[number],
            self.names[number],
            None if size == UNKNOWN else size,
            FORMATS[self.numbered_formats[number]],
            self.text_field,
            self.spans.get(number),
        )

    def __iter__(self) -> Iterator[Source]:
        return map(self.__getitem__, range(len(self)))

    @property
    def n_bytes(self) -> int:
        """Bytes of all that tell their size, or of their spans."""
        total = sum(self.sizes) + self.sizes.count(UNKNOWN)
        return total + sum(end - start - self.sizes[number] for number, (start, end) in self.spans.items())

    def formats(self) -> list[tuple[Format, int]]:
        """Return the formats in order, each with how many that follow each other have it."""
        return [(FORMATS[number], sum(1 for _ in run)) for number, run in groupby(self.numbered_formats)]

    def part(self, first: int, end: int, spans: Mapping[int, tuple[int, int]] | None = None) -> Self:
        """Return those from one to another; ``spans`` are of some, by their number in the part."""
        return type(self)(
            self.paths.part(first, end),
            self.names.part(first, end),
            self.sizes[first:end],
            self.numbered_formats[first:end],
            self.text_field,
            spans or {},
        )

    def without(self, bad: Mapping[int, str]) -> Self:
        """Return the sources without some, which are left out, by their number, each for a reason."""
        left_out = [LeftOut(self.names[number], bad[number], self.paths[number]) for number in sorted(bad)]
        kept = [number for number in range(len(self)) if number not in bad]
        return type(self)(
            Names.of(self.paths[number] for number in kept),
            Names.of(self.names[number] for number in kept),
            array("q", [self.sizes[number] for number in kept]),
            array("b", [self.numbered_formats[number] for number in kept]),
            self.text_field,
            left_out=[*self.left_out, *left_out],
        )

    def renamed(self, names: Iterable[str]) -> Self:
        """Return the same sources under other names."""
        return replace(self, names=Names.of(names))
