"""Promises of pickled encodings: what tiktoken pickles is read, with nothing run; anything else is refused."""

import collections
import pickle
import random
from contextlib import suppress

import pytest
import tiktoken
from support.reference import gpt2_ranks, tiktoken_encoding

from llmprep.errors import FileFormatError, UsageError
from llmprep.vocabulary.pickled import read_pickled

BYTES = {bytes([value]): value for value in range(256)}
SPECIAL = {"<|bos|>": 300, "<|user_start|>": 301}
STATE = {"name": "x", "pat_str": "x", "mergeable_ranks": BYTES, "special_tokens": SPECIAL}


def encoding(ranks: dict[bytes, int] = BYTES, special: dict[str, int] = SPECIAL) -> tiktoken.Encoding:
    return tiktoken.Encoding("rustbpe", pat_str=r"\p{L}+|\P{L}", mergeable_ranks=ranks, special_tokens=special)


class Raw:
    """What pickles as an encoding with any state."""

    def __init__(self, state: object) -> None:
        self.state = state

    def __reduce__(self) -> tuple[object, ...]:
        return (collections.OrderedDict, ()) if self.state is None else (print, (self.state,))


def with_state(state: object) -> bytes:
    """A pickled encoding with a state that tiktoken would not write."""
    return b"\x80\x02ctiktoken.core\nEncoding\n)\x81" + pickle.dumps(state, 2)[2:-1] + b"b."


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_tiktoken_pickles_is_read(protocol: int) -> None:
    """Of an encoding, pickled by any protocol from 2 on, pattern, ranks and special tokens are read."""
    data = pickle.dumps(encoding(gpt2_ranks(), {"<|endoftext|>": 50256}), protocol)
    read = read_pickled("tokenizer.pkl", data)
    assert (read.ranks, read.special_tokens) == (gpt2_ranks(), {"<|endoftext|>": 50256})
    assert (read.pattern, read.end_of_text) == (r"\p{L}+|\P{L}", None)


def test_a_damaged_pickle_is_refused() -> None:
    """Each beginning of a pickle, and each with some bytes changed, is refused or read: nothing else happens."""
    chance, whole = random.Random(1), pickle.dumps(encoding(), 4)  # noqa: S311
    for length in range(0, len(whole), 7):
        with pytest.raises(FileFormatError, match=r"^t\.pkl: no whole pickle"):
            read_pickled("t.pkl", whole[:length])
    for _ in range(2000):
        data = bytearray(whole)
        for place in chance.sample(range(len(whole)), 3):
            data[place] = chance.randrange(256)
        with suppress(FileFormatError, UsageError):
            read = read_pickled("t.pkl", bytes(data))
            assert {*map(type, read.ranks.values())} == {int}


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (pickle.dumps(Raw("x"), 2), "it names __builtin__.print; nothing of it was run"),
        (pickle.dumps(Raw("x"), 4), "it names builtins.print; nothing of it was run"),
        (pickle.dumps(Raw(None), 4), "it names collections.OrderedDict"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00utf16\x86R.", "it calls something"),
        (b"\x80\x02c__builtin__\nbytes\n)\x81.", "it makes another object than an encoding"),
        (b"\x80\x02c__builtin__\nbytes\n}b.", "it sets attributes of something that is no encoding"),
        (pickle.dumps({"a": [1]}, 4), "it uses the opcode 0x5d"),
        (b"\x80\x09.", "it is of protocol 9"),
        (b"\x80\x04}.x", "it goes on after its end"),
        (b"\x80\x04}\x94h\x00.", "it uses one dict twice"),
        (b"\x80\x04}(K\x01K\x02K\x01K\x03u.", "it has a key twice"),
        (b"\x80\x04)(K\x01K\x02u.", "it sets items of something that is no dict"),
        (pickle.dumps({"a": 1}, 4), "it has other parts than"),
        (with_state({"name": "x"}), "it has other parts than"),
        (with_state(STATE | {"mergeable_ranks": {"a": 1}}), "another type"),
        (with_state(STATE | {"special_tokens": {"a": "1"}}), "another type"),
        (with_state(STATE | {"mergeable_ranks": {**BYTES, b"ab": 7}}), "two of one id"),
        (with_state(STATE | {"mergeable_ranks": {b"ab": 7}}), "has no entry for the byte 0x00"),
        (with_state(STATE | {"special_tokens": {"<s>": 65}}), "the special token <s> has the id 65 of another entry"),
    ],
)  # fmt: skip
def test_any_other_pickle_is_refused(data: bytes, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A pickle that names, calls or holds anything else is one line, and nothing of it is run."""
    with pytest.raises(FileFormatError, match=rf"^t\.pkl: .*{what}"):
        read_pickled("t.pkl", data)
    assert capsys.readouterr().out == ""


def test_a_registered_encoding_is_named() -> None:
    """What tiktoken pickles as a name alone is refused with the option to use."""
    data = pickle.dumps(tiktoken_encoding("r50k_base"), 4)
    if b"mergeable_ranks" in data:  # it is not registered in this process
        data = with_state("r50k_base")
    with pytest.raises(UsageError, match="only names an encoding; leave it out, and say --encoding r50k_base"):
        read_pickled("t.pkl", data)
