"""Promises of ``meta``: it states what decides a file's content and nothing else, and nothing in it is trusted."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from support import reference
from support.streams import Make, ids_sha256, saved, sha256

from llmprep import __version__
from llmprep.errors import FileFormatError, UsageError
from llmprep.formats.meta import FORMAT, check_dtype, checked_meta, wrong_keys

COMMANDS = (
    "tokenize",
    "tokenize --dtype uint16",
    "pairs --windows 3",
    "window --max-length 7 --stride 3",
    "window --max-length 7 --stride 9 --dtype int32",
    "window --max-length 7 --dense",
    "embed --max-length 4 --dim 3 --shuffle",
)
TEXT = {"newlines": "universal", "separator": "eot", "special": "allow"}
WINDOWS = {"max_length": 7, "stride": 3, "dtype": "int64", "dense": False}
EMBEDDINGS = {
    "max_length": 4,
    "stride": 4,
    "dim": 2,
    "context_length": 1024,
    "batch_size": 8,
    "n_windows": 16,
    "seed": 123,
    "shuffle": True,
    "dtype": "float16",
    "weights_sha256": None,
}


@pytest.mark.parametrize(
    ("command", "kind", "options"),
    [
        ("tokenize --dtype int32", "tokens", {"dtype": "int32"}),
        ("pairs --start 9", "pairs", {"start": 9, "context_size": 4, "windows": 1, "dtype": "int64"}),
        ("window --max-length 7 --stride 3", "windows", WINDOWS),
        ("embed --max-length 4 --dim 2 --dtype float16 --batches 2 --shuffle", "embeddings", EMBEDDINGS),
    ],
)
def test_meta(
    make: Make, command: str, kind: str, options: dict[str, object], story: Path, story_ids: list[int]
) -> None:
    """``meta`` says what a file was made from and with which options that decide its content, and nothing else."""
    meta = make(*command.split(), story)["meta"]

    assert meta == {
        "format": "llmprep/1",
        "kind": kind,
        "llmprep_version": __version__,
        "encoding": "gpt2",
        "vocab_sha256": sha256(reference.rank_lines(reference.gpt2_ranks())),
        "n_vocab": reference.tiktoken_encoding("gpt2").n_vocab,
        "n_tokens": len(story_ids),
        "options": TEXT | options,
        "sources": [
            {
                "name": "story.txt",
                "bytes": story.stat().st_size,
                "sha256": sha256(story.read_bytes()),
                "tokens": len(story_ids),
                "documents": 1,
            }
        ],
        "content_sha256": ids_sha256(story_ids),
    }
    assert json.loads(json.dumps(meta)) == meta


@pytest.mark.parametrize("command", COMMANDS)
def test_bytes_do_not_depend_on_where_and_when(
    make: Make, command: str, story: Path, story_ids: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another folder, path, name, clock, time zone, home and user, or a tokens file for the text: the same bytes."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(story, elsewhere)
    loaded = make(*command.split(), story)
    before = (tmp_path / "x.pt").read_bytes()

    make("tokenize", story, "--dtype", "uint16", out="tokens.pt")
    make(*command.split(), "tokens.pt", out="from_ids.pt")
    assert (tmp_path / "from_ids.pt").read_bytes() == before
    assert loaded["meta"]["content_sha256"] == ids_sha256(story_ids)

    monkeypatch.chdir(elsewhere)
    for name, value in (("TZ", "Asia/Kolkata"), ("HOME", "/none"), ("USER", "somebody")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    os.utime("story.txt", (1e9, 1e9))
    make(*command.split(), "./story.txt", out="another name.pt")
    assert Path("another name.pt").read_bytes() == before
    assert os.fsencode(tmp_path) not in before


# --- checking -------------------------------------------------------------------------------------

SOURCE = {"name": "a", "bytes": 1, "sha256": "", "tokens": 1, "documents": 1}
META = {
    "format": FORMAT,
    "kind": "windows",
    "encoding": "gpt2",
    "vocab_sha256": "",
    "n_vocab": 9,
    "n_tokens": 0,
    "content_sha256": "",
    "options": {"max_length": 1, "stride": 1, "dense": False},
    "sources": [SOURCE, SOURCE | {"gaps": [[1, 2]]}],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "llmprep/9"}, "format is 'llmprep/9', this llmprep reads 'llmprep/1'"),
        ({"kind": None, "n_tokens": True}, "meta: kind is missing or no str; n_tokens is missing or no int"),
        ({"sources": [SOURCE | {"bytes": 1.5}, None]}, "meta: sources: bytes is missing or no int; sources: name is "),
        (
            {"sources": [SOURCE | {"gaps": [[2, 1], [1, 1]]}]},
            "meta: sources: gaps are no runs [number, count] in order",
        ),
        ({"n_vocab": 0}, "meta: n_vocab 0 is out of range"),
        ({"n_vocab": (1 << 24) + 1}, "meta: n_vocab 16777217 is out of range"),
        ({"n_tokens": -1}, "meta: n_tokens -1 is out of range"),
        ({"options": {"max_length": 4}}, "meta: stride is missing or no int; dense is missing or no bool"),
        (
            {"options": {"max_length": 0, "stride": -1, "dense": True}},
            "meta: max_length is less than 1; stride is less",
        ),
    ],
)
def test_what_is_wrong_with_meta_is_listed(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    """A ``meta`` with anything missing, of another type or out of range is refused, and the error says what."""
    windows = {"input_ids": torch.ones(1, 1), "target_ids": torch.ones(1, 1)}
    assert checked_meta(saved(tmp_path / "x.pt", meta=META | {"n_vocab": 1 << 24}, **windows))["n_tokens"] == 0

    with pytest.raises(FileFormatError) as raised:
        checked_meta(saved(tmp_path / "x.pt", meta=META | change, **windows))

    assert str(raised.value).startswith(f"{tmp_path}/x.pt: {message}")
    assert str(raised.value).count(";") < 8


def test_a_file_of_another_program_has_no_meta(tmp_path: Path) -> None:
    """The error of a file without ``meta`` names its keys."""
    with pytest.raises(FileFormatError, match=r"has no meta: llmprep did not write it; its keys: note, x$"):
        checked_meta(saved(tmp_path / "x.pt", x=torch.ones(1), note="text"))


@pytest.mark.parametrize("values", [None, [], {"n": True, "s": 5}, {"s": None}])
def test_keys_are_checked_by_their_exact_types(values: object) -> None:
    """Each key that is missing, or whose value is of another type, is named; more keys do no harm."""
    wanted = {"n": int, "s": str}

    assert wrong_keys(values, wanted, "here: ") == ["here: n is missing or no int", "here: s is missing or no str"]
    assert wrong_keys({"n": 1, "s": "", "more": None}, wanted) == []


def test_uint16_holds_65536_ids() -> None:
    """A vocabulary of 65,536 ids fits uint16, one more does not; the other dtypes hold any."""
    check_dtype("uint16", 65_536)
    check_dtype("int32", 201_088)
    check_dtype("int64", 201_088)
    with pytest.raises(UsageError, match="--dtype uint16: holds ids up to 65535, this vocabulary has 65537"):
        check_dtype("uint16", 65_537)
