"""Many short strings in one, as there may be a million file names."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

SEPARATOR = "//"
"""Stands between joined names: no name of a file has an empty part."""
CHUNK = 4096


@dataclass(slots=True)
class Names:
    """Strings in order, in 8 bytes each beside their own: a list takes 65. They may hold what `os.fsdecode` returns.

    ``text`` is all of them in UTF-8, ``ends`` where each ends in it, after a 0.
    """

    text: bytearray = field(default_factory=bytearray)
    ends: array[int] = field(default_factory=lambda: array("q", [0]))

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """Return these names."""
        made = cls()
        for name in names:
            made.append(name)
        return made

    def append(self, name: str) -> None:
        """Add one at the end."""
        self.text += name.encode("utf-8", "surrogatepass")
        self.ends.append(len(self.text))

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, number: int) -> str:
        if number < 0:
            number += len(self)
        return self.text[self.ends[number] : self.ends[number + 1]].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        begin = 0
        for end in self.ends[1:]:
            yield self.text[begin:end].decode("utf-8", "surrogatepass")
            begin = end

    def part(self, first: int, end: int) -> Self:
        """Return those from one to another."""
        begin, end_of_text = self.ends[first], self.ends[end]
        ends = array("q", [place - begin for place in self.ends[first : end + 1]])
        return type(self)(self.text[begin:end_of_text], ends)

    def join(self) -> str:
        """Return all in one string, from which `split_names` makes them again."""
        chunks = range(0, len(self), CHUNK)
        return SEPARATOR.join(SEPARATOR.join(self[k] for k in range(at, min(at + CHUNK, len(self)))) for at in chunks)


def split_names(joined: str) -> Names:
    """Return the names that `Names.join` has joined.

    >>> list(split_names("a.txt//in/b.txt"))
    ['a.txt', 'in/b.txt']
    """
    names, begin = Names(), 0
    while begin <= len(joined):
        end = joined.find(SEPARATOR, begin)
        end = len(joined) if end < 0 else end
        names.append(joined[begin:end])
        begin = end + len(SEPARATOR)
    return names
