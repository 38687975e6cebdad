"""Promises of ``pairs``: the course's growing contexts, printed and in a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from support.commands import Call
from support.reference import encode, pair_rows, tiktoken_encoding

Pair = tuple[list[int], int]


def printed(pairs: Iterable[Pair]) -> list[str]:
    """The reference's two forms of pairs, with newlines written out."""
    listed, text_of = list(pairs), tiktoken_encoding("gpt2").decode
    as_text = [f"{text_of(context)} ----> {text_of([target])}" for context, target in listed]
    return [f"{context} ----> {target}" for context, target in listed] + [t.replace("\n", r"\n") for t in as_text]


def test_the_courses_pairs(call: Call, verdict: Path) -> None:
    """``pairs --start 50`` on the course's story prints the course's eight lines and nothing else."""
    ended = call("pairs", verdict, "--start", "50")

    assert (ended.code, ended.notes) == (0, [])
    assert ended.lines == [
        "[290] ----> 4920",
        "[290, 4920] ----> 2241",
        "[290, 4920, 2241] ----> 287",
        "[290, 4920, 2241, 287] ----> 257",
        " and ---->  established",
        " and established ---->  himself",
        " and established himself ---->  in",
        " and established himself in ---->  a",
    ]


@pytest.mark.parametrize(("start", "context_size"), [(0, 4), (61, 4), (6250, 8), (100, 1)])
def test_pairs_of_the_sample_story(call: Call, story: Path, start: int, context_size: int) -> None:
    """``pairs`` prints exactly the pairs that slicing tiktoken's ids gives, ids first, then text."""
    ids = encode(story.read_text(encoding="utf-8"))[start : start + context_size + 1]

    ended = call("pairs", story, "--start", str(start), "--context-size", str(context_size))

    assert (ended.code, ended.notes) == (0, [])
    assert ended.lines == printed(pair_rows(ids, context_size))


def test_pairs_of_several_windows(call: Call, story: Path) -> None:
    """``--windows N`` grows N neighbouring windows; the file holds the same pairs, padded with the end-of-text id."""
    ids = encode(story.read_text(encoding="utf-8"))[10:19]
    rows = [*pair_rows(ids[:5], 4), *pair_rows(ids[4:], 4)]

    ended = call("pairs", story, "--start", "10", "--windows", "2", "-o", "p.pt")

    made = torch.load("p.pt", weights_only=True)
    assert ended.lines == printed(rows)
    assert made["targets"].tolist() == [target for _, target in rows]
    assert made["lengths"].tolist() == [len(context) for context, _ in rows]
    assert made["contexts"].tolist() == [context + [50256] * (4 - len(context)) for context, _ in rows]


def test_pairs_as_json(call: Call, story: Path) -> None:
    """``--json`` gives each context and target, as ids and as text."""
    ids = encode(story.read_text(encoding="utf-8"))[:3]
    text_of = tiktoken_encoding("gpt2").decode

    value = call("pairs", "--json", "--context-size", "2", story).value

    assert value == {
        "command": "pairs",
        "encoding": "gpt2",
        "output": None,
        "pairs": [
            {"context": context, "target": target, "context_text": text_of(context), "target_text": text_of([target])}
            for context, target in pair_rows(ids, 2)
        ],
    }


def test_inputs_that_were_not_read_are_not_said_to_be_empty(call: Call) -> None:
    """``pairs`` reads no further than it shows, and knows nothing of what comes after."""
    for name in ("a", "b", "c"):
        Path(f"{name}.txt").write_text("one two three four five six seven", encoding="utf-8")
    Path("e.txt").touch()

    assert call("pairs", "a.txt", "b.txt", "c.txt").notes == []
    assert call("pairs", "e.txt", "a.txt", "b.txt").notes == ["llmprep: note: 1 empty input skipped: e.txt"]
