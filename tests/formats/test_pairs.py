"""Promises of a pairs file: each growing context, padded, with its length and the token that comes next."""

from __future__ import annotations

from pathlib import Path

import torch
from support import reference
from support.streams import Make


def test_a_pairs_file(make: Make, story: Path, story_ids: list[int]) -> None:
    """`pairs` writes contexts padded on the right with the end-of-text id, their lengths, and targets, int64."""
    loaded = make("pairs", story, "--context-size", "3", "--start", "50", "--windows", "2")

    expected = [*reference.pair_rows(story_ids[50:], 3), *reference.pair_rows(story_ids[53:], 3)]
    assert list(loaded) == ["contexts", "lengths", "targets", "meta"]
    assert {loaded[key].dtype for key in ("contexts", "lengths", "targets")} == {torch.int64}
    assert loaded["contexts"].tolist() == [context + [50256] * (3 - len(context)) for context, _ in expected]
    assert loaded["lengths"].tolist() == [len(context) for context, _ in expected]
    assert loaded["targets"].tolist() == [target for _, target in expected]
