"""Promises of preview: text is inert and nothing of it vanishes, pictures stay as they are, explained counts are true.

A golden file is written anew only by ``UPDATE_GOLDEN=1 pytest tests/test_preview.py``.
"""

from __future__ import annotations

import io
import os
import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType
from support.reference import encode, pair_rows
from support.strategies import adversarial_text, window_shapes

from llmprep.preview.explain import coverage_lines, explain_lines
from llmprep.preview.plain import Decode, ellipsis, number, pair_lines, plural, row_pairs, size, visible
from llmprep.preview.screen import pair_table, shape_story, token_strip
from llmprep.tokens.decoding import decode_ids, token_table
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.windows.coverage import cover

GOLDEN = Path(__file__).parents[1] / "golden"
SGR = re.compile(r"\x1b\[[0-9;]*m")
HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
JOINERS = "\u200c\u200d"
HOSTILE = (
    "red \x1b[31m bell\x07 \x1b]52;c;aGk=\x07 \x9b2J \u202eevil\u202c "
    "[bold] [/b] [link=x]y[/link] :smile: caf\u00e9\r\n"
)

any_text = st.text(st.characters(), max_size=40)


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal whose size and colours are those that each test asks for."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture(scope="module")
def decode() -> Decode:
    """GPT-2's ids -> text."""
    table = token_table(load_vocabulary("gpt2"))
    return lambda ids: decode_ids(ids, table)


def draw(item: RenderableType, width: int = 80) -> str:
    """Return what a terminal of ``width`` columns is sent."""
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=True, width=width, color_system="truecolor", legacy_windows=False,
        markup=False, emoji=False, highlight=False,
    )  # fmt: skip
    console.print(item)
    return file.getvalue()


def check_golden(name: str, drawn: str) -> None:
    """Compare with a file of tests/golden; write it first where UPDATE_GOLDEN=1 asks for that."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_bytes(drawn.encode())
    assert drawn == path.read_bytes().decode()


def is_inert(text: str) -> bool:
    """Whether no character of ``text`` acts on a terminal."""
    return all(c in JOINERS or unicodedata.category(c) not in HARMFUL for c in text)


# --- visible --------------------------------------------------------------------------------------


def test_no_code_point_that_acts_on_a_terminal_stays() -> None:
    """Of all code points, visible leaves none of Cc, Cf (but the two joiners), Cs, Zl or Zp."""
    left = [code for code in range(sys.maxunicode + 1) if not is_inert(visible(chr(code)))]

    assert left == []


def test_every_other_code_point_stays() -> None:
    """Of all code points, visible changes no printable one, no joiner, and no space or unassigned one."""
    changed = [code for code in range(sys.maxunicode + 1) if is_inert(chr(code)) and visible(chr(code)) != chr(code)]

    assert changed == []


@given(text=any_text)
def test_visible_text_is_inert(text: str) -> None:
    """Any text, lone surrogates included, becomes inert, on one line, and can be encoded as UTF-8."""
    shown = visible(text)

    assert is_inert(shown)
    assert len(shown.splitlines()) <= 1
    assert shown.encode().decode() == shown


@given(text=any_text.filter(str.isprintable))
def test_printable_text_stays_as_it_is(text: str) -> None:
    """Printable text is returned unchanged."""
    assert visible(text) == text


@given(parts=st.lists(any_text, max_size=5))
def test_visible_maps_each_character_on_its_own(parts: list[str]) -> None:
    """What a character becomes does not depend on its neighbours, so texts may be joined before or after."""
    assert visible("".join(parts)) == "".join(map(visible, parts))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\n\r\t", r"\n\r\t"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b\x7f", r"\x9b\x7f"),
        ("\u202e\u2066\ufeff", r"\u202e\u2066\ufeff"),
        ("\U000e0041", r"\U000e0041"),
        ("\udcff", r"\udcff"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("[bold] :smile: caf\u00e9 \U0001f468\u200d\U0001f469", "[bold] :smile: caf\u00e9 \U0001f468\u200d\U0001f469"),
    ],
)
def test_what_is_written_out_reads_as_python_writes_it(text: str, shown: str) -> None:
    """Each harmful character becomes its Python escape, everything else stays."""
    assert visible(text) == shown


# --- words and numbers ----------------------------------------------------------------------------


@given(value=st.integers(0, 10**18))
def test_numbers_are_grouped_and_read_back(value: int) -> None:
    """Grouped digits, without their commas, are the number; a count's noun is singular only for one."""
    assert int(number(value).replace(",", "")) == value
    assert plural(value, "token") == number(value) + (" token" if value == 1 else " tokens")


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [
        (0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"),
        (1_500_000_000, "1.5 GB"), (10**15, "1.0 PB"), (10**19, "10000.0 PB"),
    ],
)  # fmt: skip
def test_sizes_are_in_powers_of_1000(n_bytes: int, words: str) -> None:
    """Bytes are told in the largest unit that keeps the figure at 1.0 or more and under 1000."""
    assert size(n_bytes) == words


def test_an_ellipsis_counts_what_is_left_out() -> None:
    """A preview of all says nothing, one of some says how many more there are."""
    assert [ellipsis(3, 3, "window"), ellipsis(2, 3, "window"), ellipsis(2, 9000, "window")] == [
        "",
        "... and 1 window more",
        "... and 8,998 windows more",
    ]


# --- plain lines ----------------------------------------------------------------------------------


def test_plain_pairs_have_the_reference_form(decode: Decode) -> None:
    """A pipe gets ``[290] ----> 4920`` lines, then the same pairs as text."""
    ids = encode(" and established himself")

    lines = list(pair_lines(pair_rows(ids, 2), decode))

    assert lines == [
        "[290] ----> 4920",
        "[290, 4920] ----> 2241",
        " and ---->  established",
        " and established ---->  himself",
    ]


@given(text=adversarial_text.filter(lambda text: len(encode(text)) > 1))
def test_plain_pairs_are_inert(decode: Decode, text: str) -> None:
    """Each pair of any text is one line for its ids and one for its text, and none acts on a terminal."""
    ids = encode(text)

    lines = list(pair_lines(pair_rows(ids, len(ids) - 1), decode))

    assert len(lines) == 2 * (len(ids) - 1)
    assert all(map(is_inert, lines))
    assert lines[len(ids) - 2] == f"{ids[:-1]} ----> {ids[-1]}"


def test_row_pairs_stay_inside_their_window() -> None:
    """The pairs of one window grow up to its length or to as many as are wanted, the last one onto its target."""
    assert row_pairs([5, 6, 7], 8, most=9) == [([5], 6), ([5, 6], 7), ([5, 6, 7], 8)]
    assert row_pairs([5, 6, 7], 8, most=1) == [([5], 6)]


# --- pictures -------------------------------------------------------------------------------------


def test_token_strip_golden(story: Path, decode: Decode) -> None:
    """Tokens are coloured cells over their ids, in lines that fit the terminal."""
    ids = encode(story.read_text(encoding="utf-8"))[:40]

    check_golden("token_strip.ansi", draw(token_strip(ids, decode, 80)))


def test_hostile_token_strip_golden(decode: Decode) -> None:
    """Control characters, markup, emoji names and broken characters are shown as cells like any other."""
    check_golden("token_strip_hostile.ansi", draw(token_strip(encode(HOSTILE), decode, 80)))


def test_pair_table_golden(story: Path, decode: Decode) -> None:
    """A window's pairs stand in a table: ids and target, then text and target, with the spaces of tokens visible."""
    ids = encode(story.read_text(encoding="utf-8"))[61:66]

    check_golden("pair_table.ansi", draw(pair_table(pair_rows(ids, 4), decode, title="window 0")))


def test_pair_table_without_a_vocabulary_golden() -> None:
    """Without a vocabulary the table shows ids alone."""
    check_golden("pair_table_ids.ansi", draw(pair_table([([290], 4920), ([290, 4920], 2241)], None)))


def test_shape_story_golden() -> None:
    """Each step from ids to input embeddings stands with its shape and the table it reads."""
    check_golden("shape_story.ansi", draw(shape_story((8, 4), 256, 50257, 1024)))


@pytest.mark.parametrize(("max_length", "stride"), [(4, 4), (4, 1), (256, 128), (4, 9)])
def test_explain_golden(max_length: int, stride: int) -> None:
    """The explanation of a max_length and a stride, for a text of 5,145 tokens, is as it was."""
    coverage = cover(5145, max_length, stride)

    lines = [*coverage_lines(coverage, max_length, stride), "", *explain_lines(coverage, max_length, stride)]

    check_golden(f"explain_{max_length}_{stride}.txt", "\n".join(lines) + "\n")


@given(text=adversarial_text, width=st.integers(1, 120))
def test_a_token_strip_is_inert_and_loses_no_token(decode: Decode, text: str, width: int) -> None:
    """For any text and width, a strip holds no escape but colours, and every token and id, in order."""
    ids = encode(text)

    strip = token_strip(ids, decode, width)

    bare = strip.plain
    assert is_inert(bare.replace("\n", ""))
    lines = bare.split("\n")
    assert [int(i) for line in lines[1::2] for i in line.split()] == ids
    shown = "".join(visible(decode([i])).replace(" ", "\u2423") for i in ids)
    assert "".join(lines[::2]).replace(" ", "") == shown
    if max(cell_len(line.rstrip(" ")) for line in lines) <= width:
        assert len(draw(strip, width).splitlines()) == len(lines)


@given(text=adversarial_text.filter(lambda text: len(encode(text)) > 1))
def test_a_pair_table_is_inert_and_loses_no_text(decode: Decode, text: str) -> None:
    """For any text, a table drawn holds no escape but colours, and the whole of each context's text."""
    ids = encode(text)[:9]

    drawn = draw(pair_table([(ids[:-1], ids[-1])], decode), width=4000)

    bare = SGR.sub("", drawn)
    assert is_inert(bare.replace("\n", ""))
    assert visible(decode(ids[:-1])).strip(" ") in bare
    assert " ".join(map(str, ids[:-1])) in bare


def test_markup_and_emoji_names_in_text_stay_text(decode: Decode) -> None:
    """What rich would take as markup, a link or an emoji is shown letter by letter."""
    text = "[bold]x[/bold] [/b] [link=http://a]y[/link] :smile: [red] \\[z]"

    drawn = SGR.sub("", draw(pair_table([(encode(text), 13)], decode), width=400))

    assert text in drawn


# --- explanations ---------------------------------------------------------------------------------


def starts(n_tokens: int, max_length: int, stride: int) -> Sequence[int]:
    """Where windows begin, as the course's loop has it."""
    return range(0, n_tokens - max_length, stride)


def figures(line: str) -> list[int]:
    """The whole numbers in a line."""
    return [int(digits.replace(",", "")) for digits in re.findall(r"\d[\d,]*\d|\d", line)]


@given(shape=window_shapes)
def test_the_account_of_tokens_is_a_brute_force_count(shape: tuple[int, int, int]) -> None:
    """Every figure of the account equals what counting token by token gives, and the sum that it states is true."""
    n, length, stride = shape
    windows = [range(i, i + length + 1) for i in starts(n, length, stride)]
    inputs = {i for window in windows for i in window[:-1]}
    targets = {i for window in windows for i in window[1:]}
    used = inputs | targets
    tail = n - 1 - max(used, default=-1)
    gap = n - len(used) - tail
    shared = len(set(range(length)) & set(range(stride, stride + length))) if windows else 0

    first, second, third = coverage_lines(cover(n, length, stride), length, stride)

    assert figures(first) == [n, len(windows), length, stride]
    assert figures(second) == [len(inputs), len(targets), len(used)]
    gaps = [gap] if stride > length else []
    assert figures(third) == [*gaps, tail, len(used), gap, tail, n, shared]
    assert len(used) + gap + tail == n


@given(length=st.integers(1, 30), stride=st.integers(1, 9))
def test_the_drawing_is_a_brute_force_drawing(length: int, stride: int) -> None:
    """Where a column is one token, each window's marks and each target's count stand where a loop puts them."""
    n_tokens = 3 * stride + length + 1
    counts = [sum(i + 1 <= t <= i + length for i in range(0, 4 * stride, stride)) for t in range(n_tokens)]

    lines = list(explain_lines(cover(1000, length, stride), length, stride))

    drawn = [line[9:] for line in lines if line.startswith("window ")]
    assert drawn == [" " * i + "#" * length + ">" for i in range(0, 4 * stride, stride)]
    (row,) = [line for line in lines if line.startswith("target ")]
    assert row[9:].split(" ")[0] == "".join(str(count) for count in counts)


@given(length=st.integers(1, 2000), stride=st.integers(1, 2000))
def test_a_drawing_fits_and_is_true_to_scale(length: int, stride: int) -> None:
    """Any shape is drawn in at most 60 columns and a label, each window beginning at its scaled place."""
    lines = list(explain_lines(cover(100_000, length, stride), length, stride))

    (ruler,) = [line for line in lines if line.startswith("token ")]
    unit = max(figures(ruler.partition("(")[2]), default=1)
    drawn = [line[9:] for line in lines if line.startswith("window ")]
    assert all(len(line) <= 62 for line in drawn)
    assert [len(line) - len(line.lstrip(" ")) for line in drawn] == [k * stride // unit for k in range(4)]


@given(shape=window_shapes.filter(lambda shape: len(starts(*shape)) > 0))
def test_consequences_are_a_brute_force_count(shape: tuple[int, int, int]) -> None:
    """The average, the gaps and the tail that the explanation names are what counting gives."""
    n, length, stride = shape
    targets = [i + 1 + k for i in starts(n, length, stride) for k in range(length)]
    tail = n - 1 - max(targets)

    text = "\n".join(explain_lines(cover(n, length, stride), length, stride))

    if stride < length:
        assert f"A token is a target {len(targets) / len(set(targets)):.1f} times on average" in text
        assert f"neighbours share {length - stride} of {length} tokens" in text
    elif stride == length:
        assert "Each token is a target once per epoch, all but the first" in text
        assert len(targets) == len(set(targets))
    else:
        between = stride - length - 1
        assert f"between two windows {plural(between, 'token')} are read by none" in text
        assert f"{between * (len(starts(n, length, stride)) - 1)} of {n} in this text" in text
    assert (f"The tail, the last {plural(tail, 'token')}, fills no window" in text) == (tail > 0)
    assert ("there is no tail" in text) == (tail == 0)


def test_goldens_are_all_in_use() -> None:
    """No golden file of a preview is left that no test compares with."""
    source = Path(__file__).read_text(encoding="utf-8")
    named = set(re.findall(r'check_golden\("([^"]+)"', source)) | set(explain_names())

    assert {path.name for pattern in ("*.ansi", "explain_*") for path in GOLDEN.glob(pattern)} == named


def explain_names() -> Iterator[str]:
    """Golden files of explanations."""
    for max_length, stride in ((4, 4), (4, 1), (256, 128), (4, 9)):
        yield f"explain_{max_length}_{stride}.txt"
