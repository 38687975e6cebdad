"""Promises of the fast backend: bounded memory, verified ranks, and a table of where it differs from tiktoken."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from support.new_code_points import as_ranges, derive
from support.processes import file_size_limit
from support.reference import encode

from llmprep.errors import OutputError
from llmprep.tokens import gigatoken
from llmprep.tokens.gigatoken import CACHE_BYTES, LOOK_BYTES, Gigatoken
from llmprep.tokens.unicode17 import NEW_CODE_POINTS, has_new_code_point
from llmprep.vocabulary.loading import Vocabulary, load_vocabulary


def test_a_tokenizer_is_dropped_when_memory_has_grown(gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look at memory when a tokenizer is built, then one for every `LOOK_BYTES`; at rest one serves every block.

    Once resident memory has grown by `CACHE_BYTES` since it was built, it goes, with its cache of words.
    """
    memory, built, build = [0], [], Gigatoken._build

    def look() -> int:
        memory.append(memory[-1])
        return memory[-1]

    def count(self: Any, *, special: bool) -> Any:
        built.append((memory[-1], special))
        return build(self, special=special)

    monkeypatch.setattr(gigatoken, "resident_bytes", look)
    monkeypatch.setattr(Gigatoken, "_build", count)

    encoder, words = Gigatoken(gpt2), b"some words " * 1000
    for _ in range(3 * LOOK_BYTES // len(words)):
        encoder.encode(words, special=True)
    encoder.encode(b"words", special=False)  # which needs another tokenizer
    assert len(memory) == 1 + 3 + 1  # the last part is not full
    assert built == [(0, True), (0, False)]

    monkeypatch.setattr(gigatoken, "LOOK_BYTES", 1)
    encoder, half = Gigatoken(gpt2), CACHE_BYTES // 2
    for grown in (0, half, 2 * half, 3 * half, 4 * half):
        memory.append(grown)
        encoder.encode(b"plain words", special=True)
    # After the block at 2 * half the first one goes; the second is built at 3 * half, and has grown by half since.
    assert built[2:] == [(0, True), (3 * half, True)]


DROPPED = """
import random
from llmprep.tokens import gigatoken
from llmprep.vocabulary.loading import load_vocabulary

gigatoken.CACHE_BYTES = 24 << 20
encoder = gigatoken.Gigatoken(load_vocabulary("gpt2"))
letters = random.Random(1)
for _ in range(80):
    words = " ".join(f"{letters.getrandbits(40):x}" for _ in range(40_000)).encode()
    encoder.encode(words, special=True)
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


def test_no_room_for_the_ranks_is_named(vocab_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where gigatoken's rank file cannot be written, the error names the temporary folder and how to choose another."""
    encoder = Gigatoken(load_vocabulary("cl100k_base", vocab_dir))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    message = f"^temporary file in {tmp_path}: file too large; TMPDIR names another folder$"
    with file_size_limit(1024), pytest.raises(OutputError, match=message):
        encoder.encode(b"words", special=False)
    assert list(tmp_path.iterdir()) == []


def test_a_rank_file_that_changes_after_it_was_verified_changes_no_id(vocab_dir: Path, tmp_path: Path) -> None:
    """What lies in a folder that others may write to is read once: gigatoken encodes with what was verified."""
    path = tmp_path / "cl100k_base.tiktoken"
    path.write_bytes((vocab_dir / path.name).read_bytes())
    vocabulary = load_vocabulary("cl100k_base", tmp_path)
    ranks = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(ranks[:256] + ranks[512:]))
    assert Gigatoken(vocabulary).encode(b"plain words", special=False).tolist() == encode("plain words", "cl100k_base")


def test_every_new_code_point_is_noticed() -> None:
    """Each code point of the table is found in bytes, its neighbours outside the table are not; ranges are in order."""
    listed = {code for low, high in NEW_CODE_POINTS for code in range(low, high + 1)}
    beside = {code + step for code in listed for step in (-1, 1)} - listed
    assert [code for code in sorted(listed) if not has_new_code_point(f"a{chr(code)}b".encode())] == []
    assert [code for code in sorted(beside) if has_new_code_point(f"a{chr(code)}b".encode())] == []
    assert not has_new_code_point(b"plain words")
    assert as_ranges(listed) == NEW_CODE_POINTS


@pytest.mark.slow
def test_the_table_is_what_the_libraries_differ_in(vocab_dir: Path) -> None:
    """Comparing both libraries over every code point gives the table again."""
    assert derive(vocab_dir) == NEW_CODE_POINTS
