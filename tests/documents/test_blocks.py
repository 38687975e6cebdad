"""Promises of blocks: text is cut only where that changes no id, as soon as it can be, in linear time."""

from __future__ import annotations

import io
import itertools
import string
import time
import unicodedata
from collections.abc import Iterator
from functools import partial

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from support.reference import tiktoken_encoding
from support.strategies import adversarial_text

from llmprep.documents import blocks
from llmprep.documents.blocks import SECOND_CUT, cut_blocks, find_safe_cut, last_safe_cut
from llmprep.errors import DataError
from llmprep.vocabulary.definitions import define

LETTERS = [
    *map(ord, string.ascii_letters + string.digits),
    *(code for code in range(0xC0, 0x180) if code not in (0xD7, 0xF7)),
    *range(0x3B1, 0x3CF),
    *range(0x400, 0x480),
    *range(0x5D0, 0x5EB),
    *(code for code in range(0x621, 0x64B) if not 0x63B <= code <= 0x640),
    *range(0x915, 0x93A),
    *range(0xE01, 0xE2F),
    *(*range(0x3041, 0x3094), *range(0x30A1, 0x30FB)),
    *range(0x5000, 0x9000),
    *range(0xAC00, 0xD000),
]
"""Code points after which text may be cut."""
IS_LETTER = frozenset(LETTERS)
NEXT = " \t\r\n\u3001\u3002\uff0c"
"""Characters before which text may be cut."""
SECOND = set(string.punctuation) - set("'|_")
"""Signs before which text without such a place may be cut, after an ASCII letter or digit."""
ASCII_WORDS = string.ascii_letters + string.digits
ENCODINGS = ("r50k_base", "p50k_base", "cl100k_base", "o200k_base")


def safe_cuts(text: str) -> list[int]:
    """Where a text may be cut, in bytes, by the rule as it is written down."""
    places = (k for k in range(1, len(text)) if ord(text[k - 1]) in IS_LETTER and text[k] in NEXT)
    return [len(text[:k].encode()) for k in places]


def cut(data: bytes, block_bytes: int, begin: int = 0) -> list[bytes]:
    return list(cut_blocks("a.txt", io.BytesIO(data).read, block_bytes, begin))


def ids_change_at(name: str, left: str, right: str) -> bool:
    """Whether the two sides encoded apart give other ids than the whole."""
    encode = partial(tiktoken_encoding(name).encode, disallowed_special=())
    return encode(left) + encode(right) != encode(left + right)


# --- where text may be cut ------------------------------------------------------------------------


def test_the_letters_are_these() -> None:
    """Of all code points, text may be cut after exactly the listed ones, each a letter or digit."""
    others = (chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000 and code not in IS_LETTER)

    assert last_safe_cut("".join(f"{char} " for char in others).encode()) == 0
    assert all(last_safe_cut(f"{chr(code)} ".encode()) == len(chr(code).encode()) for code in LETTERS)
    assert {unicodedata.category(chr(code))[0] for code in LETTERS} == {"L", "N"}


@pytest.mark.parametrize(
    ("before", "step"),
    [
        *((before, 397) for before in ("", " ", "a", "7", "'", ".", "\u3002", "\n")),
        pytest.param("", 1, marks=pytest.mark.slow),
    ],
)
def test_a_safe_cut_changes_no_id(before: str, step: int) -> None:
    """After each letter, before each space or stop, the two sides encoded apart give the ids of the whole."""
    letters = [before + chr(code) for code in LETTERS[::step]]

    for name in ENCODINGS:
        changed = [(left, right) for left in letters for right in NEXT if ids_change_at(name, left, right + " 've")]
        assert changed == []


@given(text=st.text("a1Z.\u00d7\u00e9\u0436\u05d0\u0639\u0915\u0301\u4e2d\u5b57\u30fb\u30a2\ud55c" + NEXT, max_size=40))
def test_the_first_and_the_last_safe_cut_are_found(text: str) -> None:
    """The last is the largest place, or 0; the first at or after a position is the least from there on, or None."""
    places, data = safe_cuts(text), text.encode()

    assert last_safe_cut(data) == max(places, default=0)
    for after in range(len(data) + 1):
        assert find_safe_cut(data, after) == min((place for place in places if place >= after), default=None)


@pytest.mark.parametrize("distance", [0, 1, 505, 506, 507, 508, 1530, 4095, 4096, 65_536, 2_000_000])
def test_the_last_safe_cut_is_found_however_far_back(distance: int) -> None:
    """The search widens until it finds the cut, also where the cut lies across the edge of a search."""
    assert last_safe_cut(b"one two " + b"." * distance) == 7
    assert last_safe_cut("\u4e2d\u6587\u3002".encode() + b"." * distance) == 6


def test_the_second_cuts_are_these() -> None:
    """A second cut stands between an ASCII letter or digit and ASCII punctuation, but for three signs."""
    every = [left + right for left in map(chr, range(128)) for right in map(chr, range(128))]

    found = {pair for pair in every if last_safe_cut(pair.encode(), SECOND_CUT)}

    assert found == {left + right for left in ASCII_WORDS for right in SECOND}
    assert not last_safe_cut("\u00e9,\u4e2d,".encode(), SECOND_CUT)


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_second_cut_changes_no_id(name: str) -> None:
    """At each of them, whatever stands around, the two sides encoded apart give the ids of the whole."""
    around = (
        ("", ""), (" ", "'ve"), ("it'", "s x"), ("a", "\r\n"), ("7", "7"), (".", "/\n"), ("\n", "\u4e2d"), ("'l", "l")
    )  # fmt: skip

    for before, after in around:
        pairs = ((before + letter, sign + after) for letter in ASCII_WORDS for sign in SECOND)
        assert [pair for pair in pairs if ids_change_at(name, *pair)] == []


def test_no_special_token_holds_a_cut() -> None:
    """Of all that tiktoken knows: a cut inside one would make text of it."""
    known = {token for name in tiktoken.list_encoding_names() for token in define(name).special_tokens}

    assert "<|endoftext|>" in known
    assert len(known) > 10
    assert [
        token for token in known if last_safe_cut(token.encode()) or last_safe_cut(token.encode(), SECOND_CUT)
    ] == []


# --- blocks ---------------------------------------------------------------------------------------


@given(text=adversarial_text, sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_every_read_is_cut_at_its_last_safe_place(text: str, sizes: list[int]) -> None:
    """Whatever is read at a time, blocks join to the text, and end at the last place that each read shows."""
    text = f"a {text}"
    file, lengths = io.BytesIO(text.encode()), itertools.cycle(sizes)
    parts = list(iter(lambda: file.read(next(lengths)), b""))
    ends = list(itertools.accumulate(map(len, parts)))
    shown_at = {place: place + len(text.encode()[place:].decode()[0].encode()) for place in safe_cuts(text)}
    expected = {max((place for place, at in shown_at.items() if at <= end), default=0) for end in ends}
    left = iter(parts)

    found = list(cut_blocks("a.txt", lambda _: next(left, b""), 1))

    assert b"".join(found) == text.encode()
    cuts = list(itertools.accumulate(map(len, found)))[:-1]
    assert cuts == (sorted(expected - {0}) if len(parts) > 1 else [])


def test_text_is_cut_as_soon_as_it_can_be() -> None:
    """With one-byte reads, before each space that comes after a word; what is read at once is not cut."""
    data = b"I HAD always\tthought - so\r\nit is"

    assert cut(data, 1) == [b"I", b" HAD", b" always", b"\tthought", b" - so", b"\r\nit", b" is"]
    assert cut(data, len(data)) == [data]
    assert cut(data, len(data) - 1) == [b"I HAD always\tthought - so\r\nit", b" is"]
    assert cut(b"", 1) == []
    assert cut("\u4e2d\u6587\u3002\u4e2d".encode(), 1) == ["\u4e2d\u6587".encode(), "\u3002\u4e2d".encode()]


def test_text_without_a_cut_is_one_block() -> None:
    """Text with no safe place grows into one block, however small the blocks are."""
    data = "\u2026\u2026\n".encode() * 1000

    assert cut(data, 10) == [data]


@given(
    text=st.lists(st.sampled_from(["a", "b7", "_", "|", "'", ",", "]", ".", "\u2026", "x y"]), max_size=80).map(
        "".join
    ),
    block_bytes=st.integers(1, 9),
    uncut=st.integers(1, 40),
)
def test_long_text_without_a_safe_cut_is_cut_at_second_ones(text: str, block_bytes: int, uncut: int) -> None:
    """Compact JSON becomes blocks that are cut at second places, and there only where no safe one came for long."""
    data = text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "UNCUT_BYTES", uncut)
        found = cut(data, block_bytes)

    assert b"".join(found) == data
    for left, right in itertools.pairwise(found):
        at_safe_place = last_safe_cut(left[-1:] + right[:1])
        assert at_safe_place or (last_safe_cut(left[-1:] + right[:1], SECOND_CUT) and len(left + right) >= uncut)


def test_compact_text_is_cut_after_a_mebibyte() -> None:
    """Blocks of text without white space are of bounded size."""
    data = b"[" + b",".join(b'{"id":%d,"of":[%d,7]}' % (k, k * k) for k in range(100_000)) + b"]"

    found = cut(data, 1 << 16)

    assert b"".join(found) == data
    assert [(1 << 20) - (1 << 16) < len(block) <= 1 << 20 for block in found[:-1]] == [True] * (len(found) - 1)


@pytest.mark.parametrize("begin", [0, 500])
def test_growth_ends_at_the_cap(begin: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the cap the error says how much stands uncut and where in the source it begins."""
    monkeypatch.setattr(blocks, "MAX_UNCUT_BYTES", 1000)

    with pytest.raises(DataError, match=rf"^a\.txt: 1097 bytes from byte {begin + 3} on without a letter or digit"):
        cut(b"one " + b"." * 5000, 100, begin)


def test_the_cap_is_on_one_stretch_and_not_on_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text much longer than the cap is cut as long as no stretch between two places is longer than the cap."""
    monkeypatch.setattr(blocks, "MAX_UNCUT_BYTES", 1000)
    data = (b"." * 700 + b"a ") * 20

    assert b"".join(cut(data, 100)) == data
    assert cut(b"." * 1000, 100) == [b"." * 1000]


def test_growth_takes_linear_time() -> None:
    """Four times the uncut text takes about four times as long, not sixteen times."""

    def seconds(n_bytes: int) -> Iterator[float]:
        for _ in range(3):
            begun = time.perf_counter()
            assert cut(b"." * n_bytes, 1024) == [b"." * n_bytes]
            yield time.perf_counter() - begun

    assert any(min(seconds(1 << 21)) < 9 * min(seconds(1 << 19)) for _ in range(3))
