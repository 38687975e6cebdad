"""Promises of ``window``: the textbook loop's windows, and a preview of the first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.commands import Call
from support.reference import encode, window_rows


def rows_in(name: str) -> tuple[Any, Any]:
    """The input and target rows that torch reads from a file."""
    made = torch.load(name, weights_only=True)
    return made["input_ids"].tolist(), made["target_ids"].tolist()


@pytest.mark.parametrize(
    ("preview", "max_length", "stride"), [("1", 256, 256), ("3", 256, 5), ("2", 20, 300), ("0", 256, 256)]
)
def test_windows_are_the_textbook_loops(call: Call, story: Path, preview: str, max_length: int, stride: int) -> None:
    """The file holds the textbook loop's windows, and ``--json --preview N`` the first N, whole, of any length."""
    rows = window_rows(encode(story.read_text(encoding="utf-8")), max_length, stride)
    options = ["--max-length", str(max_length), "--stride", str(stride), "--preview", preview]
    shown = call("window", story, "--json", *options).value["windows"]
    assert rows_in("story.windows.pt") == rows
    assert [window["input_ids"] for window in shown] == rows[0][: int(preview)]
    assert [window["target_ids"] for window in shown] == rows[1][: int(preview)]


def test_a_split_is_cut_once_before_windowing(call: Call, story: Path) -> None:
    """With ``--val-fraction`` no token is shared: each part of the stream is windowed on its own, and described."""
    ids = encode(story.read_text(encoding="utf-8"))
    cut = len(ids) - len(ids) // 10
    value = call("window", story, "--max-length", "8", "--val-fraction", "0.1", "--json").value
    for name, part in {"train": ids[:cut], "val": ids[cut:]}.items():
        rows = window_rows(part, 8, 8)
        assert rows_in(value[name]["output"]) == rows
        assert value[name]["windows"] == [{"input_ids": rows[0][k], "target_ids": rows[1][k]} for k in (0, 1)]


@pytest.mark.parametrize(("mode", "shown"), [(["--json"], 1), ([], 2)], ids=["json", "words"])
def test_a_preview_says_its_limit(call: Call, story: Path, mode: list[str], shown: int) -> None:
    """Where fewer windows are shown than are asked for and there are, that is said."""
    Path("a.txt").write_text(story.read_text(encoding="utf-8") * 24, encoding="utf-8")
    ended = call("window", "a.txt", "--max-length", "60000", "--stride", "40000", "--preview", "3", *mode)
    assert ended.notes == [f"llmprep: note: --preview 3: {shown} shown; a preview reads the first 65,536 tokens"]
