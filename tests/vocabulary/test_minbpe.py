"""Promises of minbpe's files: their ids are those of minbpe's own loop, or they are refused."""

import itertools

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from llmprep.errors import FileFormatError
from llmprep.vocabulary.minbpe import read_minbpe

HEAD = "minbpe v1\n\n0\n"
A, B, C = b"abc"


def model(merges: list[tuple[int, int]], head: str = HEAD) -> bytes:
    return (head + "".join(f"{one} {other}\n" for one, other in merges)).encode()


def minbpe_ids(data: bytes, merges: list[tuple[int, int]]) -> list[int]:
    """Merge as minbpe does: of all pairs in the ids the one listed first, everywhere from left to right."""
    order, ids = {pair: 256 + rank for rank, pair in enumerate(merges)}, list(data)
    while found := [order[pair] for pair in itertools.pairwise(ids) if pair in order]:
        pair, merged = merges[min(found) - 256], []
        while ids:
            merged.append(min(found) if tuple(ids[:2]) == pair else ids[0])
            ids = ids[2:] if tuple(ids[:2]) == pair else ids[1:]
        ids = merged
    return ids


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=7))
def test_ids_are_minbpes_own(numbers: list[tuple[int, int]]) -> None:
    """Of any list of merges, tiktoken gives the ids of minbpe's loop for every short text, or the file is refused."""
    places = [A, B, *range(256, 264)]
    merges = [(places[one % (2 + rank)], places[other % (2 + rank)]) for rank, (one, other) in enumerate(numbers)]
    try:
        read = read_minbpe("a.model", model(merges))
    except FileFormatError:
        return
    encoding = tiktoken.Encoding("m", pat_str=read.pattern or "", mergeable_ranks=read.ranks, special_tokens={})
    for letters in itertools.product("ab", repeat=7):
        text = "".join(letters)
        assert encoding.encode(text) == minbpe_ids(text.encode(), merges)


def test_what_minbpe_saves_is_read() -> None:
    """Pattern, special tokens and merges are read; without a pattern a text is one piece."""
    pattern = r"\p{L}+|\P{L}"
    head = f"minbpe v1\n{pattern}\n2\n<|endoftext|> 300\n<|x|> 301\n"
    read = read_minbpe("a.model", model([(A, B), (256, C)], head))
    assert (read.pattern, read.special_tokens) == (pattern, {"<|endoftext|>": 300, "<|x|>": 301})
    assert [*read.ranks.items()][255:] == [(b"\xff", 255), (b"ab", 256), (b"abc", 257)]
    assert read_minbpe("a.model", model([(A, B)]).replace(b"\n", b"\r\n")).pattern == "(?s).+"
    assert len(read_minbpe("a.model", model([(A, B), (256, 256), (257, 257)])).ranks) == 259


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"minbpe v2\n\n0\n", "does not begin with minbpe v1, a pattern and the number of special tokens"),
        (b"minbpe v1\n\n\n", "does not begin with"),
        (b"minbpe v1\n\n2\na 300\n", "ends before its 2 special tokens do"),
        (b"minbpe v1\n\n99999999999\n", "ends before its 99999999999 special tokens do"),
        (b"minbpe v1\n\n1\na b 300\n", "line 4 is no special token and its id: a b 300"),
        (b"minbpe v1\n\n1\n\xff 300\n", "not valid UTF-8 at byte 13"),
        (b"minbpe v1\n\n1\na 65\n", "the special token a has the id 65 of another entry"),
        (model([(A, 256)]), "line 4 is no pair of ids before it: 97 256"),
        (model([(A, -1)]), "line 4 is no pair of ids before it"),
        (HEAD.encode() + b"97\n", "line 4 is no pair of ids before it"),
        (
            model([(A, A), *((rank, rank) for rank in range(256, 300))]),
            "line 14 is a merge to a token of more than 1024",
        ),
        (model([(A, B), (A, B)]), "line 5 is a second merge to the token of id 256"),
        (model([(A, B), (B, C), (A, 257)]), "line 6 is a merge that the merges before it do not lead to"),
    ],
)
def test_a_wrong_model_is_refused(data: bytes, what: str) -> None:
    """Each fault is one line, which names the line of the file."""
    with pytest.raises(FileFormatError, match=rf"^a\.model: .*{what}"):
        read_minbpe("a.model", data)
