"""Promises of what a terminal shows: pictures stay as they are, and of no text anything vanishes or acts."""

from __future__ import annotations

import io
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType
from support.golden import GOLDEN, check_golden
from support.reference import encode, pair_rows, tiktoken_encoding
from support.strategies import adversarial_text

from llmprep.preview.plain import visible
from llmprep.preview.screen import pair_table, shape_story, token_strip

HOSTILE = (
    "red \x1b[31m bell\x07 \x1b]52;c;aGk=\x07 \x9b2J \u202eevil\u202c "
    "[bold] [/b] [link=x]y[/link] :smile: caf\u00e9\r\n"
)


def decode(ids: list[int]) -> str:
    """GPT-2's ids -> text."""
    return tiktoken_encoding("gpt2").decode(ids)


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


def test_token_strip(story: Path) -> None:
    """Tokens are coloured cells over their ids, in lines that fit the terminal."""
    ids = encode(story.read_text(encoding="utf-8"))[:40]

    check_golden("token_strip.ansi", draw(token_strip(ids, decode, 80)))


def test_token_strip_of_hostile_text() -> None:
    """Control characters, markup, emoji names and broken characters are shown as cells like any other."""
    check_golden("token_strip_hostile.ansi", draw(token_strip(encode(HOSTILE), decode, 80)))


def test_pair_table(story: Path) -> None:
    """A window's pairs stand in a table: ids and target, then text and target, with the spaces of tokens visible."""
    ids = encode(story.read_text(encoding="utf-8"))[61:66]

    check_golden("pair_table.ansi", draw(pair_table(pair_rows(ids, 4), decode, title="window 0")))


def test_pair_table_without_a_vocabulary() -> None:
    """Where ids cannot be decoded the table shows ids alone."""
    check_golden("pair_table_ids.ansi", draw(pair_table([([290], 4920), ([290, 4920], 2241)], None)))


def test_shape_story() -> None:
    """Each step from ids to input embeddings stands with its shape and the table it reads."""
    check_golden("shape_story.ansi", draw(shape_story((8, 4), 256, 50257, 1024)))


@settings(max_examples=30)
@given(text=adversarial_text, width=st.integers(1, 120))
def test_a_token_strip_is_inert_and_loses_no_token(text: str, width: int) -> None:
    """For any text and width, a strip holds no escape but colours, and every token and id, in order."""
    ids = encode(text)

    strip = token_strip(ids, decode, width)

    lines = without_colours(strip.plain).split("\n")
    assert [int(i) for line in lines[1::2] for i in line.split()] == ids
    shown = "".join(visible(decode([i])).replace(" ", "\u2423") for i in ids)
    assert "".join(lines[::2]).replace(" ", "") == shown
    widest = max((max(cell_len(visible(decode([i]))), len(str(i))) for i in ids), default=0)
    assert all(cell_len(line.rstrip(" ")) <= max(width, widest) for line in lines)


@settings(max_examples=30)
@given(text=adversarial_text.map(lambda text: f"{text} [bold]x[/bold] [/b] [link=a]y[/link] :smile: [red] \\[z]"))
def test_a_pair_table_is_inert_and_loses_no_text(text: str) -> None:
    """What rich would take as markup, a link or an emoji is shown letter by letter, like the rest of any text."""
    ids = encode(text)

    bare = without_colours(draw(pair_table([(ids, 13)], decode), width=9000))

    assert visible(decode(ids)).strip(" ") in bare
    assert " ".join(map(str, ids)) in bare


def test_golden_files_are_all_in_use() -> None:
    """No golden file is left that no test compares with."""
    tests = [*Path(__file__).parent.glob("*.py"), GOLDEN.parent / "support" / "picture.py"]
    source = "".join(path.read_text(encoding="utf-8") for path in tests)

    assert [path.name for path in GOLDEN.iterdir() if f'"{path.name}"' not in source] == []
