"""Promises of what a terminal shows: pictures stay as they are, and of no text anything vanishes or acts."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType
from support.commands import ROOT, SAMPLES
from support.golden import GOLDEN, check_golden
from support.reference import encode, pair_rows, tiktoken_encoding
from support.strategies import adversarial_text

from llmprep.preview.plain import visible
from llmprep.preview.screen import pair_table, shape_story, token_strip

HOSTILE = (
    "red \x1b[31m bell\x07 \x1b]52;c;aGk=\x07 \x9b2J \u202eevil\u202c "
    "[bold] [/b] [link=x]y[/link] :smile: caf\u00e9\r\n"
)


def decode(ids: Sequence[int]) -> str:
    """GPT-2's ids -> text."""
    return tiktoken_encoding("gpt2").decode(ids)


def story(first: int, end: int) -> list[int]:
    """Some ids of the sample story."""
    return encode((SAMPLES / "story.txt").read_text(encoding="utf-8"))[first:end]


def draw(item: RenderableType, width: int = 80) -> str:
    """What a terminal of ``width`` columns is sent."""
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=True, width=width, color_system="truecolor", legacy_windows=False,
        markup=False, emoji=False, highlight=False, _environ={},
    )  # fmt: skip
    console.print(item)
    return file.getvalue()


def without_colours(drawn: str) -> str:
    """Drop the colours, which are the only escapes that may stand in a picture."""
    bare = re.sub(r"\x1b\[[0-9;]*m", "", drawn)
    assert visible(bare.replace("\n", "")) == bare.replace("\n", "")
    return bare


PICTURES: dict[str, Callable[[], RenderableType]] = {
    "token_strip.ansi": lambda: token_strip(story(0, 40), decode, 80),
    "token_strip_hostile.ansi": lambda: token_strip(encode(HOSTILE), decode, 80),
    "pair_table.ansi": lambda: pair_table(pair_rows(story(61, 66), 4), decode, title="window 0"),
    "pair_table_ids.ansi": lambda: pair_table([([290], 4920), ([290, 4920], 2241)], None),
    "shape_story.ansi": lambda: shape_story((8, 4), 256, 50257, 1024),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_as_they_were(name: str) -> None:
    """Tokens over their ids, a window's pairs and the way to embeddings are drawn as the golden files show them."""
    check_golden(name, draw(PICTURES[name]()))


@settings(max_examples=30)
@given(text=adversarial_text, width=st.integers(1, 120))
def test_a_token_strip_is_inert_and_loses_no_token(text: str, width: int) -> None:
    """For any text and width, a strip holds no escape but colours, and every token and id, in order, in short lines."""
    ids = encode(text)
    shown = [visible(decode([i])).replace(" ", "\u2423") for i in ids]

    lines = without_colours(token_strip(ids, decode, width).plain).split("\n")

    assert [int(i) for line in lines[1::2] for i in line.split()] == ids
    assert "".join(lines[::2]).replace(" ", "") == "".join(shown)
    widest = max((cell_len(cell) for cell in [*shown, *map(str, ids)]), default=0)
    assert all(cell_len(line.rstrip(" ")) <= max(width, widest) for line in lines)


@settings(max_examples=30)
@given(text=adversarial_text.map(lambda text: f" {text} [bold]x[/bold] [/b] [link=a]y[/link] :smile: [red] \\[z]  "))
def test_a_pair_table_is_inert_and_loses_no_text(text: str) -> None:
    """What rich would take as markup is shown letter by letter, like the rest of any text, spaces at its ends seen."""
    ids, space = encode(text), "\u2423"
    left, right = (len(text) - len(rest) for rest in (text.lstrip(" "), text.rstrip(" ")))

    bare = without_colours(draw(pair_table([(ids, 13)], decode), width=9000))

    assert space * left + visible(decode(ids)).strip(" ") + space * right in bare
    assert " ".join(map(str, ids)) in bare


def test_golden_files_are_all_in_use() -> None:
    """No golden file is left that no test compares with."""
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))

    names = {path.name for path in GOLDEN.iterdir() if not path.name.startswith("session_")}
    assert {name for name in names if f'"{name}"' not in source} == set()
