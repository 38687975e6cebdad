"""Promises of plain lines: text is inert and none of it vanishes, numbers read well, pairs have their form."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reference import encode, pair_rows, tiktoken_encoding
from support.strategies import adversarial_text

from llmprep.preview.plain import number, pair_lines, plural, size, visible

HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
JOINERS = "\u200c\u200d"


def is_inert(char: str) -> bool:
    """Whether a character does nothing to a terminal but appear."""
    return char in JOINERS or unicodedata.category(char) not in HARMFUL


def test_each_code_point_that_acts_on_a_terminal_is_escaped_and_no_other() -> None:
    """Of all code points, those of Cc, Cf (but two joiners), Cs, Zl and Zp become what Python writes for them."""
    every = list(map(chr, range(sys.maxunicode + 1)))

    shown = visible("".join(every))

    assert shown == "".join(c if is_inert(c) else c.encode("unicode_escape").decode() for c in every)


@given(parts=st.lists(st.text(max_size=3), max_size=4))
def test_visible_maps_each_character_on_its_own(parts: list[str]) -> None:
    """What a character becomes does not depend on its neighbours, so texts may be joined before or after."""
    assert visible("".join(parts)) == "".join(map(visible, parts))


def test_markup_stays_text() -> None:
    """Markup, emoji names, accents and joined emoji are nothing special."""
    text = "[bold] :smile: caf\u00e9 \U0001f468\u200d\U0001f469"

    assert visible(text + "\n") == text + r"\n"


@pytest.mark.parametrize(("value", "words"), [(0, "0"), (999, "999"), (1000, "1,000"), (10**9, "1,000,000,000")])
def test_numbers_are_grouped(value: int, words: str) -> None:
    """Digits are grouped by thousands, and a count's noun is singular only for one."""
    assert number(value) == words
    assert [plural(value, "token"), plural(1, "token")] == [f"{words} tokens", "1 token"]


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [
        (0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"),
        (1_500_000_000, "1.5 GB"), (2 * 10**12, "2.0 TB"), (10**15, "1.0 PB"), (10**19, "10000.0 PB"),
    ],
)  # fmt: skip
def test_sizes_are_in_powers_of_1000(n_bytes: int, words: str) -> None:
    """Bytes are given in the largest unit that leaves 1.0 or more."""
    assert size(n_bytes) == words


@settings(max_examples=15)
@given(text=adversarial_text.map(lambda text: f"{text[:60]} and\x1b"))
def test_plain_pairs_are_inert(text: str) -> None:
    """Each pair of any text has one line for its ids and one for its text, and none acts on a terminal."""
    ids = encode(text)
    pairs = list(pair_rows(ids, len(ids) - 1))
    decode = tiktoken_encoding("gpt2").decode

    lines = list(pair_lines(pairs, decode))

    assert lines[: len(pairs)] == [f"{context} ----> {target}" for context, target in pairs]
    assert lines[len(pairs) :] == [f"{visible(decode(c))} ----> {visible(decode([target]))}" for c, target in pairs]
    assert all(is_inert(char) for line in lines for char in line)


def test_pairs_without_a_vocabulary_are_ids() -> None:
    """Where ids cannot be decoded there are only the lines of ids."""
    lines = list(pair_lines([([290], 4920), ([290, 4920], 2241)], None))

    assert lines == ["[290] ----> 4920", "[290, 4920] ----> 2241"]
