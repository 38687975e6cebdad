"""Promises of files of the format before, of which one of each kind is kept: they are read and verified."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.commands import Call
from support.golden import GOLDEN
from support.stores import reseal

from llmprep import WindowDataset
from llmprep.errors import FileFormatError, RefusedError
from llmprep.store.format_1 import in_columns
from llmprep.store.manifest import read_manifest
from llmprep.store.merge import merge_store
from llmprep.store.reading import TokenStore
from llmprep.store.sealed import seal

Place = tuple[Any, ...]
OLD = GOLDEN / "format-1"
KINDS = sorted(path.name for path in OLD.iterdir())


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_verified(call: Call, name: str) -> None:
    """``inspect --verify`` finds all that an old file or store states to be true."""
    ended = call("inspect", OLD / name, "--verify")
    hashed = name in ("tokens.pt", "windows.pt", "store")
    assert (ended.code, b"verified: content_sha256" in ended.stdout) == (0, hashed)


@pytest.mark.parametrize("name", ["tokens.pt", "store"])
def test_the_old_hash_is_checked(call: Call, tmp_path: Path, name: str) -> None:
    """An old file that claims to be a new one is found out: its hash is that of the format before."""
    if name == "store":
        shutil.copytree(OLD / name, tmp_path / name)
        manifest = tmp_path / name / "manifest.json"
        stated = in_columns(json.loads(manifest.read_text())) | {"format": "llmprep-store/2"}
        del stated["seal_sha256"]
        manifest.write_bytes(seal(stated))
    else:
        held = torch.load(OLD / name)
        torch.save(held | {"meta": held["meta"] | {"format": "llmprep/2"}}, tmp_path / name)
    ended = call("inspect", name, "--verify")
    assert (ended.code, b"content_sha256 is " in ended.stderr) == (4, True)


@pytest.mark.parametrize("name", ["tokens.pt", "store"])
def test_what_is_made_of_old_ids_is_new(call: Call, name: str) -> None:
    """Windows of an old file or store are of the new format, with the new hash, and the ids are the same."""
    assert call("window", OLD / name, "--max-length", 8, "-o", "w.pt").code == 0
    made = torch.load("w.pt")
    assert made["meta"]["format"] == "llmprep/2"
    assert call("inspect", "w.pt", "--verify").code == 0
    ids = TokenStore(OLD / name).read(0, 160) if name == "store" else torch.load(OLD / name)["token_ids"][:160].numpy()
    assert np.array_equal(made["input_ids"][:20].numpy().reshape(-1), ids)
    assert len(WindowDataset(OLD / name, max_length=8, stride=8)) == len(made["input_ids"])


def test_embeddings_of_old_windows_say_so(call: Call) -> None:
    """The hash of the stream is taken from an old windows file as it is, and so is the format that tells its kind."""
    assert call("embed", OLD / "windows.pt", "--dim", 4, "-o", "e.pt").code == 0
    old, made = torch.load(OLD / "windows.pt")["meta"], torch.load("e.pt")["meta"]
    assert (made["format"], made["content_sha256"]) == ("llmprep/1", old["content_sha256"])


def test_an_old_store_is_not_gone_on_with(call: Call, tmp_path: Path) -> None:
    """A store that was begun in the format before is refused by name, and not mixed with new shards."""
    shutil.copytree(OLD / "store", tmp_path / "store")
    (tmp_path / "a.txt").write_text("a text")
    ended = call("tokenize", "a.txt", "-o", "store/", "--shard-bytes", 900)
    assert ended.code == 6
    assert b"format was llmprep-store/1, is llmprep-store/2" in ended.stderr


@pytest.mark.parametrize(
    ("name", "said", "code"),
    [("tokens.pt", "llmprep/2", 0), ("tokens.pt", "llmprep/1", 4), ("windows.pt", "llmprep/2", 4)],
)
def test_only_a_shard_may_state_no_hash(name: str, said: str, code: int, call: Call) -> None:
    """Without a hash a file of the new format with nothing but ``token_ids`` is a shard, and any other is wrong."""
    held = torch.load(OLD / name)
    meta = {key: value for key, value in held["meta"].items() if key != "content_sha256"}
    torch.save(held | {"meta": meta | {"format": said, "kind": "tokens"}}, "x.pt")
    ended = call("inspect", "x.pt", "--verify")
    assert (ended.code, b"content_sha256 is missing" in ended.stderr) == (code, code == 4)


OLD_MANIFESTS: list[tuple[Place, list[Any], str]] = [
    (("sources",), [7, {}], "sources is missing or no list"),
    (("shards", 0, "pieces"), [None], "shard 0: pieces is missing or no list"),
    (("sources", 1), [7, ["b.txt"], ["b.txt", -1], ["b.txt", 25, 0], [25, "b.txt"]], "source 1 is no [name, bytes]"),
    (("empty",), [[-1], ["3"]], "empty does not list numbers of sources"),
    (
        ("shards", 3, "pieces", 1),
        [7, [1, 0, 25], [1, 30, 25, 7, 1, 25], [1, 0, 25, 7, 1, 25, 7]],
        "shard 3: a piece is",
    ),
    (("shards", 3, "pieces", 1, 0), [2], "shard 3: its pieces are not of sources that follow each other"),
    (("shards", 0, "pieces"), [[]], "shard 0: its pieces do not add up to its tokens and documents"),
]
OLD_RECEIPTS: dict[Place, list[Any]] = {
    ("content",): [7, [7], [[3000, -1, "", "0" * 64]], [[3000, 1, "", "0"]]],
    ("pieces",): [[7], [[1, 0, 25]], [[5, 0, 9, 9, 9]]],
}
OLD_PLANS: dict[Place, list[Any]] = {
    ("corpus",): [7, [7], [["a.txt", -1, 0, ""]]],
    ("shards",): [[7], [[]], [[[0, -1, None]]], [[[0, 0]]]],
}


@pytest.mark.parametrize(("place", "wrong", "fault"), OLD_MANIFESTS, ids=lambda value: ascii(value)[:40])
def test_an_old_manifest_that_does_not_hold_is_named(place: Place, wrong: list[Any], fault: str) -> None:
    """Lists that are no sources or pieces are refused with the first that is wrong, as columns are."""
    for to in wrong:
        shutil.copytree(OLD / "store", "store", dirs_exist_ok=True)
        reseal(Path("store/manifest.json"), place, to)
        with pytest.raises(FileFormatError, match=f"^store/manifest.json: {re.escape(fault)}"):
            read_manifest(Path("store"))


@pytest.mark.parametrize("places", [OLD_RECEIPTS, OLD_PLANS], ids=["receipt", "plan"])
def test_an_old_plan_that_does_not_hold_is_refused(places: dict[Place, list[Any]]) -> None:
    """What is no list of the format before is taken for what it states itself to be, and is none of that."""
    name = "plan.json" if places is OLD_PLANS else "receipts/00003.json"
    for place, wrong in places.items():
        for to in wrong:
            shutil.copytree(OLD / "store", "store", dirs_exist_ok=True)
            Path("store/manifest.json").unlink()
            reseal(Path("store", name), place, to)
            with pytest.raises((FileFormatError, RefusedError), match=r"^store[:/]"):
                merge_store(Path("store"))
