"""Promises of the fast backend: bounded memory, verified ranks, and a table of where it differs from tiktoken."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.new_code_points import as_ranges, derive
from support.reference import encode

from llmprep.tokens import gigatoken
from llmprep.tokens.gigatoken import CACHE_BYTES, LOOK_BYTES, Gigatoken
from llmprep.tokens.unicode17 import NEW_CODE_POINTS, has_new_code_point
from llmprep.vocabulary.loading import Vocabulary, load_vocabulary


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let resident memory be what this list's last item says; each look at it adds one."""
    held = [0]

    def look() -> int:
        held.append(held[-1])
        return held[-1]

    monkeypatch.setattr(gigatoken, "resident_bytes", look)
    return held


@pytest.fixture
def built(memory: list[int], monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Each tokenizer that is built: resident memory then, and whether it takes the end-of-text string as special."""
    found: list[tuple[int, bool]] = []
    build = Gigatoken._build

    def count(self: Any, *, special: bool) -> Any:
        found.append((memory[-1], special))
        return build(self, special=special)

    monkeypatch.setattr(Gigatoken, "_build", count)
    return found


def test_memory_is_not_looked_at_for_every_small_text(
    memory: list[int], built: list[tuple[int, bool]], gpt2: Vocabulary
) -> None:
    """One look when a tokenizer is built, then one for every `LOOK_BYTES`; at rest one tokenizer serves every block."""
    encoder = Gigatoken(gpt2)
    words = b"some words " * 1000

    for _ in range(3 * LOOK_BYTES // len(words)):
        encoder.encode(words, special=True)
    encoder.encode(b"words", special=False)  # which needs another tokenizer

    assert len(memory) == 1 + 3 + 1  # the last part is not full
    assert built == [(0, True), (0, False)]


def test_a_tokenizer_is_dropped_when_memory_has_grown(
    built: list[tuple[int, bool]], memory: list[int], gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once resident memory has grown by `CACHE_BYTES` since it was built, a tokenizer goes, with its cache of words."""
    monkeypatch.setattr(gigatoken, "LOOK_BYTES", 1)
    encoder = Gigatoken(gpt2)
    half = CACHE_BYTES // 2

    for grown in (0, half, 2 * half, 3 * half, 4 * half):
        memory.append(grown)
        encoder.encode(b"plain words", special=True)

    # After the block at 2 * half the first one goes; the second is built at 3 * half, and has grown by half since.
    assert built == [(0, True), (3 * half, True)]


DROPPED = """
import random
from llmprep.tokens import gigatoken
from llmprep.vocabulary.loading import load_vocabulary

gigatoken.CACHE_BYTES = 24 << 20
encoder = gigatoken.Gigatoken(load_vocabulary("gpt2"))
letters = random.Random(1)
resident = []
for _ in range(80):
    words = " ".join(f"{letters.getrandbits(40):x}" for _ in range(40_000)).encode()
    encoder.encode(words, special=True)
    if encoder._idle[True].empty():
        resident.append(gigatoken.resident_bytes() >> 20)
print(*resident)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has no way to give memory back"
)
def test_memory_does_not_grow_with_the_tokenizers_dropped() -> None:
    """What a tokenizer held goes back to the system when it goes; freed only, each would leave some of it."""
    ended = subprocess.run([sys.executable, "-c", DROPPED], capture_output=True, text=True, check=True)

    first, *later = map(int, ended.stdout.split())
    assert len(later) >= 3
    assert max(later) - first < 12  # MiB; without giving it back about 30


def test_no_room_for_the_ranks_is_named(vocab_dir: Path, tmp_path: Path) -> None:
    """Where gigatoken's rank file cannot be written, the error names the temporary folder and how to choose another."""
    script = f"""
import resource
from llmprep.errors import OutputError
from llmprep.tokens.gigatoken import Gigatoken
from llmprep.vocabulary.loading import load_vocabulary
vocabulary = load_vocabulary("cl100k_base", {str(vocab_dir)!r})
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
try:
    Gigatoken(vocabulary).encode(b"words", special=False)
except OutputError as error:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)  # whoever measures this process writes at its end
    print(error)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, env=environment)

    assert ended.stdout.decode() == f"temporary file in {tmp_path}: file too large; TMPDIR names another folder\n"
    assert (ended.returncode, ended.stderr) == (0, b"")
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
