"""Promises of backends: one answer from all, the right one chosen, a difference noticed."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from support.byte_level import added, document
from support.commands import SAMPLES, Call
from support.reference import encode
from support.streams import Build, Load, all_ids, piped, stream_paths, text_block

from llmprep.choices import BackendName, Effort, Special
from llmprep.errors import BackendsDifferError, DataError, UsageError
from llmprep.tokens import backends, tiktoken
from llmprep.tokens.backends import CHINESE_BYTES, DEFINED_BYTES, LARGE_BYTES, Encoder
from llmprep.tokens.fastokens import ENCODINGS
from llmprep.tokens.gigatoken import Gigatoken
from llmprep.tokens.tiktoken import Tiktoken, tiktoken_encoding
from llmprep.vocabulary.building import build_from_json
from llmprep.vocabulary.tokenizer_json import read_tokenizer_json
from llmprep.vocabulary.vocabulary import Vocabulary


@pytest.mark.parametrize("encoding", ["gpt2", "cl100k_base", pytest.param("o200k_base", marks=pytest.mark.slow)])
def test_all_backends_give_tiktokens_ids(encoding: str, build: Build) -> None:
    """Every sample text, of prose, code, twelve scripts and records, gives tiktoken's ids; threads share an encoder."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(SAMPLES.iterdir())]
    for special in get_args(Special)[:2]:
        expected = [encode(text, encoding, special) for text in texts]
        for backend in get_args(BackendName)[1 : 4 if encoding in ENCODINGS else 3]:
            with ThreadPoolExecutor(6) as pool:
                found = pool.map(build(encoding, special, backend).encode, map(text_block, texts))
                assert [ids.tolist() for ids in found] == expected, (special, backend)


def test_an_encoding_is_built_once(load: Load, gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders of one vocabulary share tiktoken's encoding; another has its own, and only the last few are kept."""
    monkeypatch.setattr(tiktoken, "_encodings", {})
    built, names = tiktoken_encoding(gpt2), ["r50k_base", "p50k_base", "p50k_edit"]
    assert [tiktoken_encoding(load(name)).name for name in names] == names
    assert Tiktoken(gpt2)._encoding is Tiktoken(gpt2)._encoding is built
    tiktoken_encoding(load("cl100k_base"))
    assert tiktoken_encoding(gpt2) is not built


CHINESE, HAN = CHINESE_BYTES["cl100k_base"], "\u4e2d\u6587\u5b57"


@pytest.mark.parametrize(
    ("encoding", "backend", "n_bytes", "text", "used"),
    [
        ("gpt2", "auto", LARGE_BYTES - 1, "words", "tiktoken"),  # a small text: tiktoken starts sooner
        ("gpt2", "auto", LARGE_BYTES, "words", "gigatoken"),
        ("gpt2", "tiktoken", LARGE_BYTES, "words", "tiktoken"),
        ("cl100k_base", "gigatoken", 0, "caf\u00e9 \u4e2d\u6587 \U0001f600", "gigatoken"),
        ("cl100k_base", "gigatoken", LARGE_BYTES, "a\u088f've", "tiktoken"),  # which Unicode 17 added
        ("cl100k_base", "auto", CHINESE, HAN, "fastokens"),
        ("cl100k_base", "auto", CHINESE - 1, HAN, "gigatoken"),  # which starts sooner
        ("cl100k_base", "auto", CHINESE, "words", "gigatoken"),
        ("cl100k_base", "auto", CHINESE, f"{HAN}'\u017f", "gigatoken"),  # which is no contraction to fastokens
        ("cl100k_base", "fastokens", 0, "words", "fastokens"),
        ("gpt2", "auto", CHINESE, HAN, "gigatoken"),
        ("o200k_base", "auto", CHINESE << 4, HAN, "gigatoken"),  # with which fastokens takes much memory
    ],
)
def test_which_one_encodes(encoding: str, backend: BackendName, n_bytes: int, text: str, used: str, load: Load) -> None:
    """One backend that is asked for is used alone, if it can be exact; ``auto`` goes by how much is to come."""
    encoder = Encoder(load(encoding), "allow", backend, n_bytes)
    encoder.encode(text_block(text))
    assert encoder.used == {used: 1}


@pytest.mark.parametrize(("encoding", "backend"), [("p50k_base", "gigatoken"), ("gpt2", "fastokens")])
def test_one_that_does_not_know_the_pattern_is_refused(encoding: str, backend: BackendName, load: Load) -> None:
    """A backend that is asked for, and cannot encode exactly, is not replaced in silence."""
    with pytest.raises(UsageError, match=f"^--backend {backend}: does not know the pattern of {encoding}; leave it"):
        Encoder(load(encoding), "allow", backend)


def test_a_small_text_needs_no_proof() -> None:
    """The definition of a file encodes a small text, one block or several, and others the rest of a large one alike."""
    file = document({"ab": 256, "\u0120ab": 257}, [["a", "b"], ["\u0120", "ab"]], added_tokens=[added("<eot>", 258)])
    tokenizer = read_tokenizer_json("t", json.dumps(file).encode())
    vocabulary = build_from_json("t", tokenizer, "<eot>")
    blocks = [text_block(text) for text in ("ab ab", "", " ab<eot>ab", "caf\u00e9")]
    expected = [[256, 257], [], [257, 258, 256], [99, 97, 102, 0xC3, 0xA9]]
    encoder = Encoder(vocabulary)
    assert [ids.tolist() for ids in encoder.encode_each(blocks)] == expected
    assert (encoder.used, vocabulary.hf and "_worked_out" in vars(vocabulary.hf.proof)) == ({"tokenizers": 4}, False)
    for block in (text_block("x " * (DEFINED_BYTES // 2)), *blocks):
        encoder.encode(block)
    assert encoder.used == {"tokenizers": 4, "tiktoken": 5}
    assert [ids.tolist() for ids in encoder.encode_each(blocks)] == expected


def test_an_end_of_text_may_be_an_entry_that_merging_makes() -> None:
    """It is the defined id with each backend; where it is to stay text, each refuses what merges to it."""
    file = document({"ab": 256}, [["a", "b"]], added_tokens=[added("ab", 256)])
    vocabulary = build_from_json("t", read_tokenizer_json("t", json.dumps(file).encode()), "ab")
    for backend in ("tiktoken", "gigatoken", "tokenizers"):
        assert Encoder(vocabulary, "allow", backend).encode(text_block("cab b")).tolist() == [99, 256, 32, 98]
        encoder = Encoder(vocabulary, "text", backend)
        encoder.encode(text_block("b"))
        with pytest.raises(DataError, match="makes its end-of-text token ab of plain text too"):
            encoder.encode(text_block("cab b"))


def test_a_pipe_changes_over_too(
    story: Path, tmp_path: Path, gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text of unknown size begins with tiktoken and goes on with gigatoken; a large file has gigatoken at once."""
    monkeypatch.setattr(backends, "LARGE_BYTES", 10_000)
    with piped(tmp_path / "pipe", story.read_bytes()) as pipe:
        for path, used in ((pipe, ["tiktoken", "gigatoken"]), (story, ["gigatoken"])):
            stream = stream_paths([path], gpt2, effort=Effort(block_bytes=1000))
            assert all_ids(stream) == encode(story.read_text(encoding="utf-8"))
            assert [*stream.figures.used] == used


def test_the_extra_is_asked_for_only_by_name(
    call: Call, story: Path, tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra ``auto`` is tiktoken, and nothing is said; ``--backend gigatoken`` says what to install."""
    for backend in get_args(BackendName)[2:4]:
        monkeypatch.setitem(sys.modules, backend, None)
        ended = call("tokenize", story, "-o", "x.pt", "--backend", backend)
        assert (ended.code, ended.stdout, list(tmp_path.iterdir())) == (2, b"", [])
        assert ended.notes == [f"llmprep: error: --backend {backend}: needs an extra: pip install 'llmprep[fast]'"]
    encoder = Encoder(load("cl100k_base"), "allow", "auto", CHINESE)
    encoder.encode(text_block(HAN))
    assert encoder.used == {"tiktoken": 1}


@pytest.mark.parametrize("space", " \n")
def test_too_much_white_space_is_gigatokens(space: str, gpt2: Vocabulary, build: Build) -> None:
    """A run too long for tiktoken is gigatoken's in ``auto``, whatever its size, and is encoded as a shorter one is.

    With tiktoken alone it is one error with the place, never a panic, and says what would help.
    """
    few = encode(f"a{space * 4096}x")
    middle = len(few) // 2
    (width,) = {len(token) for token, rank in gpt2.ranks.items() if rank == few[middle]}
    many = Encoder(gpt2, "allow", "auto").encode(text_block(f"a{space * (4096 + 1_100_000)}x"))
    assert many.tolist() == few[:middle] + [few[middle]] * (1_100_000 // width) + few[middle:]

    with pytest.raises(DataError, match=r"^t: tiktoken cannot encode the 1500001 bytes from byte 7 on .*\[fast\]'$"):
        build("gpt2", "allow", "tiktoken").encode(text_block(space * 1_500_000 + "x", offset=7, name="t"))


def test_a_difference_is_noticed(gpt2: Vocabulary) -> None:
    """The first block that gigatoken encodes is compared, and a difference names the file and the byte.

    A library that goes wrong later is caught by the sample within some hundred blocks, at a block's first byte.
    """
    fewer = {token: rank for token, rank in gpt2.ranks.items() if token != b" things"}  # which gigatoken knows
    vocabulary = replace(gpt2, stated_ranks=fewer, fingerprint="other")
    encoder = Encoder(vocabulary, "allow", "gigatoken")
    encoder._gigatoken = Gigatoken(gpt2)
    for n_words in (2, 5000):
        message = r"^t\.txt: gigatoken and tiktoken differ .* from byte 41 on; use --backend tiktoken"
        with pytest.raises(BackendsDifferError, match=message):
            encoder.encode(text_block("many" + " things" * n_words, offset=41, name="t.txt"))

    encoder.encode(text_block(" some words here"))
    blocks = (text_block(" some things here", offset) for offset in range(100, 20_000, 100))
    with pytest.raises(BackendsDifferError) as raised:
        list(map(encoder.encode, blocks))
    n_left = sum(1 for _ in blocks)
    assert 0 < n_left < 198
    assert f"in the 17 bytes from byte {20_000 - 100 * (n_left + 1)} on" in str(raised.value)
