"""Promises of a tokens file: the ids, and what is wrong with one is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import reference
from support.commands import Call
from support.streams import Make, all_ids, expected_ids, ids_sha256, saved, sha256

from llmprep.errors import EmptyError, FileFormatError, LlmprepError
from llmprep.formats.meta import make_meta
from llmprep.formats.tokens import read_tokens, verify_tokens, write_tokens
from llmprep.inputs import open_tokens
from llmprep.ptfile.reading import read_pt


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint16"])
def test_a_tokens_file(make: Make, dtype: str, story: Path, story_ids: list[int]) -> None:
    """`tokenize` writes ``token_ids`` (n,) and ``meta``, in the dtype that was asked for."""
    loaded = make("tokenize", story, "--dtype", dtype)

    assert list(loaded) == ["token_ids", "meta"]
    assert loaded["token_ids"].dtype is getattr(torch, dtype)
    assert loaded["token_ids"].tolist() == story_ids


def test_several_inputs(make: Make, story: Path, story_ids: list[int], tmp_path: Path) -> None:
    """Each input has its record; the separator between them belongs to none, and counts in the stream."""
    (tmp_path / "b.txt").write_text("The end.")
    end = reference.encode("The end.")

    loaded = make("tokenize", story, "b.txt")

    assert loaded["token_ids"].tolist() == [*story_ids, 50256, *end]
    records = [(record["name"], record["tokens"], record["documents"]) for record in loaded["meta"]["sources"]]
    assert records == [("story.txt", len(story_ids), 1), ("b.txt", len(end), 1)]
    assert loaded["meta"]["n_tokens"] == len(story_ids) + 1 + len(end)


def test_another_encoding(make: Make, story: Path, vocab_dir: Path) -> None:
    """With ``--encoding`` ids, vocabulary size and hash are that encoding's, and int32 holds them."""
    loaded = make("tokenize", story, "--encoding", "gpt-4", "--vocab-dir", vocab_dir, "--dtype", "int32")

    assert loaded["token_ids"].tolist() == reference.encode(story.read_text(encoding="utf-8"), "cl100k_base")
    meta = loaded["meta"]
    assert (meta["encoding"], meta["n_vocab"]) == ("cl100k_base", 100_277)
    assert meta["vocab_sha256"] == sha256(reference.rank_file("cl100k_base"))


# --- reading and verifying ------------------------------------------------------------------------


ROW = torch.arange(6)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"other": ROW}, FileFormatError, "holds other; a tokens file has token_ids"),
        ({"note": "text"}, FileFormatError, "holds no tensor"),
        ({"token_ids": [1, 2]}, FileFormatError, "holds no tensor"),
        ({"token_ids": ROW.view(2, 3)}, FileFormatError, r"shape \(2, 3\) and dtype int64; need \(n,\) integers"),
        ({"token_ids": ROW.float()}, FileFormatError, r"shape \(6,\) and dtype float32; need \(n,\) integers"),
        ({"token_ids": ROW.bool()}, FileFormatError, "dtype bool"),
        ({"token_ids": ROW.bfloat16()}, FileFormatError, "dtype bfloat16"),
        ({"token_ids": ROW[:0]}, EmptyError, "empty: 0 tokens"),
    ],
)
def test_tokens_must_be_one_row_of_whole_numbers(
    values: dict[str, object], error: type[LlmprepError], message: str, tmp_path: Path
) -> None:
    """Other keys, ranks and dtypes are errors that say what was found and what is needed."""
    with pytest.raises(error, match=message):
        read_tokens(saved(tmp_path / "x.pt", **values))


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint16"])
def test_what_is_written_is_read_and_verified(dtype: str, story: Path, tmp_path: Path) -> None:
    """A file's size is returned, its ids are read back, and every line of its verification names what holds."""
    stream = open_tokens([str(story)])
    with (tmp_path / "x.pt").open("wb") as sink:
        size = write_tokens(sink, stream, dtype=dtype)
    file = read_pt(tmp_path / "x.pt")

    assert size == (tmp_path / "x.pt").stat().st_size
    assert file.meta == make_meta("tokens", stream.origin, stream.figures, dtype=dtype)
    ids = expected_ids([story.read_text(encoding="utf-8")])
    assert read_tokens(file).tolist() == all_ids(open_tokens([str(tmp_path / "x.pt")])) == ids
    assert list(verify_tokens(file, file.meta)) == [
        "6259 ids, each in the vocabulary of 50257",
        f"content_sha256 {ids_sha256(ids)}",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_tokens": 5}, "x.pt: n_tokens is 6, meta says 5"),
        ({"content_sha256": "0" * 64}, f"x.pt: content_sha256 is {ids_sha256(range(6))}, meta says 0000"),
        ({"n_vocab": 5}, r"x.pt: id 5 at \[5\] >= vocabulary 5"),
    ],
)
def test_what_does_not_hold_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    """A count, a hash or an id that is not what ``meta`` states ends the verification."""
    stated = {"n_vocab": 6, "n_tokens": 6, "content_sha256": ids_sha256(range(6))}
    file = saved(tmp_path / "x.pt", token_ids=ROW)
    assert len(list(verify_tokens(file, stated))) == 2

    with pytest.raises(FileFormatError, match=message):
        list(verify_tokens(file, stated | change))


@pytest.mark.parametrize("command", ["tokenize", "window"])
def test_uint16_is_refused_for_a_large_vocabulary(
    call: Call, command: str, story: Path, vocab_dir: Path, tmp_path: Path
) -> None:
    """cl100k_base has more ids than uint16 holds: a usage error before anything is written."""
    options = ("--encoding", "cl100k_base", "--vocab-dir", vocab_dir, "--dtype", "uint16")

    ended = call(command, story, *options, "-o", "x.pt")

    assert ended.code == 2
    assert b"holds ids up to 65535, this vocabulary has 100277" in ended.stderr
    assert list(tmp_path.iterdir()) == []
