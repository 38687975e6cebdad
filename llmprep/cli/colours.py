"""Whether colours are wanted, how wide a line may be, and what draws in them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TextIO, get_args

from llmprep.choices import Color

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = 80
"""How wide a line may be where nothing tells."""
LEAST_COLUMNS = 20


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a person looks at a stream."""
    return stream is not None and stream.isatty()


def is_dumb() -> bool:
    """Tell whether the terminal, if there is one, knows no more than lines of text."""
    if sys.platform == "win32":
        from rich.console import detect_legacy_windows

        return detect_legacy_windows()
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def wants_colour(stream: TextIO | None, choice: Color) -> bool:
    """Tell whether a stream gets colours: as it was chosen, else as the environment says, else if it shows them."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):  # a variable that is set but empty says nothing
        return False
    forced = os.environ.get("FORCE_COLOR") or os.environ.get("CLICOLOR_FORCE")
    if forced:
        return forced != "0"
    return is_terminal(stream) and not is_dumb()


def choice_in(arguments: Sequence[str]) -> Color:
    """Return the colour that a command line chooses, also one that cannot be parsed: its error has it too."""
    chosen: Color = "auto"
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    for option in map("=".join, [*pairwise(words), *((word,) for word in words)]):
        chosen = next((known for known in get_args(Color) if option == f"--color={known}"), chosen)
    return chosen


def columns(stream: TextIO | None) -> int:
    """Return how wide a line may be: as COLUMNS says, or as wide as the terminal, or else 80."""
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given):
        return max(LEAST_COLUMNS, int(given))
    try:
        width = os.get_terminal_size(stream.fileno()).columns if stream is not None else 0
    except (OSError, ValueError):
        width = 0
    return max(LEAST_COLUMNS, width or COLUMNS)


def open_console(stream: TextIO, *, colour: bool, width: int | None = None) -> Console:
    """Return what draws rich renderables for a stream, as wide as that unless said; text in them is no markup.

    The sixteen colours that every terminal has are all that is used.
    """
    from rich.console import Console

    return Console(
        file=stream,
        force_terminal=True,
        color_system="standard" if colour else None,
        no_color=not colour,
        width=width or columns(stream),
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
