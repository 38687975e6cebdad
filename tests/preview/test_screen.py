"""Promises of what a terminal shows: pictures stay as they are, and of no text anything vanishes or acts.

Those of plain lines and explanations are here too: numbers read well, each mark is what counting tokens gives.
"""

import io
import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType
from support.commands import SAMPLES
from support.golden import check_golden
from support.reference import encode, pair_rows, tiktoken_encoding
from support.strategies import adversarial_text

from llmprep.errors import plural
from llmprep.preview.characters import seen, split_lines
from llmprep.preview.explain import explain_lines, find_drawn, summary
from llmprep.preview.plain import number, pair_lines, size, visible
from llmprep.preview.screen import pair_table, shape_story, table_parts, token_strip
from llmprep.windows.coverage import cover

HOSTILE = (
    "red \x1b[31m bell\x07 \x1b]52;c;aGk=\x07 \x9b2J \u202eevil\u202c "
    "[bold] [/b] [link=x]y[/link] :smile: caf\u00e9\r\n"
)


def decode_bytes(ids: Sequence[int]) -> bytes:
    """GPT-2's ids -> the bytes of their text."""
    return tiktoken_encoding("gpt2").decode_bytes(ids)


class Gpt2:
    """GPT-2's ids -> text, with the bytes of what is a part of a character."""

    def __call__(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        return decode_bytes(ids).decode("utf-8", "backslashreplace")

    def tokens(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes of each id."""
        return [decode_bytes([i]) for i in ids]


decode = Gpt2()


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


def is_inert(char: str) -> bool:
    """Whether a character does nothing to a terminal but appear."""
    return char in "\u200c\u200d" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_each_code_point_that_acts_on_a_terminal_is_escaped_and_no_other() -> None:
    """Of all code points, those of Cc, Cf (but two joiners), Cs, Zl and Zp become what Python writes for them."""
    every = list(map(chr, range(sys.maxunicode + 1)))
    assert visible("".join(every)) == "".join(c if is_inert(c) else ascii(c)[1:-1] for c in every)


def test_numbers_in_words() -> None:
    """Digits are grouped, a noun is singular only for one, and bytes have the largest unit that leaves 1.0 or more."""
    assert [number(999), number(1000), number(10**9)] == ["999", "1,000", "1,000,000,000"]
    assert [plural(0, "token"), plural(1, "token"), plural(1286, "token")] == ["0 tokens", "1 token", "1,286 tokens"]
    sizes = {999: "999 bytes", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 10**19: "10000.0 PB"}
    assert {n_bytes: size(n_bytes) for n_bytes in sizes} == sizes


@settings(max_examples=8)
@given(text=adversarial_text.map(lambda text: f"{text[:30]} and\x1b"))
def test_pairs_are_inert_lines(text: str) -> None:
    """Each pair of any text has a line of ids and, with a vocabulary, one of text; none acts on a terminal."""
    ids = encode(text)
    pairs = list(pair_rows(ids, len(ids) - 1))

    as_ids, lines = list(pair_lines(pairs, None)), list(pair_lines(pairs, decode))

    assert as_ids == lines[: len(pairs)] == [f"{context} ----> {target}" for context, target in pairs]
    assert lines[len(pairs) :] == [f"{visible(decode(c))} ----> {visible(decode([target]))}" for c, target in pairs]
    assert all(is_inert(char) for line in lines for char in line)


PICTURES: dict[str, Callable[[], RenderableType]] = {
    "token_strip.ansi": lambda: token_strip(story(0, 40), decode, 80),
    "token_strip_split.ansi": lambda: token_strip(
        encode("one \u6587\u5b57, \U0001f468\u200d\U0001f469 two"), decode, 40
    ),
    "token_strip_hostile.ansi": lambda: token_strip(encode(HOSTILE), decode, 80),
    "pair_table.ansi": lambda: pair_table(pair_rows(story(61, 66), 4), decode, title="window 0"),
    "pair_table_ids.ansi": lambda: pair_table([([290], 4920), ([290, 4920], 2241)], None),
    "shape_story.ansi": lambda: shape_story((8, 4), 256, 50257, 1024),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_as_they_were(name: str) -> None:
    """Tokens over their ids, a window's pairs and the way to embeddings are drawn as the golden files show them."""
    check_golden(name, draw(PICTURES[name]()))


def rows_of_strip(drawn: str, ids: Sequence[int]) -> list[tuple[str, str]]:
    """The texts and the parts in each line of a strip, whose last rows are, in order, all ids."""
    rows, found, left = drawn.split("\n"), [], list(ids)
    while rows:
        n_rows = 2 if re.fullmatch(r"[0-9 ]*", rows[1]) else 3
        upper, *parts, lower = rows[:n_rows]
        labels = list(map(int, lower.split()))
        assert left[: len(labels)] == labels
        left, rows = left[len(labels) :], rows[n_rows:]
        found.append((upper, "".join(parts)))
    assert left == []
    return found


def shared(ids: Sequence[int]) -> list[tuple[int, int]]:
    """The runs of tokens, first and end, in which a loop over the bytes finds that neighbours share a character."""
    owners = [place for place, i in enumerate(ids) for _ in decode_bytes([i])]
    cut, at = set(), 0
    for char in decode_bytes(ids).decode():
        end = at + len(char.encode())
        cut |= set(range(owners[at] + 1, owners[end - 1] + 1))
        at = end
    ends = [place for place in range(1, len(ids) + 1) if place not in cut]
    return [(first, end) for first, end in pairwise([0, *ends])]


@settings(max_examples=40)
@given(text=adversarial_text, width=st.integers(1, 120))
@example(text="a \u4e2d\u6587\u5b57 \U0001f468\u200d\U0001f469", width=100)
def test_a_token_strip_is_inert_and_loses_no_token(text: str, width: int) -> None:
    """For any text and width, a strip has no escape but colours, every id in order, short lines, and the whole text.

    A character that is split stands above its parts, whose bytes are all of it.
    """
    ids = encode(text)
    cells = [seen(visible(decode([i]))) for i in ids]
    drawn = without_colours(token_strip(ids, decode, width).plain)

    rows = rows_of_strip(drawn, ids)

    widest = max((cell_len(cell) for cell in [*cells, *map(str, ids)]), default=0)
    assert all(cell_len(line.rstrip(" ")) <= max(width, widest) for line in drawn.split("\n"))
    if width > 90:  # in which no character is too wide
        uppers = [cell for upper, _ in rows for cell in upper.split(" ") if cell]
        parts = [cell for _, parts in rows for cell in parts.split(" ") if cell]
        runs = shared(ids)
        assert uppers == [seen(visible(decode(ids[first:end]))) for first, end in runs]
        assert parts == [cells[k] for first, end in runs if end > first + 1 for k in range(first, end)]


@settings(max_examples=40)
@given(text=adversarial_text)
@example(text="\u6587 \U0001f468\u200d\U0001f469 \xe4 \\xe4\u6587")
def test_split_characters_are_named(text: str) -> None:
    """Of each distinct run of tokens that share characters, of the first three, a line says which they are."""
    ids = encode(text)
    runs = dict.fromkeys(tuple(ids[first:end]) for first, end in shared(ids) if end > first + 1)
    named = [
        f"{seen(visible(decode(run)))} is {len(run)} tokens: {' '.join(seen(visible(decode([i]))) for i in run)}"
        for run in runs
    ]
    more = f"... and {plural(len(named) - 3, 'more character')} like these"
    assert list(split_lines([ids, ids], decode)) == named[:3] + [more] * (len(named) > 3)


@settings(max_examples=30)
@given(text=adversarial_text.map(lambda text: f" {text} [bold]x[/bold] [/b] [link=a]y[/link] :smile: [red] \\[z]  "))
def test_a_pair_table_is_inert_and_loses_no_text(text: str) -> None:
    """What rich would take as markup is shown letter by letter, like the rest of any text, spaces at its ends seen."""
    ids, space = encode(text), "\u2423"
    left, right = (len(text) - len(rest) for rest in (text.lstrip(" "), text.rstrip(" ")))

    bare = without_colours(draw(pair_table([(ids, 13)], decode), width=9000))

    assert space * left + visible(decode(ids)).strip(" ") + space * right in bare
    assert " ".join(map(str, ids)) in bare


@settings(max_examples=30)
@given(text=adversarial_text, width=st.integers(12, 90), rows=st.integers(1, 4), with_text=st.booleans())
def test_a_long_table_is_drawn_in_parts(text: str, width: int, rows: int, with_text: bool) -> None:
    """Any text's table in parts is to the last colour the table drawn at once, also a narrow one."""
    ids = encode(text)[:12]
    pairs, used = [*pair_rows(ids, len(ids) - 1), ([13], 464)], decode if with_text else None
    whole = draw(pair_table(pairs, used), width=width)
    parts = list(table_parts(pairs, used, lambda item: draw(item, width=width), width, rows))
    n_tables = len(list(pair_table(pairs, used).parts(width)))
    assert "".join(parts) == whole
    assert len(parts) == (1 if len(pairs) <= rows else (2 + -(-len(pairs) // rows)) * n_tables)


SHAPES = {"4_4": (4, 4), "4_1": (4, 1), "256_128": (256, 128), "4_9": (4, 9)}


def explained(n_tokens: int, length: int, stride: int, ids: Sequence[int] = (), width: int = 80) -> list[str]:
    """The lines of an explanation, without their colours; with the text's own words if there are ids."""
    drawn = find_drawn(n_tokens, length, stride)
    lines = explain_lines(cover(n_tokens, length, stride), drawn, ids, decode if ids else None, width=width)
    return ["".join(text for text, _ in line).rstrip() for line in lines]


@pytest.mark.parametrize("name", SHAPES)
def test_explanations_are_as_they_were(name: str) -> None:
    """The account and the explanation of a max_length and a stride, in words and to scale, are a golden file."""
    text = explained(5145, *SHAPES[name], story(0, 64))
    lines = [summary(cover(5145, *SHAPES[name]), *SHAPES[name]), *text, "", *explained(5145, *SHAPES[name])[6:13]]
    check_golden(f"explain_{name}.txt", "\n".join(lines) + "\n")


@given(n_tokens=st.integers(2, 90), length=st.integers(1, 30), stride=st.integers(1, 9))
def test_the_drawing_is_a_brute_force_drawing(n_tokens: int, length: int, stride: int) -> None:
    """Only windows that exist are drawn; their marks, and each target's count, stand where a loop puts them."""
    starts = list(range(0, n_tokens - length, stride))[:4]
    assume(starts and starts[-1] + length < 60)
    counts = [sum(i + 1 <= t <= i + length for i in starts) for t in range(starts[-1] + length + 1)]

    lines = explained(n_tokens, length, stride)

    assert lines[7 : 8 + len(starts)] == [
        *(f"window {k} {' ' * i}{'#' * length}>" for k, i in enumerate(starts)),
        f"target   {''.join(map(str, counts))}",
    ]


@settings(max_examples=50)
@given(text=adversarial_text, length=st.integers(1, 12), stride=st.integers(1, 9), width=st.integers(40, 120))
def test_a_drawing_in_words_has_each_mark_under_its_token(text: str, length: int, stride: int, width: int) -> None:
    """Any text's tokens stand in columns that fit the width; under each are its marks and its count, as of a loop."""
    ids = encode(text)
    starts = list(range(0, len(ids) - length, stride))[:4]
    assume(starts and starts[-1] + length < 64)
    lines = explained(len(ids), length, stride, ids, width)
    assume(lines[7].startswith("  "))  # in words, where that fits

    assert all(cell_len(line) <= width for line in lines[6 : lines.index(next(x for x in lines if "(target" in x))])
    rows: dict[str, list[str]] = {}
    for line in lines[6:]:
        if line.startswith(("token", "target", "window")) and "=" not in line:
            rows.setdefault(line[:9].strip(), []).extend(line[9:].split())
    assert [int(place) for place in rows["token"]] == list(range(starts[-1] + length + 1))
    assert [int(count) for count in rows["target"]] == [
        sum(i + 1 <= t <= i + length for i in starts) for t in range(starts[-1] + length + 1)
    ]
    assert [[mark[0] for mark in rows[f"window {k}"]] for k in range(len(starts))] == [["#"] * length + [">"]] * len(
        starts
    )


@given(length=st.integers(1, 2000), stride=st.integers(1, 2000))
def test_a_drawing_fits_and_is_true_to_scale(length: int, stride: int) -> None:
    """Any shape is drawn in at most 60 columns and a label, its windows and the numbers above them to scale."""
    lines = explained(100_000, length, stride)

    ruler = lines[6].removeprefix("token    ")
    scale = next(filter(None, (re.search(r"each column is (\w+) token", line) for line in lines)))[1]
    unit = 1 if scale == "one" else int(scale)
    drawn = [line[9:] for line in lines[7:11]]
    assert all(len(line) <= 62 for line in drawn)
    assert [len(line) - len(line.lstrip(" ")) for line in drawn] == [k * stride // unit for k in range(4)]
    assert all(int(number[0]) == number.start() * unit for number in re.finditer(r"\d+", ruler))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((2, 1, 1), "1 token serves as input, 1 as target; all 2 are used."),
        ((50, 20, 40), "stride 40 > max_length 20: this text has one window, and so no gap."),
        (
            (50, 4, 5),
            "stride 5 > max_length 4: the token between two windows is the last target of the first, and no input.",
        ),
        (
            (50, 4, 6),
            "stride 6 > max_length 4: 1 token between windows is never used, 7 of 50 in this text. Use --stride",
        ),
    ],
)
def test_what_is_explained_is_so_of_this_text(shape: tuple[int, int, int], said: str) -> None:
    """Of one token or window, and of windows with nothing between them, no more is said than is so."""
    assert any(line.startswith(said) for line in explained(*shape))
