"""Promises of files: what each format and its ``meta`` hold, wrong ids named, and that nothing else decides a byte."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import reference
from support.commands import Call
from support.refusals import check_refused
from support.streams import Make, ids_sha256, saved, sha256

from llmprep import __version__
from llmprep.errors import FileFormatError, UsageError
from llmprep.formats.ids import check_ids, id_blocks
from llmprep.formats.meta import check_dtype, checked_meta, wrong_keys
from llmprep.vocabulary.loading import load_vocabulary

COMMANDS = (
    "tokenize --dtype uint16",
    "pairs --windows 3",
    "window --max-length 7 --stride 3",
    "window --max-length 7 --stride 9 --dtype int32",
    "window --max-length 7 --dense",
    "embed --max-length 4 --dim 3 --shuffle",
)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint16"])
def test_a_tokens_file(make: Make, dtype: str, story: Path, story_ids: list[int], tmp_path: Path) -> None:
    """`tokenize` writes ``token_ids`` (n,) and ``meta``, with a record for each input; separators belong to none."""
    (tmp_path / "b.txt").write_text("The end.")
    end = reference.encode("The end.")

    loaded = make("tokenize", story, "b.txt", "--dtype", dtype)

    assert list(loaded) == ["token_ids", "document_starts", "meta"]
    assert loaded["document_starts"].tolist() == [0, len(story_ids) + 1]
    assert loaded["token_ids"].dtype is getattr(torch, dtype)
    assert loaded["token_ids"].tolist() == [*story_ids, 50256, *end]
    records = [(record["name"], record["tokens"], record["documents"]) for record in loaded["meta"]["sources"]]
    assert records == [("story.txt", len(story_ids), 1), ("b.txt", len(end), 1)]
    assert loaded["meta"]["n_tokens"] == len(story_ids) + 1 + len(end)


def test_another_encoding(make: Make, call: Call, story: Path, vocab_dir: Path) -> None:
    """With ``--encoding`` ids, size and hash are that vocabulary's; a dtype too small for its ids is refused."""
    options = (story, "--encoding", "gpt-4", "--vocab-dir", vocab_dir, "--dtype")
    loaded = make("tokenize", *options, "int32")

    assert loaded["token_ids"].tolist() == reference.encode(story.read_text(encoding="utf-8"), "cl100k_base")
    meta = loaded["meta"]
    assert (meta["encoding"], meta["n_vocab"]) == ("cl100k_base", 100_277)
    assert meta["vocab_sha256"] == sha256(reference.rank_file("cl100k_base"))
    line = "--dtype uint16: holds ids up to 65535, this vocabulary has 100277..."
    for command in ("tokenize", "window"):
        check_refused(call, command, *options, "uint16", "-o", "new.pt", code=2, line=line)


TEXT = {"newlines": "universal", "separator": "eot", "special": "allow"}
SAMPLED = {"batch_size": 8, "n_windows": 16, "seed": 123, "shuffle": True, "weights_sha256": None}
SHAPE = {"max_length": 4, "stride": 4, "dim": 2, "context_length": 1024, "dtype": "float16"}


@pytest.mark.parametrize(
    ("command", "kind", "options"),
    [
        ("tokenize --dtype int32", "tokens", {"dtype": "int32"}),
        ("pairs --start 9", "pairs", {"start": 9, "context_size": 4, "windows": 1, "dtype": "int64"}),
        ("window --max-length 7", "windows", {"max_length": 7, "stride": 7, "dtype": "int64", "dense": False}),
        ("embed --max-length 4 --dim 2 --dtype float16 --batches 2 --shuffle", "embeddings", SHAPE | SAMPLED),
    ],
)
def test_meta(
    make: Make, command: str, kind: str, options: dict[str, object], story: Path, story_ids: list[int]
) -> None:
    """``meta`` says what a file was made from and with which options that decide its content, and nothing else."""
    meta = make(*command.split(), story)["meta"]
    record = {"name": "story.txt", "bytes": story.stat().st_size, "sha256": sha256(story.read_bytes())}
    assert meta == {
        "format": "llmprep/2",
        "kind": kind,
        "llmprep_version": __version__,
        "encoding": "gpt2",
        "vocab_sha256": sha256(reference.rank_lines(reference.gpt2_ranks())),
        "fingerprint": load_vocabulary("gpt2").fingerprint,
        "n_vocab": 50257,
        "n_tokens": len(story_ids),
        "options": TEXT | options,
        "sources": [record | {"tokens": len(story_ids), "documents": 1}],
        "content_sha256": ids_sha256(story_ids),
    }
    assert json.loads(json.dumps(meta)) == meta


@pytest.mark.parametrize("command", COMMANDS)
def test_bytes_do_not_depend_on_where_and_when(
    make: Make, command: str, story: Path, story_ids: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another folder, path, name and clock, or a tokens file in place of the text: the same bytes."""
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(story, tmp_path / "elsewhere")
    loaded = make(*command.split(), story)
    before = (tmp_path / "x.pt").read_bytes()

    assert loaded["meta"]["content_sha256"] == ids_sha256(story_ids)
    make("tokenize", story, "--dtype", "uint16", out="tokens.pt")
    make(*command.split(), "tokens.pt", out="from_ids.pt")
    assert (tmp_path / "from_ids.pt").read_bytes() == before

    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(time, "time", lambda: 2e9)
    os.utime("story.txt", (1e9, 1e9))
    make(*command.split(), "./story.txt", out="another name.pt")
    assert Path("another name.pt").read_bytes() == before
    assert os.fsencode(tmp_path) not in before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": None, "n_tokens": True}, "kind is missing or no str; n_tokens is missing or no int$"),
        ({"sources": [{"gaps": [[2, 1], [1, 1]]}]}, "sources: gaps are no runs"),
        ({"n_vocab": (1 << 24) + 1}, "n_vocab 16777217 is out of range$"),
        ({"options": {"max_length": 4}}, "stride is missing or no int; dense is missing or no bool$"),
        ({"options": {"max_length": 0, "stride": -1, "dense": True}}, "max_length is less than 1; stride is less"),
    ],
)
def test_what_is_wrong_with_meta_is_listed(
    change: dict[str, Any], message: str, make: Make, story: Path, tmp_path: Path
) -> None:
    """What is missing, of another type or out of range is named, all of one kind together."""
    loaded = make("window", story, "--max-length", "7")
    if "sources" in change:
        change = {"sources": [loaded["meta"]["sources"][0] | change["sources"][0]]}

    with pytest.raises(FileFormatError, match=rf"y\.pt: meta: {message}"):
        checked_meta(saved(tmp_path / "y.pt", **loaded | {"meta": loaded["meta"] | change}))

    assert wrong_keys({"n": 1, "more": None}, {"n": int}) == []
    assert wrong_keys([], {"n": int}, "here: ") == ["here: n is missing or no int"]


def test_uint16_holds_65536_ids() -> None:
    """A vocabulary of 65,536 ids fits uint16, one more does not; the other dtypes hold any."""
    check_dtype("uint16", 65_536)
    check_dtype("int32", 201_088)
    with pytest.raises(UsageError, match="--dtype uint16: holds ids up to 65535, this vocabulary has 65537"):
        check_dtype("uint16", 65_537)


def test_the_first_wrong_id_is_named_with_its_place() -> None:
    """`check_ids` names the id, its index and the size of the vocabulary, in windows and far into a long stream."""
    windows, stream = np.full((4, 15), 50256, np.int32), np.full(1_000_000, 50256)
    check_ids(windows, 50257, "x.pt")
    windows[3, 12:] = -1
    stream[987_654:] = 50257

    with pytest.raises(FileFormatError, match=r"^x\.pt: id -1 at \[3, 12\] is negative$"):
        check_ids(windows, 50257, "x.pt")
    with pytest.raises(FileFormatError, match=r"^x\.pt: id 50257 at \[987654\] >= vocabulary 50257$"):
        check_ids(stream, 50257, "x.pt")


@pytest.mark.parametrize("n", [0, 1, 1 << 18, (1 << 20) + 1])
def test_blocks_are_of_every_id(n: int) -> None:
    """Ids of any dtype, in blocks, are the same as uint32."""
    ids = np.arange(n) % 50_000

    blocks = list(id_blocks(ids))

    assert {block.dtype for block in blocks} <= {np.dtype(np.uint32)}
    assert np.array_equal(np.concatenate([*blocks, np.empty(0, np.uint32)]), ids)
