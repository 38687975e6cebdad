"""Promises of merges: the steps of each piece lead to tiktoken's ids, and no piece is made up."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.reference import encode, tiktoken_encoding
from support.strategies import adversarial_text

from llmprep.tokens.merging import MAX_BYTES, find_pieces, merge_steps, merged_ids
from llmprep.vocabulary.building import build_ranked
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.vocabulary.patterns import KNOWN, KnownPattern
from llmprep.vocabulary.stated import Stated


@pytest.mark.parametrize("name", ["gpt2", "o200k_base"])
@given(text=adversarial_text, cut=st.integers(0, 40))
@example(text="a\u1c00", cut=2)
@example(text="a don'll", cut=3)
def test_pieces_and_their_steps_are_tiktokens(name: str, text: str, cut: int, vocab_dir: str) -> None:
    """Of a whole text, each token but a special one is in a piece, whose steps end in its ids; of a part, no other."""
    vocabulary, ids, encoding = load_vocabulary(name, vocab_dir), encode(text, name), tiktoken_encoding(name)
    pieces = list(find_pieces(ids, vocabulary, complete=True))
    covered = [k for piece in pieces for k in range(piece.first, piece.first + piece.n_tokens)]
    assert covered == [k for k, token_id in enumerate(ids) if token_id != vocabulary.eot_id]
    for piece in pieces:
        if piece.data:
            found = encoding.encode(piece.data.decode(), disallowed_special=())
            assert merged_ids(piece.data, piece.steps, vocabulary.ranks) == found
            assert ids[piece.first : piece.first + piece.n_tokens] == found
    part = list(find_pieces(ids[:cut], vocabulary, complete=False))
    assert part == pieces[: len(part)]


@pytest.mark.parametrize("known", [known for known in KNOWN if len(known.splits) == 1], ids=lambda known: known.name)
def test_each_known_pattern_explains_all(known: KnownPattern) -> None:
    """The pieces of a text of many kinds, one after another, are the text, whatever the pattern."""
    ranks, text = {bytes([byte]): byte for byte in range(256)}, "\u4e2d\u6587Ab's 123 x/\r\n \u00e9\u0301 \u0e01 "
    vocabulary = build_ranked("x", Stated("rank file", ranks, {}), known.splits[0], known, None)
    pieces = find_pieces(list(text.encode()), vocabulary, complete=True)
    assert b"".join(piece.data for piece in pieces) == text.encode()


@pytest.mark.parametrize("name", ["gpt2", "cl100k_base", "o200k_base"])
def test_steps_of_any_bytes_are_tiktokens(name: str, vocab_dir: str) -> None:
    """For runs of bytes that are one piece, merged by each vocabulary, a word that is in it whole included."""
    vocabulary, encoding = load_vocabulary(name, vocab_dir), tiktoken_encoding(name)
    for word in (" established", "supercalifragilistic", "\u4e2d\u6587\u5b57", "  ", "x" * MAX_BYTES, " don"):
        data = word.encode()
        assert merged_ids(data, merge_steps(data, vocabulary.ranks), vocabulary.ranks) == encoding.encode(word)


def test_a_whole_piece_is_looked_up_first() -> None:
    """As in tiktoken, a piece that has a rank is one token even where no merges lead to it."""
    ranks = {b"a": 0, b"b": 1, b"c": 2, b"ab": 3, b"abc": 9, b"bc": 5}
    assert merge_steps(b"abc", ranks) == [(0, 3), (0, 9)]
    del ranks[b"ab"], ranks[b"bc"]
    assert merge_steps(b"abc", ranks) == []
    assert merged_ids(b"abc", [], ranks) == [9]


def test_what_the_pattern_does_not_explain_has_no_piece() -> None:
    """Ids that no text gives, ids without a token, and a word that is too long to be worked out are left or said so."""
    vocabulary = load_vocabulary("gpt2")
    made_up = [64, 64, 60_000, *encode(" tide"), 50256, *encode("a" * 4000)]
    pieces = list(find_pieces(made_up, vocabulary, complete=True))
    assert [(piece.first, piece.n_tokens, len(piece.data)) for piece in pieces] == [(3, 1, 5), (5, 1000, 0)]
