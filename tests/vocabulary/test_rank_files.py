"""Promises of files that hold ranks, and of the special tokens that go with them: `rank_lines`, `sound`, `tekken`."""

import base64
import json
from typing import Any

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from support.reference import gpt2_ranks, rank_lines

from llmprep.errors import FileFormatError
from llmprep.vocabulary.rank_lines import read_rank_lines
from llmprep.vocabulary.special_tokens import read_special_tokens
from llmprep.vocabulary.tekken import read_tekken

BYTES = {bytes([value]): value for value in range(256)}
LINES = rank_lines(BYTES)


@given(
    st.dictionaries(st.binary(min_size=2, max_size=9), st.none(), max_size=50), st.integers(0, 10**9), st.integers(1, 9)
)
def test_ranks_are_read_as_tiktokens_loader_reads_them(tokens: dict[bytes, None], begin: int, step: int) -> None:
    """Any tokens have their ids, wherever these begin, with holes, in any order, with any line ends."""
    ranks = {token: begin + step * number for number, token in enumerate([*tokens, *BYTES])}
    for data in (rank_lines(ranks), rank_lines(ranks).replace(b"\n", b"\r\n").rstrip(), b"\n" + rank_lines(ranks)):
        assert read_rank_lines("a", data).ranks == ranks


def test_a_real_rank_file_is_read_whole() -> None:
    """GPT-2's ranks are tiktoken's; 13 bytes that UTF-8 never has may be missing, and an empty token is left out."""
    assert read_rank_lines("a", rank_lines(gpt2_ranks())).ranks == gpt2_ranks()
    never = {bytes([value]) for value in (0xC0, 0xC1, *range(0xF5, 0x100))}
    few = {token: rank for token, rank in BYTES.items() if token not in never}
    read = read_rank_lines("a", rank_lines(few) + b"= 50256\n")
    assert (read.ranks, read.remarks) == (few, ("left out line 244, an empty token with the id 50256",))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "holds no ranks"),
        (LINES[:-6], "has no entry for the byte 0xff|line 256 is no token in base64"),
        (LINES + b"YWI=\n", "line 257 is no token in base64 and its id: YWI="),
        (LINES + b"YWI= -1\n", "line 257 is no token in base64 and its id: YWI= -1"),
        (LINES + b"YWI= 1_0\n", "line 257 is no token in base64"),
        (LINES + b"YW I= 10\n", "line 257 is no token in base64"),
        (LINES + b"YWI 300\n", "line 257 has a token that is no base64"),
        (LINES + b"\xff\x1b[31m= 10\n", r"line 257 is no token in base64 and its id: .\\x1b"),
        (LINES + b"YWI= 2147483648\n", "line 257 has the id 2147483648, which is not from 0 to 2147483647"),
        (LINES + b"YWI= 97\n", "line 257 has the id 97 of line 98"),
        (LINES + b"YQ== 256\n", "line 257 has the token of line 98"),
        (LINES.replace(b"QQ== 65\n", b""), r"has no entry for the byte 0x41 \('A'\), which a text may hold"),
    ],
)
def test_a_wrong_rank_file_is_refused(data: bytes, what: str) -> None:
    """Each fault of a rank file is one line, which names the file and the line."""
    with pytest.raises(FileFormatError, match=rf"^a\.tiktoken: ({what})") as refused:
        read_rank_lines("a.tiktoken", data)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"[1]", "is no JSON object"),
        (b'{"a": 1', r"no valid JSON: .* \(line 1, column 8\)"),
        (b'{"a": 1, "a": 2}', "the key a stands twice"),
        (b'{"a": NaN}', "NaN is no number"),
        (b"\xff", "not valid UTF-8 at byte 0"),
        (b'{"a":' * 100_000, "its JSON is nested too deeply"),
        (b'{"a": "1"}', "the id of a is no whole number: 1"),
        (b'{"a": true}', "the id of a is no whole number"),
        (b'{"a": -1}', "the id -1 is not from 0 to"),
        (b'{"a": 2147483648}', "the id 2147483648 is not from 0 to"),
        (b'{"": 7}', "a special token is empty; leave out the one with the id 7"),
        (b'{"a": 7, "b": 7}', "the special tokens a and b have one id, 7"),
        (b'{"<s": 7, "<s>": 8}', "the special token <s> begins with another, <s; leave out one"),
        (rb'{"\ud800": 7}', "holds half a character"),
    ],
)
def test_wrong_special_tokens_are_refused(data: bytes, what: str) -> None:
    """Each fault of a file of special tokens is one line."""
    with pytest.raises(FileFormatError, match=rf"^s\.json: .*{what}"):
        read_special_tokens("s.json", data)


def tekken(**changes: Any) -> dict[str, Any]:
    """A file with 256 bytes, "ab", "abc", one entry that is not counted, and 5 special tokens of which 3 have names."""
    tokens = [*BYTES, b"ab", b"abc", b"abcd"]
    names = [
        {"rank": rank, "token_str": name, "is_control": True} for rank, name in enumerate(("<unk>", "<s>", "</s>"))
    ]
    vocab = [
        {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
        for rank, token in enumerate(tokens)
    ]
    config = {"pattern": r"\p{L}+|\P{L}", "default_vocab_size": 263, "default_num_special_tokens": 5, "version": "v3"}
    return {"config": config | changes.pop("config", {}), "vocab": vocab, "special_tokens": names} | changes


def test_a_tekken_file_is_read_as_mistral_common_reads_it() -> None:
    """Ids are ranks and five more, only counted entries are there, and special tokens without a name get one."""
    read = read_tekken("tekken.json", json.dumps(tekken()).encode())
    assert read.ranks == {**{token: rank + 5 for token, rank in BYTES.items()}, b"ab": 261, b"abc": 262}
    assert read.special_tokens == {"<unk>": 0, "<s>": 1, "</s>": 2, "<SPECIAL_3>": 3, "<SPECIAL_4>": 4}
    assert (read.pattern, read.end_of_text) == (r"\p{L}+|\P{L}", "</s>")
    assert read.remarks == ("left out the last 1 entries of vocab, which default_vocab_size does not count",)
    encoding = tiktoken.Encoding(
        "t", pat_str=read.pattern or "", mergeable_ranks=read.ranks, special_tokens=read.special_tokens
    )
    assert encoding.encode("abcd</s>", allowed_special="all") == [262, 105, 2]
    unnamed = read_tekken("tekken.json", json.dumps(tekken(special_tokens=None)).encode())
    assert [*unnamed.special_tokens][2:] == ["</s>", "[INST]", "[/INST]"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"vocab": {}}, "has no config and vocab"),
        ({"config": {"pattern": None}}, "config has no pattern, default_vocab_size and"),
        ({"config": {"default_vocab_size": 265}}, "default_vocab_size 265 less .* is not from 256 to the 259 entries"),
        ({"config": {"default_num_special_tokens": -1}}, "default_num_special_tokens -1 is not"),
        ({"vocab": [{"rank": 0, "token_bytes": "!"}] * 300}, "entry 0 of vocab has no rank and token_bytes in base64"),
        ({"vocab": [{"rank": 1, "token_bytes": "YQ=="}] * 300}, "entry 0 of vocab has the rank 1"),
        ({"vocab": [{"rank": k, "token_bytes": "YQ=="} for k in range(300)]}, "entry 1 of vocab .* stands twice"),
        ({"special_tokens": [{"rank": 5, "token_str": "<s>"}]}, "entry 0 of special_tokens"),
        ({"special_tokens": [{}] * 6}, "special_tokens is no list of at most 5"),
        ({"special_tokens": [{"rank": 0, "token_str": "<SPECIAL"}]}, "begins with another"),
    ],
)
def test_a_wrong_tekken_file_is_refused(changes: dict[str, Any], what: str) -> None:
    """Each fault of a tekken.json is one line."""
    with pytest.raises(FileFormatError, match=rf"^tekken\.json: .*{what}"):
        read_tekken("tekken.json", json.dumps(tekken(**changes)).encode())
