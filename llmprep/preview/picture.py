"""What a terminal shows -> a still picture of it, as SVG, with no address in it but the name of the format."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

MAGIC = b"<!-- llmprep picture -->"
"""The first bytes of a picture, by which one is told from other files."""
_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, Liberation Mono, monospace"
_NOT_IN_XML = {0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"}
"""What XML cannot hold, of what `visible` leaves."""

_NORMAL = [
    (16, 18, 22), (232, 116, 97), (132, 196, 140), (229, 190, 100),
    (116, 172, 224), (205, 146, 208), (112, 192, 204), (229, 231, 234),
]  # fmt: skip
_BRIGHT = [
    (128, 134, 144), (245, 150, 132), (174, 224, 166), (246, 224, 146),
    (160, 203, 245), (238, 188, 232), (158, 220, 232), (255, 255, 255),
]  # fmt: skip
"""The sixteen colours of a terminal, on which black can be read where it is written on a bright one."""


def draw_picture(items: Iterable[RenderableType], title: str, columns: int) -> str:
    """Return renderables as a terminal of this width would show them; for the same ones, the same bytes."""
    from rich.console import Console
    from rich.terminal_theme import TerminalTheme

    console = Console(
        record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="truecolor",
        legacy_windows=False, markup=False, emoji=False, highlight=False, _environ={},
    )  # fmt: skip
    for item in items:
        console.print(item, overflow="fold")
    theme = TerminalTheme((24, 27, 32), (229, 231, 234), _NORMAL, _BRIGHT)
    drawn = console.export_svg(title=title, unique_id="llmprep", code_format=_code_format(), theme=theme)
    drawn = re.sub(r' clip-path="[^"]*"', "", drawn)  # which would cut what is low in a line, as _ is
    return f"{MAGIC.decode()}\n{drawn.translate(_NOT_IN_XML)}"


def draw_screen(shown: str, title: str, columns: int) -> str:
    """Return a picture of what was written to a terminal, its escape sequences for colours included."""
    from rich.text import Text

    return draw_picture([Text.from_ansi(shown.removesuffix("\n"))], title, columns)


def _code_format() -> str:
    """Return rich's form of an SVG without its fonts, which are at addresses, its own address, and its clips."""
    from rich._export_format import CONSOLE_SVG_FORMAT

    unwanted = r"@font-face \{\{.*?\}\}\s*|<!--.*?-->\s*|<defs>.*?</defs>\s*"
    bare = re.sub(unwanted, "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return bare.replace("Fira Code, monospace", _FONT).replace("font-family: arial", "font-family: sans-serif")
