"""Promises of ``window``: the textbook loop's windows, an account of each token, and a preview of the first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.commands import Call
from support.reference import encode, pair_rows, tiktoken_encoding, window_rows

SHAPE = ["--max-length", "4", "--stride", "2"]


def load(name: str) -> dict[str, Any]:
    """What torch reads from a file."""
    loaded: dict[str, Any] = torch.load(name, weights_only=True)
    return loaded


@pytest.fixture(scope="module")
def ids(story: Path) -> list[int]:
    """The sample story's ids."""
    return encode(story.read_text(encoding="utf-8"))


def previewed(window: list[int]) -> list[str]:
    """The lines that show a window: its growing contexts as ids, then as text."""
    text_of = tiktoken_encoding("gpt2").decode
    pairs = list(pair_rows(window, len(window) - 1))
    texts = [f"{text_of(context)} ----> {text_of([target])}".replace("\n", r"\n") for context, target in pairs]
    return [f"{context} ----> {target}" for context, target in pairs] + texts


@pytest.mark.parametrize(("max_length", "stride", "count"), [(4, 4, "1,286"), (4, 1, "5,141"), (256, 128, "39")])
def test_the_courses_windows(call: Call, verdict: Path, max_length: int, stride: int, count: str) -> None:
    """The course's story gives the course's numbers of windows."""
    ended = call("window", verdict, "--max-length", str(max_length), "--stride", str(stride), "--preview", "0")

    assert ended.lines[0] == f"5,145 tokens -> {count} windows of {max_length}, stride {stride}"


def test_windows_of_the_sample_story(call: Call, story: Path, ids: list[int]) -> None:
    """``window`` writes the textbook loop's windows, accounts for each token, and shows the first two windows."""
    inputs, targets = window_rows(ids, 6, 4)
    used = (len(inputs) - 1) * 4 + 7
    tail = len(ids) - used

    ended = call("window", story, "--max-length", "6", "--stride", "4")

    made = load("story.windows.pt")
    assert (made["input_ids"].tolist(), made["target_ids"].tolist()) == (inputs, targets)
    size = Path("story.windows.pt").stat().st_size
    assert ended.lines == [
        f"{len(ids):,} tokens -> {len(inputs):,} windows of 6, stride 4",
        f"input at least once {used - 1:,}, target at least once {used - 1:,}, either {used:,}",
        f"never used: tail {tail}; {used:,} + 0 + {tail} = {len(ids):,}; neighbours share 2 tokens",
        "<|endoftext|> in the text itself: 0; encoded by tiktoken",
        *previewed(ids[:7]),
        *previewed(ids[4:11]),
        f"story.windows.pt: input_ids and target_ids [{len(inputs)}, 6], {size / 1000:.1f} kB",
    ]


def test_explain_draws_only_when_asked(call: Call, story: Path) -> None:
    """``--explain`` adds the rule and the drawing, and takes nothing away."""
    plain, explained = (call("window", story, *SHAPE, *more).lines for more in ([], ["--explain"]))

    assert explained[:4] == plain[:4]
    assert explained[-len(plain[4:]) :] == plain[4:]
    assert "window 3       ####>" in explained
    assert not any(line.startswith("window 3") for line in plain)


def test_long_windows_are_shown_in_part(call: Call, story: Path, ids: list[int]) -> None:
    """In words a preview grows eight contexts of a window, and says how many it leaves out."""
    lines = call("window", story, "--max-length", "20", "--preview", "1").lines

    assert lines[4:-1] == [*previewed(ids[:9]), "... and 12 longer contexts in this window"]


@pytest.mark.parametrize("windows", ["0", "3", "1000000000000000000000"])
def test_preview_shows_as_many_windows_as_asked(call: Call, windows: str) -> None:
    """``--preview N`` shows the first N windows, or all if there are fewer, at once."""
    Path("a.txt").write_text("one two three four five six seven eight nine", encoding="utf-8")

    ended = call("window", "a.txt", "--max-length", "2", "--preview", windows)

    assert sum(line.startswith("[") for line in ended.lines) == 2 * min(int(windows), 4)
    assert ended.notes == []


@pytest.mark.parametrize(
    ("preview", "length", "stride", "split"), [(1, 256, 256, 0), (3, 256, 5, 1), (2, 20, 300, 1), (0, 256, 256, 0)]
)
def test_the_windows_asked_for_are_in_the_json(
    call: Call, story: Path, preview: int, length: int, stride: int, split: int
) -> None:
    """``--json --preview N`` holds the file's first N windows, whole, of any length; of each part of a split."""
    options = ["--max-length", str(length), "--stride", str(stride), *["--val-fraction", "0.5"][: 2 * split]]

    value = call("window", story, "--json", "--preview", str(preview), "-o", "w.pt", *options).value

    for part, name in (("train", "w.train.windows.pt"), ("val", "w.val.windows.pt")) if split else (("", "w.pt"),):
        made, shown = load(name), (value[part] if part else value)["windows"]
        assert [window["input_ids"] for window in shown] == made["input_ids"][:preview].tolist()
        assert [window["target_ids"] for window in shown] == made["target_ids"][:preview].tolist()


@pytest.mark.parametrize(("mode", "shown"), [(["--json"], 1), ([], 2)], ids=["json", "words"])
def test_a_preview_says_its_limit(call: Call, story: Path, mode: list[str], shown: int) -> None:
    """Where fewer windows are shown than are asked for and there are, that is said."""
    Path("long.txt").write_text(story.read_text(encoding="utf-8") * 24, encoding="utf-8")
    options = ["--preview", "3", "-o", "w.pt", *mode]

    ended = call("window", "long.txt", "--max-length", "60000", "--stride", "40000", *options)

    assert ended.notes == [f"llmprep: note: --preview 3: {shown} shown; a preview reads the first 65,536 tokens"]


@pytest.mark.parametrize(
    ("output", "stem"), [([], "story"), (["-o", "sets.windows.pt"], "sets"), (["-o", "other.pt"], "other")]
)
def test_a_split_is_two_files(call: Call, story: Path, ids: list[int], output: list[str], stem: str) -> None:
    """``--val-fraction`` cuts the stream once; the two files are named after -o or the input, and described alike."""
    cut = len(ids) - len(ids) // 10

    value = call("window", story, "--max-length", "8", "--val-fraction", "0.1", "--json", *output).value

    names = [f"{stem}.{part}.windows.pt" for part in ("train", "val")]
    assert {path.name for path in Path().iterdir()} == set(names)
    assert [value[part]["output"] for part in ("train", "val")] == names
    for name, part in zip(names, (ids[:cut], ids[cut:]), strict=True):
        made = load(name)
        assert (made["input_ids"].tolist(), made["target_ids"].tolist()) == window_rows(part, 8, 8)


def test_json_figures_are_those_of_the_file(call: Call, story: Path, ids: list[int]) -> None:
    """What the JSON object states is what the file holds and tiktoken gives."""
    value = call("window", story, *SHAPE, "--json").value

    made = load("story.windows.pt")
    assert value["n_tokens"] == value["coverage"]["n_tokens"] == len(ids)
    assert value["n_windows"] == value["coverage"]["n_windows"] == len(made["input_ids"])
    assert value["output_bytes"] == Path("story.windows.pt").stat().st_size
    for key in ("content_sha256", "sources", "encoding"):
        assert value[key] == made["meta"][key]
