"""Promises of what a store's files may state: values that do not fit are named or made anew, whoever sealed them."""

import re
from pathlib import Path
from typing import Any

import pytest
from support.stores import build, contents, reseal

from llmprep.errors import FileFormatError, RefusedError
from llmprep.store.manifest import read_manifest
from llmprep.store.merge import merge_store

LARGE = 2**70
Place = tuple[Any, ...]
NO_COLUMN = ["", "1", "1  2", " 1", "1 2 ", "-1", "0.5", "1e3", "9" * 30, f"{2**62}", 7, None]
N_PIECES = 8
ZERO_PIECES, HUGE_PIECES = " ".join(["0"] * N_PIECES), " ".join([str(2**62 - 1)] * N_PIECES)
NO_GAPS: list[Any] = [
    7,
    None,
    [7],
    [[0]],
    [[-1, []]],
    [[99, [[1, 1]]]],
    [[0, [[0, 1]]]],
    [[1, None], [0, None]],
    [[0, []]],
]
MANIFESTS: list[tuple[Place, list[Any], str]] = [
    (("format",), ["llmprep-store/3", "9" * 5000], "format is '"),
    (("n_tokens",), [True, 2.0], "n_tokens is missing or no int"),
    (("shards", 0), [[]], "shard 0: file is missing or no str; shard 0: tokens is missing or no int; shard 0: "),
    (("n_special",), [-1, 2**63], "n_special is out of range"),
    (("n_vocab",), [70_000], "dtype is not uint32, as 70000 ids need"),
    (("encoding",), ["../gpt2", "", "\x1b[2J", "a" * 99], "encoding is not the name of an encoding"),
    (("content_sha256",), ["A" * 64, "\ud800"], "content_sha256 is not a sha256"),
    (("names",), ["", "a//b", "a//b//c//d//e//f//g"], "sizes are no bytes of each of the names"),
    (("sizes",), [each for each in NO_COLUMN if type(each) is str], "sizes are no bytes of each of the names"),
    (("empty",), ["6", "a", "1  2"], "empty does not list numbers of sources"),
    (("shards", 1, "file"), ["../x.pt"], "shard 1: file is '../x.pt', should be 'tokens-00001.pt'"),
    (("shards", 1, "bytes"), [-1, LARGE], "shard 1: tokens, documents, bytes, first or n_pieces are out of range"),
    (("shards", 1, "first"), [6, 10**9], "shard 1: first and n_pieces are no numbers of sources"),
    (("shards", 1, "n_pieces"), [3, 0], "pieces: begin is not a list of "),
    (("pieces", "tokens"), [*NO_COLUMN, HUGE_PIECES.replace("3", "4")], "pieces: tokens is not a list of "),
    (("pieces", "end"), [ZERO_PIECES], "pieces: one ends before it begins, or its gaps are none"),
    (("pieces", "gaps"), NO_GAPS, "pieces: one ends before it begins, or its gaps are none"),
    (("n_documents",), [99], "n_documents is 99, the shards have 16"),
    (("pieces", "tokens"), [ZERO_PIECES, HUGE_PIECES], "shard 0: its pieces do not add up to its tokens and documents"),
    (("options", "separator"), ["none"], "shard 2: its pieces do not add up to its tokens and documents"),
    (("splits",), [{"train": [0]}, {"train": 5}, {"train": ["a", 9]}, {"a": [-9, 20]}], "splits are no [first token,"),
    (("splits",), [{"train": [0, 10**6]}, {"train": [20, 10]}], "splits are not within the "),
    (("splits",), [{"val": [4, 9], "train": [0, 5]}], "splits share tokens"),
]


@pytest.mark.parametrize(("place", "wrong", "fault"), MANIFESTS, ids=lambda value: ascii(value)[:40])
def test_a_manifest_that_does_not_hold_is_named(place: Place, wrong: list[Any], fault: str, store: Path) -> None:
    """A manifest that was changed and sealed again is refused with what is wrong with it, in a short line."""
    for to in wrong:
        reseal(store / "manifest.json", place, to)
        with pytest.raises(FileFormatError, match=f"^store/manifest.json: {re.escape(fault)}.{{,450}}$"):
            read_manifest(store)


RECEIPTS: dict[Place, list[Any]] = {
    ("pieces",): [[], {}, {"a": 1}],
    ("pieces", "tokens"): NO_COLUMN,
    ("pieces", "end"): ["0"],
    ("pieces", "gaps"): NO_GAPS,
    ("tokens",): [-1, True, LARGE, 1, None],
    ("documents",): [-1, 99],
    ("special",): [-1],
    ("empty",): [-1, LARGE],
    ("stamps",): [{}, 7],
    ("stamps", "sizes"): NO_COLUMN,
    ("stamps", "times"): ["", "0" * 15, "A" * 16, "0" * 15 + " ", 7],
    ("hashes",): ["", "0" * 63, 7],
    ("file",): ["../x.pt"],
    ("plan_sha256",): ["\ud800"],
}
PLANS: dict[Place, list[Any]] = {
    ("shards",): [[], [[]], [7], [[0, 0]], {"a": 1}],
    ("shards", 0): [
        [99, 1, 0, -1, -1],
        [-1, 1, 0, -1, -1],
        [0, 99, 0, -1, -1],
        [0, 0, 0, -1, -1],
        [0, -1, 0, -1, -1],
        [0, 1, 5, 1, -1],
        [0, 1, -1, 1, -1],
        [0, 1, 0, 9, 9],
        [True, 1, 0, 9, -1],
        [0.0, 1, 0, 9, -1],
        [0, 1, 0, LARGE, -1],
    ],
    ("names",): ["", "a", 7],
    ("stamps",): [{}, []],
    ("stamps", "sizes"): NO_COLUMN,
    ("stamps", "samples"): ["", "x" * 96, "0" * 95, 7],
    ("n_vocab",): [-1, 0, LARGE, 7],
    ("options",): [{}],
    ("options", "encoding"): [7, "\x1b[2J"],
    ("options", "vocab_sha256"): ["0"],
    ("options", "separator"): [["eot"]],
    ("val_fraction",): [7, -0.5, "x", True],
    ("plan_sha256",): ["0" * 64],
}
FORGED = [("receipts/00001.json", place, to) for place, wrong in RECEIPTS.items() for to in wrong]
FORGED += [("plan.json", place, to) for place, wrong in PLANS.items() for to in wrong]


@pytest.mark.parametrize(("name", "place", "to"), FORGED, ids=lambda value: ascii(value)[:40])
def test_what_is_forged_is_refused_or_made_anew(
    name: str, place: Place, to: Any, store: Path, built: Path, corpus: Path
) -> None:
    """A receipt or plan that was changed and sealed again: a line that names the store, or a store that is sound."""
    reseal(store / name, place, to)
    (store / "manifest.json").unlink()
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file() and path.name != ".lock"}
    refused: dict[str, str] = {}
    for what, write in (("merge", lambda: merge_store(store)), ("build", lambda: build(corpus, store))):
        try:
            write()
        except (FileFormatError, RefusedError) as error:
            refused[what] = str(error)
    assert "merge" in refused or name == "plan.json"
    assert all(re.fullmatch("store[:/].{,450}", line) for line in refused.values()), refused
    if "build" in refused:
        assert name != "plan.json" or all(path.read_bytes() == data for path, data in before.items())
        build(corpus, store, restart=True)
    assert contents(store) == contents(built)
