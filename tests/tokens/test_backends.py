"""Promises of backends: one answer from both, the right one chosen, a difference noticed, memory given back."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import SAMPLES
from support.new_code_points import as_ranges, derive
from support.reference import encode
from support.strategies import adversarial_text

from llmprep.choices import Effort, TextOptions
from llmprep.cli.main import run
from llmprep.documents.blocks import Block
from llmprep.documents.finding import find_sources
from llmprep.documents.source import Source
from llmprep.errors import BackendsDifferError, DataError, UsageError
from llmprep.tokens import backends, gigatoken
from llmprep.tokens.backends import LARGE_BYTES, Encoder
from llmprep.tokens.stream import stream_text
from llmprep.tokens.unicode17 import NEW_CODE_POINTS, has_new_code_point
from llmprep.vocabulary.loading import END_OF_TEXT, Vocabulary, load_vocabulary

ENCODINGS = ("gpt2", "p50k_base", "cl100k_base", "o200k_base")
IN_BOTH = ("gpt2", "cl100k_base", "o200k_base")
SPECIALS = ("allow", "text")

new_code_points = st.sampled_from(NEW_CODE_POINTS).flatmap(lambda ends: st.integers(*ends)).map(chr)
texts = st.lists(adversarial_text | new_code_points | st.just(END_OF_TEXT), max_size=5).map("".join)

Load = Callable[[str], Vocabulary]
Build = Callable[..., Encoder]


@pytest.fixture(scope="module")
def load(vocab_dir: Path) -> Load:
    """Load a vocabulary once."""
    return functools.cache(lambda name: load_vocabulary(name, str(vocab_dir)))


@pytest.fixture(scope="module")
def build(load: Load) -> Build:
    """Build an encoder once for each way to encode."""
    return functools.cache(lambda name, special, backend: Encoder(load(name), special, backend))


@pytest.fixture(scope="module")
def gpt2() -> Vocabulary:
    return load_vocabulary("gpt2")


def block(text: str, offset: int = 0, name: str = "text") -> Block:
    """A block that holds a text."""
    data = text.encode()
    return Block(Source(name, name), data, data, offset)


def hide_gigatoken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Python find every package but gigatoken."""
    found = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "gigatoken" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


# --- one answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("special", SPECIALS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=texts)
def test_both_backends_give_tiktokens_ids(encoding: str, special: str, build: Build, text: str) -> None:
    """Hard texts, with end-of-text strings and new code points, give the ids of tiktoken's ``encode``."""
    expected = encode(text, encoding, special)

    for backend in ("tiktoken", "gigatoken"):
        ids = build(encoding, special, backend).encode(block(text))
        assert ids.dtype == np.uint32
        assert ids.tolist() == expected, backend


@pytest.mark.parametrize("special", SPECIALS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_both_backends_give_tiktokens_ids_of_the_samples(encoding: str, special: str, build: Build) -> None:
    """Prose, a program, twelve scripts and records: every sample text gives tiktoken's ids, whole."""
    for path in sorted(SAMPLES.iterdir()):
        text = path.read_text(encoding="utf-8")
        expected = encode(text, encoding, special)
        for backend in ("tiktoken", "gigatoken"):
            assert build(encoding, special, backend).encode(block(text)).tolist() == expected, (path.name, backend)


@pytest.mark.parametrize("backend", ["tiktoken", "gigatoken"])
def test_seams_are_end_of_text_whatever_special_says(backend: str, gpt2: Vocabulary) -> None:
    """In a batch the strings that join its documents become ids, also where those of texts stay text."""
    joined = Block(Source("t", "t"), b"one<|endoftext|>two", b"", 0, seams=1)

    ids = Encoder(gpt2, "text", backend).encode(joined)  # type: ignore[arg-type]

    assert ids.tolist() == [505, 50256, 11545]


def test_threads_share_an_encoder(gpt2: Vocabulary) -> None:
    """Many threads that encode at once with one encoder get what one thread gets."""
    encoder = Encoder(gpt2, "allow", "gigatoken")
    lines = [line for path in sorted(SAMPLES.iterdir()) for line in path.read_text(encoding="utf-8").splitlines()]
    together = threading.Barrier(6)

    def encode(line: str) -> list[int]:
        ids: list[int] = encoder.encode(block(line)).tolist()
        return ids

    def start(_: int) -> None:
        together.wait(10)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(start, range(6)))
        shared = list(pool.map(encode, lines * 3))

    assert shared == [encode(line) for line in lines] * 3


# --- which one ------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", IN_BOTH)
def test_a_new_code_point_goes_to_tiktoken(encoding: str, load: Load) -> None:
    """A block with a code point that Unicode 17 added is tiktoken's; ASCII and older text are gigatoken's."""
    encoder = Encoder(load(encoding), "allow", "gigatoken")

    encoder.encode(block("plain words"))
    encoder.encode(block("caf\u00e9 \u4e2d\u6587 \U0001f600"))
    assert encoder.used == {"gigatoken": 2}

    for k, code in enumerate([0x88F, 0x323B0, 0x1E6C0], 1):
        encoder.encode(block(f"a{chr(code)}'ve"))
        assert encoder.used == {"gigatoken": 2, "tiktoken": k}


def test_every_new_code_point_is_noticed() -> None:
    """Each code point of the table is found in bytes, and its neighbours outside the table are not."""
    listed = {code for low, high in NEW_CODE_POINTS for code in range(low, high + 1)}
    beside = {code + step for code in listed for step in (-1, 1)} - listed

    assert [code for code in sorted(listed) if not has_new_code_point(f"a{chr(code)}b".encode())] == []
    assert [code for code in sorted(beside) if has_new_code_point(f"a{chr(code)}b".encode())] == []


def test_ranges_are_in_order_and_apart() -> None:
    """The table is what joining its code points gives: sorted, disjoint, nothing to merge."""
    assert as_ranges(code for low, high in NEW_CODE_POINTS for code in range(low, high + 1)) == NEW_CODE_POINTS


@pytest.mark.slow
def test_the_table_is_what_the_libraries_differ_in(vocab_dir: Path) -> None:
    """Comparing both libraries over every code point gives the table again."""
    assert derive(vocab_dir) == NEW_CODE_POINTS


def test_p50k_is_tiktokens(load: Load) -> None:
    """An encoding whose pattern gigatoken does not know goes to tiktoken, whatever was asked for."""
    encoder = Encoder(load("p50k_base"), "allow", "gigatoken", expected_bytes=LARGE_BYTES)

    encoder.encode(block("plain words"))

    assert encoder.used == {"tiktoken": 1}


@pytest.mark.parametrize(
    ("expected_bytes", "used"), [(0, "tiktoken"), (LARGE_BYTES - 1, "tiktoken"), (LARGE_BYTES, "gigatoken")]
)
def test_auto_goes_by_how_much_is_to_come(expected_bytes: int, used: str, gpt2: Vocabulary) -> None:
    """A small text is tiktoken's, which starts sooner; from `LARGE_BYTES` on it is gigatoken's."""
    encoder = Encoder(gpt2, "allow", "auto", expected_bytes)

    encoder.encode(block("plain words"))

    assert encoder.used == {used: 1}


def test_auto_changes_over_when_much_has_come(gpt2: Vocabulary) -> None:
    """Where nobody knows the size, gigatoken takes over as soon as `LARGE_BYTES` have been seen."""
    encoder = Encoder(gpt2, "allow", "auto")
    quarter = block("eight b " * (LARGE_BYTES // 32))

    for _ in range(3):
        encoder.encode(quarter)
    assert encoder.used == {"tiktoken": 3}

    encoder.encode(quarter)
    assert encoder.used == {"tiktoken": 3, "gigatoken": 1}


def test_one_backend_is_used_alone(gpt2: Vocabulary) -> None:
    """Asked for tiktoken, large texts go there too; asked for gigatoken, small ones do."""
    for backend in ("tiktoken", "gigatoken"):
        encoder = Encoder(gpt2, "allow", backend, LARGE_BYTES)
        encoder.encode(block("plain words"))
        assert encoder.used == {backend: 1}


def test_auto_does_without_gigatoken(gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, ``auto`` is tiktoken, and nothing is said."""
    hide_gigatoken(monkeypatch)
    encoder = Encoder(gpt2, "allow", "auto", LARGE_BYTES)

    encoder.encode(block("plain words"))

    assert encoder.used == {"tiktoken": 1}


def test_a_missing_extra_is_one_line(
    tmp_path: Path, story: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--backend gigatoken`` without the extra says what to install, exits with 2 and writes nothing."""
    hide_gigatoken(monkeypatch)
    with pytest.raises(UsageError, match="fast"):
        Encoder(load_vocabulary("gpt2"), "allow", "gigatoken")

    code = run(["tokenize", str(story), "-o", str(tmp_path / "x.pt"), "--backend", "gigatoken"])

    assert code == 2
    assert capsys.readouterr() == (
        "",
        "llmprep: error: --backend gigatoken: needs an extra: pip install 'llmprep[fast]'\n",
    )
    assert list(tmp_path.iterdir()) == []


# --- what tiktoken cannot do ----------------------------------------------------------------------


@pytest.mark.parametrize("white", [" ", "\n"])
def test_too_much_white_space_goes_to_gigatoken(white: str, gpt2: Vocabulary) -> None:
    """A run too long for tiktoken is gigatoken's in ``auto``, whatever its size, and is encoded as a shorter one is."""
    n, more = 4096, 1_100_000
    few = Encoder(gpt2, "allow", "tiktoken").encode(block(f"a{white * n}x")).tolist()

    many = Encoder(gpt2, "allow", "auto").encode(block(f"a{white * (n + more)}x")).tolist()

    # One id repeats inside the run; what stands around it is the same, as both lengths are multiples of its own.
    repeated = few[len(few) // 2]
    (width,) = {len(token) for token, rank in gpt2.ranks.items() if rank == repeated}
    assert [i for i in many if i != repeated] == [i for i in few if i != repeated]
    assert (many.count(repeated) - few.count(repeated)) * width == more


def test_too_much_white_space_is_an_error_alone(gpt2: Vocabulary) -> None:
    """With tiktoken alone such a run is one error with the place, and says what would help."""
    encoder = Encoder(gpt2, "allow", "tiktoken")

    with pytest.raises(DataError) as raised:
        encoder.encode(block(" " * 1_500_000 + "x", offset=7, name="t"))

    assert str(raised.value).startswith("t: tiktoken cannot encode the 1500001 bytes from byte 7 on ")
    assert str(raised.value).endswith("install the extra: pip install 'llmprep[fast]'")


# --- a difference ---------------------------------------------------------------------------------


class Liar:
    """Stands where gigatoken stands, and gives ids that are wrong from the n-th block on."""

    def __init__(self, honest: Any, true_blocks: int) -> None:
        self.honest = honest
        self.true_blocks = true_blocks

    def encode(self, data: bytes, *, special: bool) -> Any:
        """Encode, and lie if it is time."""
        self.true_blocks -= 1
        ids = self.honest.encode(data, special=special)
        return ids if self.true_blocks >= 0 else ids ^ 1


def test_a_wrong_first_block_is_noticed(gpt2: Vocabulary) -> None:
    """The first block that gigatoken encodes is compared, and a difference names the file and the byte."""
    encoder = Encoder(gpt2, "allow", "gigatoken")
    encoder._gigatoken = Liar(encoder._gigatoken, 0)  # type: ignore[assignment]

    with pytest.raises(BackendsDifferError, match=r"^t\.txt: gigatoken and tiktoken differ .* from byte 41 on"):
        encoder.encode(block("plain words", offset=41, name="t.txt"))


def test_a_wrong_later_block_is_noticed(gpt2: Vocabulary) -> None:
    """A library that goes wrong later is caught by the sample within some hundred blocks, at a block's first byte."""
    encoder = Encoder(gpt2, "allow", "gigatoken")
    encoder._gigatoken = Liar(encoder._gigatoken, 5)  # type: ignore[assignment]
    blocks = (block(" some words here", offset) for offset in range(0, 20_000, 100))

    with pytest.raises(BackendsDifferError) as raised:
        list(map(encoder.encode, blocks))

    left = sum(1 for _ in blocks)
    assert 0 < left < 194
    assert f"in the 16 bytes from byte {20_000 - 100 * (left + 1)} on" in str(raised.value)


def test_a_shorter_answer_is_a_difference(gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that stop too soon are noticed as well as wrong ones."""
    encoder = Encoder(gpt2, "allow", "gigatoken")
    honest = gigatoken.Gigatoken.encode
    monkeypatch.setattr(
        gigatoken.Gigatoken, "encode", lambda self, data, *, special: honest(self, data, special=special)[:-1]
    )

    with pytest.raises(BackendsDifferError):
        encoder.encode(block("a plain"))


def test_a_difference_ends_the_run(
    tmp_path: Path, story: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the command line a difference is one line with the byte, exit code 1, and no output."""
    honest = gigatoken.Gigatoken.encode
    monkeypatch.setattr(
        gigatoken.Gigatoken, "encode", lambda self, data, *, special: honest(self, data, special=special) ^ 1
    )

    code = run(["tokenize", str(story), "-o", str(tmp_path / "x.pt"), "--backend", "gigatoken"])

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert err.startswith(f"llmprep: error: {story}: gigatoken and tiktoken differ in the ")
    assert " bytes from byte 0 on; use --backend tiktoken" in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# --- memory ---------------------------------------------------------------------------------------


def test_memory_is_not_looked_at_for_every_small_text(gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look takes longer than a small text: one when the tokenizer is built, then one for every `LOOK_BYTES`."""
    looks: list[int] = []

    def look() -> int:
        looks.append(1)
        return 0

    monkeypatch.setattr(backends, "resident_bytes", look)
    encoder = Encoder(gpt2, "allow", "gigatoken")
    words = "some words " * 1000

    for _ in range(3 * gigatoken.LOOK_BYTES // len(words)):
        encoder.encode(block(words))

    assert len(looks) == 3  # the last part is not full


def test_a_tokenizer_is_kept_while_memory_is_at_rest(gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread needs one tokenizer for any number of blocks, and one more for the other way with specials."""
    built: list[bool] = []
    build = gigatoken.Gigatoken._build

    def count(self: Any, *, special: bool) -> Any:
        built.append(special)
        return build(self, special=special)

    monkeypatch.setattr(gigatoken.Gigatoken, "_build", count)
    monkeypatch.setattr(backends, "resident_bytes", lambda: 1 << 30)
    encoder = Encoder(gpt2, "text", "gigatoken")

    for _ in range(20):
        encoder.encode(block("plain words"))
        encoder.encode(Block(Source("t", "t"), b"a<|endoftext|>b", b"", 0, seams=1))

    assert sorted(built) == [False, True]


def test_a_tokenizer_is_made_anew_when_memory_has_grown(gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once resident memory has grown by `CACHE_BYTES` since it was built, a tokenizer goes, with its cache of words."""
    memory = [0]
    built: list[int] = []
    build = gigatoken.Gigatoken._build

    def count(self: Any, *, special: bool) -> Any:
        built.append(memory[0])
        return build(self, special=special)

    monkeypatch.setattr(gigatoken.Gigatoken, "_build", count)
    monkeypatch.setattr(backends, "resident_bytes", lambda: memory[0])
    monkeypatch.setattr(backends, "LOOK_BYTES", 1)
    encoder = Encoder(gpt2, "allow", "gigatoken")
    half = gigatoken.CACHE_BYTES // 2

    for grown in (0, half, 2 * half, 3 * half, 4 * half):
        memory[0] = grown
        encoder.encode(block("plain words"))

    # After the block at 2 * half the first one goes; the second is built at 3 * half, and has grown by half since.
    assert built == [0, 3 * half]


DROPPED = """
import random
from llmprep import backends
from llmprep.documents.blocks import Block
from llmprep.documents.source import Source
from llmprep.vocabulary.loading import load_vocabulary

gigatoken.CACHE_BYTES = 24 << 20
encoder = backends.Encoder(load_vocabulary("gpt2"), backend="gigatoken")
letters = random.Random(1)
resident = []
for _ in range(80):
    words = " ".join(f"{letters.getrandbits(40):x}" for _ in range(40_000)).encode()
    encoder.encode(Block(Source("t", "t"), words, b"", 0))
    if encoder._gigatoken._idle[True].empty():
        resident.append(gigatoken.resident_bytes() >> 20)
print(*resident)
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has no way to give memory back"
)
def test_memory_does_not_grow_with_the_tokenizers_dropped() -> None:
    """What a tokenizer held goes back to the system when it goes; freed only, each would leave some behind."""
    ended = subprocess.run([sys.executable, "-c", DROPPED], capture_output=True, text=True, check=True)

    first, *later = map(int, ended.stdout.split())
    assert len(later) >= 3
    assert max(later) - first < 12  # MiB; without giving it back about 30


def test_resident_memory_is_measured() -> None:
    """The figure grows by about what is taken and touched."""
    before = gigatoken.resident_bytes()

    held = np.ones(64 << 20, np.uint8)

    assert (48 << 20) <= gigatoken.resident_bytes() - before <= (80 << 20)
    assert held.all()


# --- through a stream -----------------------------------------------------------------------------


def test_a_pipe_changes_over_too(tmp_path: Path, gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of unknown size begins with tiktoken and goes on with gigatoken; the ids are those of the whole text."""
    monkeypatch.setattr(backends, "LARGE_BYTES", 10_000)
    pipe, text = tmp_path / "pipe", (SAMPLES / "story.txt").read_text()
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(text,))
    writer.start()
    stream = stream_text(find_sources([str(pipe)]), gpt2, TextOptions(), Effort(block_bytes=1000))

    ids = np.concatenate(list(stream))
    writer.join()

    assert ids.tolist() == Encoder(gpt2, backend="tiktoken").encode(block(text)).tolist()
    assert stream.used["tiktoken"] > 5
    assert stream.used["gigatoken"] > 5


def test_no_room_for_the_ranks_is_named(vocab_dir: Path, tmp_path: Path) -> None:
    """Where gigatoken's rank file cannot be written, the error names the temporary folder and how to choose another."""
    script = f"""
from llmprep.tokens.backends import Encoder
from llmprep.documents.blocks import Block
from llmprep.documents.source import Source
from llmprep.errors import OutputError
from llmprep.vocabulary.loading import load_vocabulary
vocabulary = load_vocabulary("cl100k_base", {str(vocab_dir)!r})
try:
    Encoder(vocabulary, backend="gigatoken").encode(Block(Source("a", "a"), b"words", b"words", 0))
except OutputError as error:
    print(error)
"""
    command = ["bash", "-c", 'ulimit -f 1 && exec "$@"', "bash", sys.executable, "-c", script]

    ended = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "TMPDIR": str(tmp_path)})

    assert ended.stdout.decode() == f"temporary file in {tmp_path}: file too large; TMPDIR names another folder\n"
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert list(tmp_path.iterdir()) == []


def test_a_rank_file_that_changes_after_it_was_verified_changes_no_id(vocab_dir: Path, tmp_path: Path) -> None:
    """What lies in a folder that others may write to is read once: gigatoken encodes with what was verified."""
    path = tmp_path / "cl100k_base.tiktoken"
    path.write_bytes((vocab_dir / path.name).read_bytes())
    encoder = Encoder(load_vocabulary("cl100k_base", str(tmp_path)), backend="gigatoken")
    path.write_bytes(path.read_bytes().replace(b"IHdvcmRz ", b"IHdvcmRx ", 1))

    ids = encoder.encode(Block(Source("a", "a"), b"some words", b"some words", 0))

    assert encoder.used == {"gigatoken": 1}
    assert ids.tolist() == encode("some words", "cl100k_base")
