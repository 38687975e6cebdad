"""Promises of ``embed`` on the command line; its numbers are those of ``tests/pytorch/test_embedding.py``."""

from __future__ import annotations

from pathlib import Path

import torch
from support.commands import Call
from support.reference import encode, window_rows


def test_embeddings_of_the_sample_story(call: Call, story: Path) -> None:
    """``embed`` says the size first, each shape on the way and the first numbers, and writes (windows, tokens, dim)."""
    n = len(window_rows(encode(story.read_text(encoding="utf-8")), 4, 4)[0])

    ended = call("embed", story, "--max-length", "4")

    size = Path("story.embeddings.pt").stat().st_size
    begins = call("embed", story, "--max-length", "4", "--batches", "1", "-o", "e.pt", "--json").value[
        "token_table_begins"
    ]
    assert ended.code == 0
    assert ended.lines == [
        "[8, 4] -> token [8, 4, 256] + position [4, 256] -> [8, 4, 256]",
        "token table [50257, 256], positional table [1024, 256]",
        f"token table begins {', '.join(f'{number:.5f}' for number in begins)}",
        f"story.embeddings.pt: input_embeddings [{n}, 4, 256], {size / 1e6:.1f} MB",
    ]
    (note,) = ended.notes
    assert note.startswith(f"llmprep: note: story.embeddings.pt: {n} windows x 4 tokens x 256 numbers, float32: ")
    assert torch.load("story.embeddings.pt", weights_only=True)["input_embeddings"].shape == (n, 4, 256)
