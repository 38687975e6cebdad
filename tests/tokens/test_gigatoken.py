"""Promises of the fast backend: bounded memory, verified ranks, and a table of where it differs from tiktoken."""

import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import Mock

import gigatoken as library
import pytest
from support.new_code_points import as_ranges, derive
from support.processes import file_size_limit
from support.reference import encode

from llmprep.errors import OutputError
from llmprep.tokens import gigatoken
from llmprep.tokens.gigatoken import CACHE_BYTES, LOOK_BYTES, Gigatoken
from llmprep.tokens.unicode17 import NEW_CODE_POINTS, has_new_code_point
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.vocabulary.vocabulary import Vocabulary


@pytest.mark.parametrize(("growth", "n_built"), [(CACHE_BYTES, 1), (-1 << 60, 3)])
def test_a_tokenizer_is_dropped_when_memory_has_grown(
    growth: int, n_built: int, gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One tokenizer serves all blocks, until memory has grown since it was built, as is seen every `LOOK_BYTES`."""
    build = Mock(wraps=library.Tokenizer.from_tiktoken)
    monkeypatch.setattr(library, "Tokenizer", Mock(from_tiktoken=build))
    monkeypatch.setattr(gigatoken, "CACHE_BYTES", growth)
    encoder, words = Gigatoken(gpt2), b"some words " * 1000
    for _ in range(3 * LOOK_BYTES // len(words)):  # of the last part some is missing
        encoder.encode(words, special=True)
    assert build.call_count == n_built


def test_one_tokenizer_serves_a_text_that_holds_no_special_token(
    gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another is built only for a text in which the end-of-text string is to stay text."""
    build = Mock(wraps=library.Tokenizer.from_tiktoken)
    monkeypatch.setattr(library, "Tokenizer", Mock(from_tiktoken=build))
    encoder = Gigatoken(gpt2)
    assert [encoder.encode(b"some words", special=special).tolist() for special in (True, False)] == [[11246, 2456]] * 2
    assert build.call_count == 1
    for special, option in ((True, "allow"), (False, "text")):
        expected = encode("a<|endoftext|>b", "gpt2", option)
        assert encoder.encode(b"a<|endoftext|>b", special=special).tolist() == expected
    assert build.call_count == 2


DROPPED = """
import os
from llmprep.tokens import gigatoken
from llmprep.vocabulary.loading import load_vocabulary

gigatoken.CACHE_BYTES, gigatoken.FREED_BYTES = 24 << 20, 12 << 20
encoder = gigatoken.Gigatoken(load_vocabulary("gpt2"))
for _ in range(240):
    encoder.encode(os.urandom(200_000).hex(" ", 5).encode(), special=True)
    if encoder._idle[True].empty():
        print(gigatoken.resident_bytes() >> 20)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library cannot give memory back")
def test_memory_does_not_grow_with_the_tokenizers_dropped() -> None:
    """What a tokenizer held goes back to the system when it goes; freed only, each would leave some of it."""
    ended = subprocess.run([sys.executable, "-c", DROPPED], capture_output=True, text=True, check=True)
    first, *later = map(int, ended.stdout.split())
    assert len(later) >= 3
    assert max(later) - first < 12  # MiB; without giving it back about 30


def test_ranks_are_written_as_they_were_verified(
    vocab_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank file that changes after it was verified changes no id; no room for ours is an error that says where."""
    path = tmp_path / "cl100k_base.tiktoken"
    path.write_bytes((vocab_dir / path.name).read_bytes())
    vocabulary = load_vocabulary("cl100k_base", tmp_path)
    ranks = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(ranks[:256] + ranks[512:]))
    assert Gigatoken(vocabulary).encode(b"plain words", special=False).tolist() == encode("plain words", "cl100k_base")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    message = f"^temporary file in {tmp_path}: file too large; TMPDIR names another folder$"
    with file_size_limit(1024), pytest.raises(OutputError, match=message):
        Gigatoken(vocabulary).encode(b"words", special=False)
    assert list(tmp_path.iterdir()) == [path]


def test_every_new_code_point_is_noticed() -> None:
    """Each code point of the table is found in bytes, its neighbours outside the table are not; ranges are in order."""
    listed = {code for low, high in NEW_CODE_POINTS for code in range(low, high + 1)}
    around = sorted({code + step for code in listed for step in (-1, 0, 1)})
    assert {code for code in around if has_new_code_point(f"a{chr(code)}b".encode())} == listed
    assert not has_new_code_point(b"plain words")
    assert as_ranges(listed) == NEW_CODE_POINTS


@pytest.mark.slow
def test_the_table_is_what_the_libraries_differ_in(vocab_dir: Path) -> None:
    """Comparing both libraries over every code point gives the table again; of unassigned planes over one of eight."""
    assert derive(vocab_dir, step=8) == NEW_CODE_POINTS
