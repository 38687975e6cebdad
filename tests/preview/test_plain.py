"""Promises of plain lines: text is inert and none of it vanishes, numbers read well, pairs have their form."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from support.reference import encode, pair_rows, tiktoken_encoding
from support.strategies import adversarial_text

from llmprep.preview.plain import number, pair_lines, plural, size, visible


def is_inert(char: str) -> bool:
    """Whether a character does nothing to a terminal but appear."""
    return char in "\u200c\u200d" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_each_code_point_that_acts_on_a_terminal_is_escaped_and_no_other() -> None:
    """Of all code points, those of Cc, Cf (but two joiners), Cs, Zl and Zp become what Python writes for them."""
    every = list(map(chr, range(sys.maxunicode + 1)))

    assert visible("".join(every)) == "".join(c if is_inert(c) else ascii(c)[1:-1] for c in every)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (number(999), "999"), (number(1000), "1,000"), (number(10**9), "1,000,000,000"),
        (plural(0, "token"), "0 tokens"), (plural(1, "token"), "1 token"), (plural(1286, "window"), "1,286 windows"),
        (size(0), "0 bytes"), (size(999), "999 bytes"), (size(1000), "1.0 kB"), (size(999_949), "999.9 kB"),
        (size(999_950), "1.0 MB"), (size(1_500_000_000), "1.5 GB"), (size(2 * 10**12), "2.0 TB"),
        (size(10**15), "1.0 PB"), (size(10**19), "10000.0 PB"),
    ],
)  # fmt: skip
def test_numbers_in_words(said: str, words: str) -> None:
    """Digits are grouped, a noun is singular only for one, and bytes have the largest unit that leaves 1.0 or more."""
    assert said == words


@settings(max_examples=15)
@given(text=adversarial_text.map(lambda text: f"{text[:60]} and\x1b"))
def test_pairs_are_inert_lines(text: str) -> None:
    """Each pair of any text has a line of ids and, with a vocabulary, one of text; none acts on a terminal."""
    ids, decode = encode(text), tiktoken_encoding("gpt2").decode
    pairs = list(pair_rows(ids, len(ids) - 1))

    as_ids, lines = list(pair_lines(pairs, None)), list(pair_lines(pairs, decode))

    assert as_ids == lines[: len(pairs)] == [f"{context} ----> {target}" for context, target in pairs]
    assert lines[len(pairs) :] == [f"{visible(decode(c))} ----> {visible(decode([target]))}" for c, target in pairs]
    assert all(is_inert(char) for line in lines for char in line)
