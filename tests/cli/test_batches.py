"""Promises of ``--batch-size``: what is shown is what the course's loader gives, from any input."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.commands import Call
from support.reference import encode, window_rows
from support.refusals import check_refused
from torch.utils.data import DataLoader, TensorDataset

from llmprep import WindowDataset, WindowSampler

LENGTH, STRIDE, SIZE, SEED = 6, 4, 5, 7
SHAPE = ("--max-length", str(LENGTH), "--stride", str(STRIDE), "--batch-size", str(SIZE))
KINDS = ["a.txt", "tokens.pt", "windows.pt", "store"]


@pytest.fixture
def ids(call: Call, story: Path) -> list[int]:
    """The ids of a text, a tokens file, a windows file and a store in the current folder."""
    text = story.read_text(encoding="utf-8")[:2500]
    Path("a.txt").write_text(text, encoding="utf-8")
    assert call("tokenize", "a.txt", "-o", "tokens.pt").code == 0
    assert call("window", "a.txt", *SHAPE[:4], "--preview", "0", "-o", "windows.pt").code == 0
    assert call("tokenize", "a.txt", "-o", "store/", "--shard-bytes", "600", "--jobs", "1").code == 0
    return encode(text)


def textbook(ids: list[int], *, shuffle: bool = False, drop_last: bool = False) -> list[list[torch.Tensor]]:
    """The batches of a plain DataLoader over the textbook loop's windows."""
    rows = TensorDataset(*map(torch.tensor, window_rows(ids, LENGTH, STRIDE)))
    torch.manual_seed(SEED if shuffle else 0)
    return [list(batch) for batch in DataLoader(rows, SIZE, shuffle=shuffle, drop_last=drop_last)]


def plain(batches: list[Any]) -> list[dict[str, list[list[int]]]]:
    """Batches as JSON has them."""
    return [{"input_ids": x.tolist(), "target_ids": y.tolist()} for x, y in batches]


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_the_textbook_loaders(shuffle: bool, drop_last: bool, call: Call, ids: list[int]) -> None:
    """Window and inspect show, from any input, all batches of a plain loader; a store's are its sampler's."""
    options = [*(["--shuffle", "--seed", SEED] if shuffle else []), *(["--drop-last"] if drop_last else [])]
    wanted, n_windows = textbook(ids, shuffle=shuffle, drop_last=drop_last), len(window_rows(ids, LENGTH, STRIDE)[0])
    for name in KINDS[:2]:
        shown = call("window", name, *SHAPE, *options, "--preview", "999", "--json", "-o", "x.pt").value["batches"]
        assert shown.pop("first") == plain(wanted)
        assert shown == {
            "batch_size": SIZE, "shuffle": shuffle, "seed": SEED if shuffle else None, "drop_last": drop_last,
            "n_batches": len(wanted), "n_last": len(wanted[-1][0]), "n_dropped": n_windows % SIZE if drop_last else 0,
        }  # fmt: skip
    if shuffle:
        torch.manual_seed(SEED)
        dataset = WindowDataset("store", LENGTH, STRIDE)
        order = list(WindowSampler(dataset, seed=int(torch.empty((), dtype=torch.int64).random_())))
        sampled = [dataset.__getitems__(order[k : k + SIZE]) for k in (0, SIZE)]
    for name in KINDS[1:]:
        shown = call("inspect", name, *SHAPE, *options, "--json").value["batches"]["first"]
        own = [(batch.inputs, batch.targets) for batch in sampled] if shuffle and name == "store" else wanted[:2]
        assert shown == plain(own)


def test_each_part_of_a_split_has_its_batches(call: Call, ids: list[int]) -> None:
    """With --val-fraction the batches are those of each part, also where nothing is written."""
    cut = len(ids) - len(ids) // 5
    options = ("a.txt", *SHAPE, "--shuffle", "--seed", SEED, "--val-fraction", "0.2", "--json")
    parts = call("window", *options).value
    assert parts["train"]["batches"]["first"] == plain(textbook(ids[:cut], shuffle=True)[:2])
    assert parts["val"]["batches"]["first"] == plain(textbook(ids[cut:], shuffle=True)[:2])
    given = call("window", "--text", Path("a.txt").read_text(), *options[1:]).value
    assert given["val"]["batches"] == parts["val"]["batches"]


def test_words_are_what_the_course_prints(call: Call, ids: list[int]) -> None:
    """In words a batch is what the course's two print statements show, then its texts; an epoch is one sentence."""
    (inputs, targets), *others = textbook(ids, drop_last=True)
    lines = call("window", "a.txt", *SHAPE, "--drop-last", "--preview", "1").lines
    begin = lines.index("batch 0")
    printed = f"Inputs:\n {inputs}\n\nTargets:\n {targets}\n".split("\n")
    end = begin + 1 + len(printed)
    assert lines[begin + 1 : end] == printed
    assert lines[end] == r"row 0: The Eleventh Wheel\n\n ----> The"
    steps = "1,000 steps are 31 epochs."
    assert lines[-3] == f"161 windows give 32 batches of {SIZE} an epoch, and 1 window is dropped; {steps}"
    assert len(others) == 31
    few = call("window", "a.txt", *SHAPE[:4], "--batch-size", "1000", "--drop-last")
    assert few.lines[-3] == "161 windows are less than a batch of 1,000: with --drop-last there is none."


WRONG = {
    "window a.txt --shuffle": "--shuffle: is only used with --batch-size",
    "inspect tokens.pt --seed 3": "--seed: is only used with --batch-size",
    "window a.txt --batch-size 2 --seed 3": "--seed: is only used with --shuffle",
    "window a.txt --batch-size 2 -q": "--batch-size: shows batches, and --quiet shows nothing; leave one out",
    "window a.txt --batch-size 2 --dry-run": "--batch-size: --dry-run makes no windows to take batches of; ...",
    "window a.txt --batch-size 2 -o -": "--batch-size: batches are read from the file that is written; - is none",
    "window a.txt --batch-size 2 -o /dev/null": "--batch-size: batches are read from ...; /dev/null is none",
    "inspect tables.pt --batch-size 2": "tables.pt: holds no windows to make batches of; leave out --batch-size",
}


def test_what_has_no_batches_is_refused(call: Call, ids: list[int]) -> None:
    """Options that would not be heeded, and what has no windows, are one line."""
    assert call("embed", "windows.pt", "--dim", "4", "-o", "e.pt", "--save-weights", "tables.pt").code == 0
    for line, error in WRONG.items():
        check_refused(call, *line.split(), code=2, line=error)
