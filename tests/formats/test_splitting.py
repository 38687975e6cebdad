"""Promises of a split: the stream is cut once, before windowing, so that training and validation share no token."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import reference
from support.commands import Call
from support.streams import Make, ids_sha256

Split = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def split(call: Call) -> Split:
    """Run ``window --val-fraction``, which must go well; return what torch makes of the two files."""

    def made(text: str | Path, name: str, fraction: float, *options: str) -> list[dict[str, Any]]:
        ended = call("window", text, "--val-fraction", str(fraction), *options, "-o", name, "-q")
        assert ended.code == 0, ended.stderr
        stem = name.removesuffix(".pt")
        return [torch.load(f"{stem}.{part}.windows.pt", weights_only=True) for part in ("train", "val")]

    return made


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("form", [(), ("--dense",)], ids=["views", "dense"])
def test_the_split_shares_no_token(
    split: Split, fraction: float, form: tuple[str, ...], story: Path, story_ids: list[int], tmp_path: Path
) -> None:
    """Each part is windowed on its own; its ``meta`` has its own count and hash, and the source of both."""
    parts = split(story, "x.pt", fraction, "--max-length", "7", "--stride", "3", *form)

    cut = len(story_ids) - math.floor(len(story_ids) * fraction)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.train.windows.pt", "x.val.windows.pt"]
    for part, name, held in zip(parts, ("train", "val"), (story_ids[:cut], story_ids[cut:]), strict=True):
        inputs, targets = reference.window_rows(held, 7, 3)
        assert (part["input_ids"].tolist(), part["target_ids"].tolist()) == (inputs, targets)
        meta = part["meta"]
        assert (meta["n_tokens"], meta["content_sha256"]) == (len(held), ids_sha256(held))
        assert (meta["options"]["part"], meta["options"]["val_fraction"]) == (name, fraction)
        assert meta["sources"][0]["tokens"] == len(story_ids)


def test_a_split_is_all_or_nothing(call: Call, story: Path, tmp_path: Path) -> None:
    """A validation part too short for a window is an error that says so, and leaves no file of the two."""
    ended = call("window", story, "--val-fraction", "0.001", "-o", "x.pt")

    assert ended.code == 3
    assert b"(val): 6 tokens give no window of max_length 256" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_split_from_ids_is_that_from_text(split: Split, make: Make, story: Path, tmp_path: Path) -> None:
    """A tokens file is split into the same bytes as its text."""
    make("tokenize", story, out="tokens.pt")

    split(story, "a.pt", 0.2)
    split("tokens.pt", "b.pt", 0.2)

    for part in ("train", "val"):
        assert (tmp_path / f"a.{part}.windows.pt").read_bytes() == (tmp_path / f"b.{part}.windows.pt").read_bytes()
