"""Promises of ``pairs``: the course's growing contexts, printed and in a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.commands import Call
from support.reference import encode, pair_rows, tiktoken_encoding


@pytest.mark.parametrize(("start", "context_size", "windows"), [(0, 4, 2), (6250, 8, 1), (100, 1, 3)])
def test_pairs_of_the_sample_story(call: Call, story: Path, start: int, context_size: int, windows: int) -> None:
    """Pairs are what slicing tiktoken's ids gives; the file holds the same, padded with the end-of-text id."""
    ids, text_of = encode(story.read_text(encoding="utf-8")), tiktoken_encoding("gpt2").decode
    starts = range(start, start + context_size * windows, context_size)
    pairs = [pair for at in starts for pair in pair_rows(ids[at : at + context_size + 1], context_size)]
    options = ["--start", str(start), "--context-size", str(context_size), "--windows", str(windows)]
    ended = call("pairs", story, *options, "-o", "p.pt")
    made = torch.load("p.pt", weights_only=True)
    as_text = [f"{text_of(context)} ----> {text_of([target])}".replace("\n", r"\n") for context, target in pairs]
    assert (ended.code, ended.notes) == (0, [])
    assert ended.lines == [f"{context} ----> {target}" for context, target in pairs] + as_text
    assert made["targets"].tolist() == [target for _, target in pairs]
    assert made["lengths"].tolist() == [len(context) for context, _ in pairs]
    assert made["contexts"].tolist() == [context + [50256] * (context_size - len(context)) for context, _ in pairs]


def test_inputs_that_were_not_read_are_not_said_to_be_empty(call: Call) -> None:
    """``pairs`` reads no further than it shows, and knows nothing of what comes after."""
    for name, text in {"e": "", "a": "one two three four five six", "b": "one"}.items():
        Path(f"{name}.txt").write_text(text, encoding="utf-8")
    assert call("pairs", "e.txt", "a.txt", "b.txt").notes == ["llmprep: note: 1 empty input skipped: e.txt"]
