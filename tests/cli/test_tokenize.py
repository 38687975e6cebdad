"""Promises of ``tokenize``: exact ids, in a file or printed, and no count of what could not be read."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch
from support.commands import SAMPLES, Call
from support.reference import encode
from support.refusals import fill, matches


def test_ids_are_tiktokens(call: Call, story: Path) -> None:
    """What is written, printed and counted is what tiktoken gives for each whole text; printing writes nothing."""
    paths = [story, SAMPLES / "documents.txt", SAMPLES / "tides.py"]
    rows = [encode(path.read_text(encoding="utf-8")) for path in paths]
    printed, counted = call("tokenize", "--ids", *paths), call("tokenize", "--count", *paths)
    assert list(Path().iterdir()) == []
    assert printed.lines == [" ".join(map(str, row)) for row in rows]
    assert [int(line.split()[0]) for line in counted.lines] == [*map(len, rows), sum(map(len, rows))]
    call("tokenize", story)
    assert torch.load("story.tokens.pt", weights_only=True)["token_ids"].tolist() == rows[0]


WORDS = b"one two three " * 76_000
"""More text than one block holds."""
UNREADABLE: dict[str, tuple[str, bytes, str]] = {
    "Latin-1": ("a.txt", b"caf\xe9 au lait", "not valid UTF-8 at byte 3 (0xe9)"),
    "Latin-1 at the end": ("a.txt", WORDS + b"caf\xe9", f"not valid UTF-8 at byte {len(WORDS) + 3} (0xe9)"),
    "a cut character at the end": ("a.txt", WORDS + b"caf\xc3", f"not valid UTF-8 at byte {len(WORDS) + 3} (0xc3)"),
    "PDF": ("a.txt", b"%PDF-1.7\n1 0 obj\nstream", "looks like a PDF document"),
    "a special token at the end": ("a.txt", WORDS + b"<|endoftext|>", f"in the text at byte {len(WORDS)}"),
    "no text": ("a.jsonl", b'{"text": "one"}\n{"text": 7}', "line 2: field text is a int, not a string"),
    "cut gzip data at the end": ("a.gz", gzip.compress(WORDS)[:-9], "the gzip data is cut short"),
    "no Parquet": ("a.parquet", b"PAR1 no Parquet PAR1", "damaged near row 1"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_is_not_counted(what: str, call: Call) -> None:
    """Whatever keeps a text from being read to its end ends the run, alone or among others; no count is printed."""
    name, data, reason = UNREADABLE[what]
    fill(Path(), {name: data, "good.txt": "some words", "empty.txt": ""})
    lines = [f"--count {name} -j1"]
    if what.endswith("at the end"):
        lines += [f"--count empty.txt good.txt {name} -j2", f"--ids {name} -j1"]
    for line in lines:
        ended = call("tokenize", "--special", "error", "--backend", "tiktoken", *line.split())
        assert matches(f"llmprep: error: {name}: ...{reason}...", ended.notes[-1])
        assert (ended.code, len(ended.notes)) == (3, 1)
        assert "--ids" in line or ended.lines == []


def test_an_empty_variable_is_not_set(call: Call, story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``LLMPREP_VOCAB_DIR=`` in the environment names no folder, as if it were not there."""
    monkeypatch.setenv("LLMPREP_VOCAB_DIR", "")
    assert call("tokenize", story, "--count").lines == [f"6259 {story}"]
