"""Promises of blocks: text is cut only where that changes no id, as soon as it can be, in linear time."""

import functools
import io
import itertools
import string
import timeit
import unicodedata
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from support.sweeping import all_pairs, encoder

from llmprep.documents import blocks
from llmprep.documents.blocks import cut_blocks
from llmprep.documents.cuts import SECOND_CUT, find_safe_cut, last_safe_cut
from llmprep.errors import DataError
from llmprep.vocabulary.definitions import define
from llmprep.vocabulary.patterns import KNOWN, KnownPattern

ASCII_WORDS = string.ascii_letters + string.digits
LETTERS = [
    *map(ord, ASCII_WORDS), *(code for code in range(0xC0, 0x180) if code not in (0xD7, 0xF7)), *range(0x3B1, 0x3CF),
    *range(0x400, 0x480), *range(0x5D0, 0x5EB), *range(0x621, 0x63B), *range(0x641, 0x64B), *range(0x915, 0x93A),
    *range(0xE01, 0xE2F), *range(0x3041, 0x3094), *range(0x30A1, 0x30FB), *range(0x5000, 0x9000),
    *range(0xAC00, 0xD000),
]  # fmt: skip
"""Code points after which text may be cut."""
IS_LETTER = frozenset(map(chr, LETTERS))
NEXT = " \t\r\n\u3001\u3002\uff0c"
"""Characters before which text may be cut."""
SECOND = set(string.punctuation) - set("'|_")
"""Signs before which text without such a place may be cut, after an ASCII letter or digit."""
MIXED = {
    *itertools.product(string.ascii_letters, string.digits),
    *itertools.product(string.digits, string.ascii_letters),
}
"""Letters and digits between which it may be cut too."""
AROUND = [
    ("", ""),
    (" ", "'ve"),
    ("it'", "s x"),
    ("a", "\r\n"),
    ("7", "7"),
    (".", "/\n"),
    ("\n", "\u4e2d"),
    ("'l", "l"),
]
"""What stands before and after a cut."""


@functools.cache
def cut_encoder(known: KnownPattern) -> Callable[[str], list[int]]:
    """Encode by a known pattern, with ranks in which two bytes that lie across a cut merge before all others."""
    ends = sorted({chr(code).encode()[-1:] for code in LETTERS})
    across = itertools.product(ends, sorted({sign.encode()[:1] for sign in {*NEXT, *SECOND, *ASCII_WORDS}}))
    return encoder(known, all_pairs(0, map(b"".join, across)))


def cut(data: bytes, block_bytes: int, begin: int = 0) -> list[bytes]:
    return list(cut_blocks("a.txt", io.BytesIO(data).read, block_bytes, begin))


def test_the_letters_are_these() -> None:
    """Of all code points up to U+FFFF, and some above, text may be cut after exactly these letters and digits."""
    codes = itertools.chain(range(0xD800), range(0xE000, 0x10000), range(0x10000, 0x110000, 61))
    assert last_safe_cut("".join(f"{chr(code)} " for code in codes if chr(code) not in IS_LETTER).encode()) == 0
    assert all(last_safe_cut(f"{chr(code)} ".encode()) == len(chr(code).encode()) for code in LETTERS)
    assert {unicodedata.category(chr(code))[0] for code in LETTERS} == {"L", "N"}


def test_the_second_cuts_are_these() -> None:
    """They are between ASCII letters, digits and punctuation, but for three signs; no special token has one."""
    every = map("".join, itertools.product(map(chr, range(128)), repeat=2))
    special = {token for name in tiktoken.list_encoding_names() for token in define(name).special_tokens}

    found = {pair for pair in every if last_safe_cut(pair.encode(), SECOND_CUT)}
    assert found == set(map("".join, [*itertools.product(ASCII_WORDS, SECOND), *MIXED]))
    assert not last_safe_cut("\u00e9,\u4e2d,".encode(), SECOND_CUT)
    assert not any(last_safe_cut(token.encode(), SECOND_CUT) or last_safe_cut(token.encode()) for token in special)


@pytest.mark.parametrize("step", [397, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("before", "after"), AROUND)
def test_a_cut_changes_no_id(before: str, after: str, step: int) -> None:
    """The two sides of a cut encoded apart give the ids of the whole, whatever stands around, for each known pattern.

    In the vocabulary any two bytes merge, and first those across a cut: where no piece ended at it, that would show.
    Every letter is tried alone and in a word, and elsewhere in one of the places at least; ideographs and Hangul, of
    which there are 25,600, each before one of the seven characters, in turn.
    """
    first, step = (AROUND.index((before, after)) % 5, 5) if step == 1 and before not in ("", " ") else (0, step)
    letters, words = map(chr, LETTERS[first::step]), ASCII_WORDS[:: min(step, 7)]
    pairs = [(letter, sign) for letter in letters for sign in (NEXT if letter < "\u5000" else NEXT[ord(letter) % 7])]
    pairs += [*itertools.product(words, SECOND), *sorted(MIXED)[:: min(step, 7)]]
    for known in KNOWN:
        if known.may_cut and (len(known.splits) == 1 or find_spec("tokenizers")):
            encode = cut_encoder(known)
            apart = functools.cache(encode)
            for letter, sign in pairs:
                left, right = before + letter, sign + after
                assert apart(left) + apart(right) == encode(left + right), known.name


def test_a_place_that_is_no_cut_would_show() -> None:
    """The vocabulary of the test before tells where a piece goes on: before a letter, a sign, or a line end."""
    for known in (known for known in KNOWN if known.may_cut and len(known.splits) == 1):
        for left, right in ((" ", "a"), (".", "."), (" ", "\n"), ("\n", "\r"), (".", ",")):
            encode = cut_encoder(known)
            assert encode(left) + encode(right) != encode(left + right), (known.name, left)


@given(text=st.text("a1Z.\u00d7\u00e9\u0436\u05d0\u0639\u0915\u0301\u4e2d\u5b57\u30fb\u30a2\ud55c" + NEXT, max_size=40))
def test_the_first_and_the_last_safe_cut_are_found(text: str) -> None:
    """The last is the largest place, or 0; the first at or after a position is the least from there on, or None.

    The search for the last widens until it finds one, also where it lies across the edge of a search.
    """
    data, pairs = text.encode(), itertools.pairwise(text)
    cuts = [len(text[:k].encode()) for k, (a, b) in enumerate(pairs, 1) if a in IS_LETTER and b in NEXT]
    for distance in (0, 505, 506, 507, 508, 1530):
        assert last_safe_cut(data + b"." * distance) == max(cuts, default=0)
    for after in range(len(data) + 1):
        assert find_safe_cut(data, after) == min((place for place in cuts if place >= after), default=None)


@pytest.mark.parametrize(
    ("size", "uncut", "expected"),
    [
        (1, 99, ["I", " HAD", " always", "\tthought", " - so", "\r\nit", " is"]),
        (8, 99, ["I HAD", " always", " - so"]),
        (20, 99, ["I HAD always"]),  # one read is one block
        (1, 99, ["\u6587", "\uff0c\u6587", "\u3002 a", " b"]),
        (2, 4, ["[a", ",b", ",c", ",d"]),
        (3, 6, ["f(x)a", ",b,c,d", ",e"]),
        (3, 9, ["[a,b7", "].[a,b7", "].[a,b7", "].it's_\u2026|x", " a"]),
        (1, 1, ["it's_x|y", ",z", " a"]),
    ],
)
def test_every_read_is_cut_at_its_last_place(
    size: int, uncut: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks end at the last safe place that a read, or its seam with what came before, shows.

    Where ``uncut`` bytes came without one, they end at a second one.
    """
    monkeypatch.setattr(blocks, "UNCUT_BYTES", uncut)
    assert [block.decode() for block in cut("".join(expected).encode(), size)] == expected


@pytest.mark.parametrize("begin", [0, 500])
def test_growth_ends_at_the_cap(begin: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the cap of one stretch, not of the text, the error says how much stands uncut and where it begins."""
    monkeypatch.setattr(blocks, "MAX_UNCUT_BYTES", 1000)
    assert b"".join(cut((b"." * 700 + b"a ") * 20, 100)) == (b"." * 700 + b"a ") * 20
    assert (cut(b"." * 1000, 100), cut(b"", 1)) == ([b"." * 1000], [])
    with pytest.raises(DataError, match=rf"^a\.txt: 1097 bytes from byte {begin + 3} on without a letter or digit"):
        cut(b"one " + b"." * 5000, 100, begin)


def test_growth_takes_linear_time() -> None:
    """Eight times the uncut text takes about eight times as long, not 64 times."""
    small, large = (timeit.repeat(partial(cut, b"." * n, 1024), number=1, repeat=3) for n in (1 << 17, 1 << 20))
    assert min(large) < 25 * min(small)
