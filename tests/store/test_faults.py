"""Promises of what a store's files may state: values that do not fit are named or made anew, whoever sealed them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.stores import build, contents, reseal

from llmprep.errors import FileFormatError, RefusedError
from llmprep.store.manifest import read_manifest
from llmprep.store.merge import merge_store
from llmprep.store.sealed import seal

LARGE = 2**70
Place = tuple[Any, ...]

MANIFESTS: list[tuple[Place, Any, str]] = [
    (("format",), "llmprep-store/2", "format is 'llmprep-store/2', this llmprep reads 'llmprep-store/1'"),
    (("n_tokens",), True, "n_tokens is missing or no int"),
    (("shards", 0), [], "shard 0: file is missing or no str; shard 0: tokens is missing or no int; shard 0: "),
    (("n_special",), -1, "n_special is out of range"),
    (("n_empty",), -1, "n_empty is out of range"),
    (("n_vocab",), 0, "n_vocab is out of range"),
    (("n_vocab",), 70_000, "dtype is not int32, as 70000 ids need"),
    (("encoding",), "../gpt2", "encoding is no name of an encoding"),
    (("content_sha256",), "A" * 64, "content_sha256 is no sha256"),
    (("sources", 1), ["b", -1], "source 1 is no [name, bytes]"),
    (("empty",), [6], "empty does not list numbers of sources"),
    (("shards", 1, "file"), "../x.pt", "shard 1: file is '../x.pt', should be 'tokens-00001.pt'"),
    (("shards", 1, "bytes"), -1, "shard 1: tokens, documents or bytes are out of range"),
    (("shards", 0, "pieces", 0), [6, 0, 1, 1, 1, 1], "shard 0: a piece is no [source, begin, end, tokens, documents"),
    (("shards", 0, "pieces", 0), [0] * 8, "shard 0: a piece is no [source, begin, end, tokens, documents, text, gaps"),
    (("n_documents",), 99, "n_documents is 99, the shards have 16"),
    (("shards", 0, "pieces", 0, 3), 7, "shard 0: its pieces do not add up to its tokens and documents"),
    (("options", "separator"), "none", "shard 2: its pieces do not add up to its tokens and documents"),
    (("splits",), {"train": [0]}, "splits are no [first token, end]"),
    (("splits",), {"train": [0, 10**6]}, "splits are not within the "),
    (("splits",), {"val": [4, 9], "train": [0, 5]}, "splits share tokens"),
]


@pytest.mark.parametrize(("place", "to", "fault"), MANIFESTS, ids=lambda value: ascii(value)[:40])
def test_a_manifest_that_does_not_hold_is_named(place: Place, to: Any, fault: str, store: Path) -> None:
    """A manifest that was changed and sealed again is refused with what is wrong with it."""
    reseal(store / "manifest.json", place, to)
    with pytest.raises(FileFormatError, match=re.escape(f"store/manifest.json: {fault}")):
        read_manifest(store)


RECEIPTS: dict[Place, list[Any]] = {
    ("pieces",): [[], [[0, 0, 0, 0, 0]] * 9, [7], ["x"], [None], {"a": 1}, [[]]],
    ("pieces", 0): [[0, 1], [5, 1, 1, 1, 1], [0, 1, -1, 1, 1], [0, 1, LARGE, 1, 1], [0.5] * 5],
    ("tokens",): [-1, True, LARGE, 1, None, "9"],
    ("documents",): [-1, LARGE, 99],
    ("special",): [-1, LARGE],
    ("empty",): [-1, LARGE],
    ("content", 0): [[], [1, 2, 3, "x"]],
    ("file",): ["../x.pt"],
    ("plan_sha256",): ["\ud800"],
}
PLANS: dict[Place, list[Any]] = {
    ("shards",): [[], [[]], [7], [[7]], ["x"], [[[0, 0]]], {"a": 1}],
    ("shards", 0, 0): [[99, 0, None], [-1, 0, None], [0, 5, 1], [0, -1, 1], [True, 0, 1], [0.0, 0, 1]],
    ("corpus",): [[], [7], [[]], [["a", -1, 0, "x"]], [["a", 1, 0, "x"]]],
    ("n_vocab",): [-1, 0, LARGE, True, 7],
    ("options",): [{}, {"encoding": "gpt2"}],
    ("options", "encoding"): [7, "nonsense", "\x1b[2J"],
    ("options", "vocab_sha256"): ["0"],
    ("options", "separator"): [["eot"]],
    ("val_fraction",): [7, -0.5, "x", [1], True],
    ("plan_sha256",): ["0" * 64],
    (): [{"plan_sha256": "0"}],
}
FORGED = [
    (name, place, to)
    for name, table in (("receipts/00001.json", RECEIPTS), ("plan.json", PLANS))
    for place, wrong in table.items()
    for to in wrong
]


@pytest.mark.parametrize(("name", "place", "to"), FORGED, ids=lambda value: ascii(value)[:40])
def test_what_is_forged_is_refused_or_made_anew(
    name: str, place: Place, to: Any, store: Path, built: Path, corpus: Path
) -> None:
    """A receipt or plan that was changed and sealed again: one line that names the store, or a store that is sound.

    A merge takes neither, but for figures of a plan that the manifest does not need; where a plan is refused nothing
    is changed, and a restart builds the store.
    """
    reseal(store / name, place, to) if place else (store / name).write_bytes(seal(to))
    (store / "manifest.json").unlink()
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file() and path.name != ".lock"}
    refusals = [refusal_of(lambda: merge_store(store)), refusal_of(lambda: build(corpus, store))]
    assert refusals[0] or name == "plan.json"
    if refusals[1]:
        assert name != "plan.json" or before.items() <= {path: path.read_bytes() for path in before}.items()
        build(corpus, store, restart=True)
    assert contents(store) == contents(built)


def refusal_of(write: Callable[[], object]) -> str:
    """The line of a refusal, short and of the store; empty if there was none."""
    try:
        write()
    except (FileFormatError, RefusedError) as error:
        line = str(error)
        return line if re.fullmatch("store[:/].{,450}", line) else pytest.fail(line)
    return ""
