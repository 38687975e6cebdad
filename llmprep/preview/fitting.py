"""Lines and tables fitted to a width: broken between words, never in one that fits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

_GAP = 3
"""Columns between two columns of a table of rich's."""
_EDGES = 2


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def wrap_line(line: str, width: int, indent: int | None = None) -> str:
    """Return a line broken at spaces into lines of up to ``width`` columns; a longer word has a line of its own.

    What goes on is indented by ``indent``, or to where the line's last column of text begins, if that leaves room.

    >>> print(wrap_line("tokens           one two three four", 26))
    tokens           one two
                     three
                     four
    """
    if columns_of(line) <= width:
        return line
    hanging = " " * (_hanging(line, width) if indent is None else indent)
    parts = re.split("( +)", line)
    lines, used = [""], 0
    for gap, word in zip(["", *parts[1::2]], parts[::2], strict=True):
        taken = columns_of(word)
        if used + len(gap) + taken <= width or not lines[-1].strip():
            lines[-1] += gap + word
            used += len(gap) + taken
        else:
            fits = [indent for indent in (hanging, "  ", "") if len(indent) + taken <= width]
            lines.append((fits or [""])[0] + word)
            used = columns_of(lines[-1])
    return "\n".join(lines)


def _hanging(line: str, width: int) -> int:
    """Return where the second column of a line begins, or else two columns to the right of where the line does."""
    begin = len(line) - len(line.lstrip(" "))
    found = re.match(r" *\S+(?: \S+)? {2,}(?=\S)", line)
    return found.end() if found and found.end() <= width // 2 else min(begin + 2, width // 2)


def fit_columns(cells: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Return widths of columns, given the texts in each, that hold every word whole; None where that cannot be.

    With what rich puts between them, they take up to ``width`` columns of a terminal. The widest give way first.
    """
    room = width - _EDGES - _GAP * (len(cells) - 1)
    least = [max((columns_of(word) for text in column for word in text.split(" ")), default=0) for column in cells]
    widths = [min(room, max(map(columns_of, column), default=0)) for column in cells]
    if sum(least) > room:
        return None
    while sum(widths) > room:
        reducible = [k for k in range(len(widths)) if widths[k] > least[k]]
        widths[max(reducible, key=lambda k: widths[k])] -= 1
    return widths


@dataclass(frozen=True, slots=True)
class Fitted:
    """A table that rich draws as wide as it may, without a word cut as long as there is room for its longest words.

    ``columns`` are what rich's ``add_column`` takes. Where they do not fit, ``apart`` says which columns stand in a
    table of their own, below that of the others.
    """

    columns: Sequence[dict[str, Any]]
    rows: Sequence[Sequence[str]]
    title: str = ""
    apart: slice | None = None

    def parts(self, width: int) -> Iterator[tuple[slice, list[int] | None]]:
        """Yield which columns stand together in ``width``, with their widths, None where no widths hold each word."""
        whole = self._fit(slice(None), width)
        if whole is not None or self.apart is None:
            yield slice(None), whole
            return
        for part in (slice(self.apart.start), self.apart):
            yield part, self._fit(part, width)

    def _fit(self, part: slice, width: int) -> list[int] | None:
        headers = [column["header"] for column in self.columns]
        return fit_columns([*zip(*(row[part] for row in (headers, *self.rows)), strict=True)], width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Table]:
        """Yield what rich draws."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        title = self.title
        for part, widths in self.parts(options.max_width):
            table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
            for number, column in enumerate(self.columns[part]):
                table.add_column(**column, width=None if widths is None else widths[number])
            for row in self.rows:
                table.add_row(*map(Text, row[part]))
            yield table
            title = ""
