"""Values -> rich renderables, for a terminal.

Text from files enters rich only as a `Text`, after `visible`: in a plain string rich would read markup and emoji names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from llmprep.preview.characters import Group, Shown, group_tokens, seen
from llmprep.preview.fitting import Fitted, columns_of
from llmprep.preview.plain import Decode, visible

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from llmprep.preview.explain import Line
    from llmprep.windows.pairs import Pairs

_COLOURS = ("black on bright_cyan", "black on bright_yellow", "black on bright_green", "black on bright_magenta")
_CELL_GAP = 1
_TARGET = "bold magenta"
"""The one of the sixteen colours that reads well on black and on white alike; yellow and cyan do not on white."""
PART_ROWS = 1000
"""How many rows of a long table are drawn at once."""


def token_strip(ids: Sequence[int], shown: Shown, width: int) -> Text:
    """Return tokens as coloured cells above their ids, in lines of up to ``width`` columns.

    A space shows as ``\u2423``. A cell that is wider than ``width`` has a line of its own. A character that is split
    among tokens stands above all of them, and each has its bytes below it, in a row that only such lines have.
    """
    from rich.text import Text

    strip, line, used = Text(), _StripLine(), 0
    for unit in _units(ids, shown, width):
        if used and used + unit.width > width:
            strip.append_text(line.drawn()).append("\n")
            line, used = _StripLine(), 0
        line.units.append(unit)
        used += unit.width + _CELL_GAP
    return strip.append_text(line.drawn())


@dataclass(frozen=True, slots=True)
class _Unit:
    """A token, or tokens that share characters: the text of all, and number, text, id and width of each."""

    text: str
    cells: list[tuple[int, str, str, int]]

    @property
    def width(self) -> int:
        return sum(width for *_, width in self.cells) + _CELL_GAP * (len(self.cells) - 1)


def _units(ids: Sequence[int], shown: Shown, width: int) -> Iterator[_Unit]:
    """Yield all tokens, those that share a character together, unless they are too wide for a line."""
    for group in group_tokens(shown.tokens(ids)):
        unit = _unit(ids, group)
        if unit.width <= width:
            yield unit
        else:
            alone = (Group(group.first + n, (label,), label) for n, label in enumerate(group.labels))
            yield from (_unit(ids, each) for each in alone)


def _unit(ids: Sequence[int], group: Group) -> _Unit:
    text, cells = seen(group.text), []
    for number, label in enumerate(map(seen, group.labels), group.first):
        cells.append((number, label, str(ids[number]), max(columns_of(label), len(str(ids[number])))))
    missing = columns_of(text) - _Unit(text, cells).width
    if missing > 0:
        cells[-1] = (*cells[-1][:3], cells[-1][3] + missing)
    return _Unit(text, cells)


@dataclass(slots=True)
class _StripLine:
    """A line of a strip."""

    units: list[_Unit] = field(default_factory=list)

    def drawn(self) -> Text:
        """Return its rows: texts, parts if there are any, and ids."""
        from rich.text import Text

        upper, parts, lower = Text(), Text(), Text()
        for unit in self.units:
            is_split = len(unit.cells) > 1
            text = unit.text + " " * (unit.width - columns_of(unit.text)) * is_split
            upper.append(text, style=_COLOURS[unit.cells[0][0] % len(_COLOURS)])
            upper.append(" " * (unit.width - columns_of(text) + _CELL_GAP))
            for number, token, label, width in unit.cells:
                shown = token if is_split else ""
                parts.append(shown, style=_COLOURS[number % len(_COLOURS)])
                parts.append(" " * (width - columns_of(shown) + _CELL_GAP))
                lower.append(label.ljust(width + _CELL_GAP), style="dim")
        rows = [upper, parts, lower] if any(len(unit.cells) > 1 for unit in self.units) else [upper, lower]
        return Text("\n").join(rows)


def in_colour(lines: Iterable[Line]) -> Text:
    """Return the lines of an explanation, each part in the colour of what it is; no line is broken."""
    from rich.text import Text

    styles = {"target": _TARGET, "label": "dim", "text": "bold"}
    shown = Text("\n")
    for line in lines:
        for text, kind in line:
            shown.append(text, style=styles.get(kind, ""))
        shown.append("\n")
    return shown


def pair_table(
    pairs: Iterable[tuple[list[int], int]], decode: Decode | None, title: str = "", *, only: slice = slice(None)
) -> Fitted:
    """Return a table with a row for each pair: the ids of context and target, then, with ``decode``, their text.

    Where a terminal is too narrow for both, the text has a table of its own. ``only`` are the columns to draw.
    """
    columns: list[dict[str, Any]] = [
        {"header": "context ids", "overflow": "fold"},
        {"header": "target id", "style": _TARGET, "justify": "right", "overflow": "fold"},
        {"header": "context", "overflow": "fold"},
        {"header": "", "style": "dim", "overflow": "fold"},
        {"header": "target", "style": _TARGET, "overflow": "fold"},
    ]
    shown = columns[: 2 if decode is None else 5][only]
    rows = [_cells(context, target, decode)[only] for context, target in pairs]
    return Fitted(shown, rows, title, slice(2, 5) if len(shown) == len(columns) else None)


def table_parts(
    pairs: Sequence[tuple[list[int], int]] | Pairs,
    decode: Decode | None,
    draw: Callable[[RenderableType], str],
    width: int,
    rows: int = PART_ROWS,
) -> Iterator[str]:
    """Yield what ``draw`` makes of `pair_table`, some rows at a time: rich would hold all rows, for their widths.

    With each part the widest rows of all are drawn, and left out: they give its columns the widths of the whole table.
    """
    if len(pairs) <= rows:
        yield draw(pair_table(pairs, decode))
        return
    widest = _widest(pairs, decode)
    for only, _ in pair_table(widest, decode).parts(width):

        def lines(some: list[tuple[list[int], int]], only: slice = only) -> list[str]:
            return [f"{line}\n" for line in draw(pair_table(some, decode, only=only)).split("\n")[:-1]]

        drawn = lines(widest)
        n_widest = len(lines(widest * 2)) - len(drawn)
        top = len(drawn) - n_widest - 1  # one line is below the rows
        yield "".join(drawn[:top])
        left = iter(pairs)
        while part := list(islice(left, rows)):
            yield "".join(lines(part + widest)[top : -1 - n_widest])
        yield drawn[-1]


def _widest(pairs: Iterable[tuple[list[int], int]], decode: Decode | None) -> list[tuple[list[int], int]]:
    """Return, for each column, the pair with its widest cell, and that with its widest word."""
    found: dict[tuple[int, bool], tuple[int, tuple[list[int], int]]] = {}
    for pair in pairs:
        for column, cell in enumerate(_cells(*pair, decode)):
            for key, parts in (((column, False), [cell]), ((column, True), cell.split(" "))):
                width = max(map(columns_of, parts))
                if key not in found or width > found[key][0]:
                    found[key] = width, pair
    return [pair for _, pair in found.values()]


def _cells(context: Sequence[int], target: int, decode: Decode | None) -> list[str]:
    """Return the cells of a pair's row."""
    cells = [" ".join(map(str, context)), str(target)]
    if decode is not None:
        cells += [_spaced(decode(context)), "---->", _spaced(decode([target]))]
    return cells


def _spaced(text: str) -> str:
    """Make text visible, and also the spaces at its ends, which belong to the tokens."""
    shown = visible(text)
    inner = shown.strip(" ")
    left = len(shown) - len(shown.lstrip(" "))
    return "\u2423" * left + inner + "\u2423" * (len(shown) - left - len(inner))


def shape_story(batch: Sequence[int], dim: int, n_vocab: int, context_length: int) -> Fitted:
    """Return a table of how a batch becomes input embeddings: each step, its shape, and the table that it reads.

    ``batch`` is the shape of its ids, (windows, tokens).
    """
    rows, length = batch
    columns: list[dict[str, Any]] = [
        {"header": "step"},
        {"header": "shape", "justify": "right"},
        {"header": "from", "style": "dim"},
    ]
    steps = [
        ("ids", f"[{rows}, {length}]", "one batch of windows"),
        ("token", f"[{rows}, {length}, {dim}]", f"rows of a table [{n_vocab}, {dim}], one per id"),
        ("+ position", f"[{length}, {dim}]", f"the first {length} rows of a table [{context_length}, {dim}]"),
        ("= input", f"[{rows}, {length}, {dim}]", "added, the same positions for every window"),
    ]
    return Fitted(columns, steps)
