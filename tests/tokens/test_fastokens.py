"""Promises of fastokens: pieces end where tiktoken's do, in any text that is not refused; so the ids are the same."""

import itertools
import random
import re
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.new_code_points import block
from support.reference import rank_lines
from support.strategies import PIECES
from support.streams import Load, text_block

from llmprep.errors import BackendsDifferError
from llmprep.tokens.backends import Encoder
from llmprep.tokens.fastokens import ENCODINGS, Fastokens, is_exact, is_mostly_chinese
from llmprep.tokens.tiktoken import tiktoken_encoding
from llmprep.vocabulary.vocabulary import END_OF_TEXT, Vocabulary

Differs = Callable[[str], bool]
CONTEXT = (
    " a{0}b {0}A{0}1{0}2 x{0}'ve{0} {0}{0}\n{0}.{0} x'{0}e X'V{0} l'L{0} it's{0}S'{0}A\r{0}\t{0}/\n\u4e2d{0}{0} end"
)
SHORT = " a{0}b x'{0}{0}e 1{0}\n{0} "
"""For ideographs and Hangul, and where nearly no code point stands for anything: 90 % of all."""


def pairs(vocabulary: Vocabulary) -> Vocabulary:
    """A vocabulary with its pattern, but with a token for any two bytes, so that the ids show where pieces end."""
    two = [bytes(pair) for pair in itertools.product(range(256), repeat=2)]
    random.Random(1).shuffle(two)  # noqa: S311 - so that the ends of pieces, not the order of ranks, decide
    ranks = {token: rank for rank, token in enumerate([*(bytes([byte]) for byte in range(256)), *two])}
    eot = {END_OF_TEXT: len(ranks)}
    return replace(vocabulary, stated_ranks=ranks, rank_file=rank_lines(ranks), fingerprint="pairs", special_tokens=eot)


@pytest.fixture(scope="module", params=ENCODINGS)
def differs(request: pytest.FixtureRequest, load: Load) -> Differs:
    """Tells whether fastokens gives other ids than tiktoken, with `pairs`."""
    vocabulary = pairs(load(request.param))
    exact, fast = tiktoken_encoding(vocabulary), Fastokens(vocabulary)

    def differs(text: str) -> bool:
        expected = exact.encode_to_numpy(text, disallowed_special=())
        return not np.array_equal(expected, fast.encode(text.encode(), special=False))

    return differs


@given(text=st.lists(st.sampled_from([*PIECES, "'", "\u017f", "'\u017f"]), max_size=30).map("".join))
def test_pieces_end_where_tiktokens_do(differs: Differs, text: str) -> None:
    """In any text that is not refused, up to white space at its end."""
    assert not is_exact(text.encode()) or not differs(f"{text}.")
    assert differs("a'\u017fe")


def test_white_space_at_the_end_changes_no_id(load: Load) -> None:
    """There pieces differ, after a line end, with cl100k_base: no token of it reaches over that place."""
    with pytest.raises(
        BackendsDifferError, match=r"^text: fastokens and tiktoken differ in the 4 bytes from byte 0 on"
    ):
        Encoder(pairs(load("cl100k_base")), "allow", "fastokens").encode(text_block("a \n "))
    assert [token for token in load("cl100k_base").ranks if re.search(rb"[\r\n][^\r\n]+\Z", token)] == []


@pytest.mark.slow
def test_every_other_code_point_is_safe(differs: Differs) -> None:
    """Pieces end where tiktoken's do around each code point but one that is refused; of unassigned, one of eight."""
    found = set()
    for first in range(0, sys.maxunicode + 1, 256):
        many = 0x3400 <= first < 0xA000 or 0xAC00 <= first < 0xD700 or first >= 0x20000
        context = SHORT if many else CONTEXT
        codes = block(first, step=8)
        if differs("".join(context.format(chr(code)) for code in codes)):
            found |= {code for code in codes if differs(context.format(chr(code)))} or set(codes)
    assert found == {code for code in range(0x250) if not is_exact(chr(code).encode())} == {0x17F}


@pytest.fixture(scope="module")
def cl100k(load: Load) -> Fastokens:
    """The encoder of cl100k_base."""
    return Fastokens(load("cl100k_base"))


@pytest.mark.parametrize("piece", [" ", "\n", "a", "-", "\u4e2d", "<|endoftext|>a"])
def test_long_runs_and_special_strings(piece: str, load: Load, cl100k: Fastokens) -> None:
    """A run that tiktoken would not take is encoded as a shorter one is; the end-of-text string is what it is told."""
    exact, fast = tiktoken_encoding(load("cl100k_base")), cl100k
    for special in (True, False):
        allowed = {END_OF_TEXT} if special else set()
        few = exact.encode(piece * 4096, allowed_special=allowed, disallowed_special=())
        many = fast.encode((piece * (1 << 20)).encode(), special=special)
        assert many.tolist() == few * 256


def test_what_is_mostly_chinese() -> None:
    """Chinese and Japanese are, also with some Latin; Korean, and Chinese between much code, are not."""
    texts = ["\u4e2d\u6587\u3002", "\u304b\u306a abc", "\uac00\ub098", "int x; // \u4e2d", "words", ""]
    assert [is_mostly_chinese(text.encode()) for text in texts] == [True, True, False, False, False, False]
