"""Values -> rich renderables, for a terminal. Text from files goes in only as `Text`, made visible first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from llmprep.preview.plain import Decode, visible

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

COLOURS = (
    "black on bright_cyan",
    "black on bright_yellow",
    "black on bright_green",
    "black on bright_magenta",
)
CELL_GAP = 1


def token_strip(ids: Sequence[int], decode: Decode, width: int) -> Text:
    """Tokens as coloured cells above their ids, filling lines of ``width`` columns. A space shows as ``\u2423``."""
    from rich.cells import cell_len
    from rich.text import Text

    strip, upper, lower, used = Text(), Text(), Text(), 0
    for place, token_id in enumerate(ids):
        token = visible(decode([token_id])).replace(" ", "\u2423")
        cell = max(cell_len(token), len(str(token_id)))
        if used and used + cell > width:
            strip.append_text(upper).append("\n").append_text(lower).append("\n")
            upper, lower, used = Text(), Text(), 0
        upper.append(token, style=COLOURS[place % len(COLOURS)]).append(" " * (cell - cell_len(token) + CELL_GAP))
        lower.append(str(token_id).ljust(cell + CELL_GAP), style="dim")
        used += cell + CELL_GAP
    return strip.append_text(upper).append("\n").append_text(lower)


def pair_table(pairs: Iterable[tuple[list[int], int]], decode: Decode | None, title: str = "") -> Table:
    """One row a pair: the context as ids and as text, an arrow, the target."""
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
    """Make leading and trailing spaces, which belong to tokens, visible."""
    shown = visible(text)
    inner = shown.strip(" ")
    left = len(shown) - len(shown.lstrip(" "))
    return "\u2423" * left + inner + "\u2423" * (len(shown) - left - len(inner))


def shape_story(batch: Sequence[int], dim: int, n_vocab: int, context_length: int) -> Table:
    """How a batch of ids becomes input embeddings: each step with its shape and what it looks up."""
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
