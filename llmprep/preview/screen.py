"""Values -> rich renderables, for a terminal.

Text from files enters rich only as a `Text`, after `visible`: in a plain string rich would read markup and emoji names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from llmprep.preview.plain import Decode, visible

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

_COLOURS = ("black on bright_cyan", "black on bright_yellow", "black on bright_green", "black on bright_magenta")
_CELL_GAP = 1


def token_strip(ids: Sequence[int], decode: Decode, width: int) -> Text:
    """Return tokens as coloured cells above their ids, in lines of up to ``width`` columns.

    A space shows as ``\u2423``. A cell that is wider than ``width`` has a line of its own.
    """
    from rich.cells import cell_len
    from rich.text import Text

    strip, upper, lower, used = Text(), Text(), Text(), 0
    for number, token_id in enumerate(ids):
        token = visible(decode([token_id])).replace(" ", "\u2423")
        cell = max(cell_len(token), len(str(token_id)))
        if used and used + cell > width:
            strip.append_text(upper).append("\n").append_text(lower).append("\n")
            upper, lower, used = Text(), Text(), 0
        upper.append(token, style=_COLOURS[number % len(_COLOURS)]).append(" " * (cell - cell_len(token) + _CELL_GAP))
        lower.append(str(token_id).ljust(cell + _CELL_GAP), style="dim")
        used += cell + _CELL_GAP
    return strip.append_text(upper).append("\n").append_text(lower)


def pair_table(pairs: Iterable[tuple[list[int], int]], decode: Decode | None, title: str = "") -> Table:
    """Return a table with a row for each pair: the ids of context and target, then, with ``decode``, their text."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    table.add_column("context ids", style="cyan", overflow="fold")
    table.add_column("target id", style="bold yellow", justify="right")
    if decode is not None:
        table.add_column("context", overflow="fold")
        table.add_column("", style="dim")
        table.add_column("target", style="bold yellow", overflow="fold")
    for context, target in pairs:
        row: list[RenderableType] = [Text(" ".join(map(str, context))), Text(str(target))]
        if decode is not None:
            row += [Text(_spaced(decode(context))), Text("---->"), Text(_spaced(decode([target])))]
        table.add_row(*row)
    return table


def _spaced(text: str) -> str:
    """Make text visible, and also the spaces at its ends, which belong to the tokens."""
    shown = visible(text)
    inner = shown.strip(" ")
    left = len(shown) - len(shown.lstrip(" "))
    return "\u2423" * left + inner + "\u2423" * (len(shown) - left - len(inner))


def shape_story(batch: Sequence[int], dim: int, n_vocab: int, context_length: int) -> Table:
    """Return a table of how a batch becomes input embeddings: each step, its shape, and the table that it reads.

    ``batch`` is the shape of its ids, (windows, tokens).
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("step")
    table.add_column("shape", style="cyan", justify="right")
    table.add_column("from", style="dim")
    rows, length = batch
    table.add_row("ids", f"[{rows}, {length}]", "one batch of windows")
    table.add_row("token", f"[{rows}, {length}, {dim}]", f"rows of a table [{n_vocab}, {dim}], one per id")
    table.add_row("+ position", f"[{length}, {dim}]", f"the first {length} rows of a table [{context_length}, {dim}]")
    table.add_row("= input", f"[{rows}, {length}, {dim}]", "added, the same positions for every window")
    return table
