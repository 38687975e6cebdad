"""Promises of records: each text field is a document, with the ids it has alone, however many share a block."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import SAMPLES
from support.documents import RECORDS, counts_of, documents, json_lines, parquet, piped, read, save
from support.strategies import adversarial_text
from support.streams import EOT, all_ids, expected_ids, sha256, stream_paths

from llmprep.choices import Effort, Newlines, TextOptions
from llmprep.documents import records
from llmprep.documents.reading import read_blocks
from llmprep.errors import DataError, EmptyError
from llmprep.vocabulary.loading import load_vocabulary

PLACE = {"jsonl": "line", "parquet": "row"}
every_format = pytest.mark.parametrize("format_", RECORDS)
text_lists = st.lists(adversarial_text | st.sampled_from(["", EOT]), max_size=12)


@every_format
@given(texts=text_lists, newlines=st.sampled_from(["universal", "keep"]), block_bytes=st.sampled_from([1, 30, 1 << 20]))
def test_every_text_is_a_document(
    format_: str, texts: list[str], newlines: Newlines, block_bytes: int, folder: Path
) -> None:
    """Joined or alone, all texts come, in order; counts are theirs and the file's; the others keep their numbers."""
    counts = counts_of(RECORDS[format_](folder / f"a.{format_}", texts))
    data = (folder / f"a.{format_}").read_bytes()
    read = [text.replace("\r\n", "\n").replace("\r", "\n") if newlines == "universal" else text for text in texts]

    blocks = list(read_blocks(counts, newlines, block_bytes))

    held = list(filter(None, read))
    assert documents(blocks) == held
    assert (counts.n_documents, counts.n_empty, counts.n_chars) == (
        len(held), len(texts) - len(held), len("".join(held)),
    )  # fmt: skip
    assert (counts.n_bytes, counts.sha256) == (len(data), sha256(data))
    gaps = [number for first, count in counts.gaps or () for number in range(first, first + count)]
    assert gaps == [number for number, text in enumerate(texts, 1) if not text]
    numbers = (number for number, text in enumerate(texts, 1) if text)
    for block in (block for block in blocks if block.first):
        assert block.where == f"{PLACE[format_]} {next(numbers)}"
        assert all(next(numbers) for _ in range(block.seams))
        if block.seams:  # a batch is not larger than asked for, but for its last, and holds no special token
            assert sum(map(len, block.data.split(EOT.encode())[:-1])) < block_bytes
            assert "<|" not in block.text.replace(EOT, "")


def test_small_records_share_a_block_and_large_ones_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of small records are one block; one larger than what is joined goes alone, cut as any text is."""
    limit = records.SMALL_BYTES
    path = tmp_path / "a.jsonl"
    texts = [*(f"record number {k}" for k in range(5000)), "a" * limit, "b " * (limit // 2) + "c", "after"]

    blocks = read(json_lines(path, texts))
    assert [(block.seams, block.place) for block in blocks] == [(5000, "line 1"), (0, "line 5002"), (0, "line 5003")]
    parts = read(path, block_bytes=4096)
    assert documents(blocks) == documents(parts) == texts
    large = [block for block in parts if block.raw]
    assert [block.first for block in large] == [True] + [False] * (len(large) - 1)
    assert [block.offset for block in large] == [sum(len(b.raw) for b in large[:k]) for k in range(len(large))]
    assert max(len(block.raw) for block in large) < 2 * 4096

    monkeypatch.setattr(records, "MAX_GAPS", 2)
    for holed, gaps in ((["", "a", "", ""], [[1, 1], [3, 2]]), (["", "a", "", "b", ""], None)):
        assert read(json_lines(path, holed))[0].counts.gaps == gaps


@every_format
@pytest.mark.parametrize("backend", ["tiktoken", "gigatoken"])
@pytest.mark.parametrize(("separator", "special"), [("eot", "allow"), ("none", "text")])
def test_ids_are_those_of_each_record_alone(
    format_: str, separator: Any, special: Any, backend: Any, tmp_path: Path
) -> None:
    """So are those of records that are cut, or hold special tokens, between small ones."""
    large = records.SMALL_BYTES + 5000
    texts = [
        "one", "", "a word " * (large // 7), "two", "three", "\u4e2d\u6587\u3002" * (large // 9),
        *[f"a{EOT}b" + "\nword" * (large // 5)] * 2, "", EOT, "four",
    ]  # fmt: skip
    path = RECORDS[format_](tmp_path / f"a.{format_}", texts)
    options = TextOptions("universal", separator, special)

    for block_bytes in (4096, 1 << 18):
        stream = stream_paths([path], load_vocabulary("gpt2"), options, Effort(backend, 2, block_bytes))
        assert all_ids(stream) == expected_ids(texts, "gpt2", separator, special)
        assert (stream.figures.counts[0].n_documents, stream.figures.n_special) == (9, 3)


@every_format
@pytest.mark.parametrize(("encoding", "token"), [("gpt2", EOT), ("cl100k_base", "<|fim_prefix|>")])
def test_a_special_token_is_refused_by_its_record(
    encoding: str, token: str, format_: str, tmp_path: Path, vocab_dir: Path
) -> None:
    """With ``error`` its line or row is named, also among small records; the seams of a batch are none."""
    vocabulary, chosen = load_vocabulary(encoding, vocab_dir), TextOptions(special="error")
    for bad in (0, 1, 6, 7):
        texts = [f"text {k}{token if k == bad else ''} <| goes |> on<|endoftext" for k in range(7)]
        path = RECORDS[format_](tmp_path / f"a.{format_}", texts)
        stream = stream_paths([path], vocabulary, chosen)
        if bad == 7:
            assert (all_ids(stream), stream.figures.n_special) == (expected_ids(texts, encoding), 0)
            break
        with pytest.raises(DataError) as raised:
            all_ids(stream)
        assert f"{path}: special token {token} in the text at {PLACE[format_]} {bad + 1};" in str(raised.value)


def test_records_and_texts_in_one_stream(tmp_path: Path) -> None:
    """They may be mixed: a separator stands between any two documents, in whichever file; no text is an error."""
    paths = [
        json_lines(tmp_path / "a.jsonl", ["one", "two"]), save(tmp_path, "three four", "b.txt"),
        json_lines(tmp_path / "c.jsonl", ["", ""]), parquet(tmp_path / "d.parquet", ["five", "six"]),
        save(tmp_path, "", "e.txt"), json_lines(tmp_path / "f.jsonl", ["seven"]), SAMPLES / "records.jsonl",
    ]  # fmt: skip
    sample = [json.loads(line)["text"] for line in paths[-1].read_text(encoding="utf-8").splitlines()]
    stream = stream_paths(paths, load_vocabulary("gpt2"))

    assert all_ids(stream) == expected_ids(["one", "two", "three four", "five", "six", "seven", *sample])
    assert [source["documents"] for source in stream.figures.sources] == [2, 1, 0, 2, 0, 1, len(sample)]
    for path in (paths[2], parquet(tmp_path / "e.parquet", []), save(tmp_path, "", "g.jsonl")):
        with pytest.raises(EmptyError, match="empty: 0 tokens"):
            all_ids(stream_paths([path], load_vocabulary("gpt2")))


@every_format
def test_where_records_come_from_does_not_show(format_: str, tmp_path: Path) -> None:
    """The field that holds the text may be chosen; records may be compressed, or come through a pipe."""
    path = RECORDS[format_](tmp_path / f"a.{format_}", ["one", "two"], "the body")
    assert documents(list(read_blocks(counts_of(path, "the body")))) == ["one", "two"]
    lines = json_lines(tmp_path / "b.jsonl", ["one", "two"]).read_bytes()
    with piped([lines[:9], lines[9:].rstrip()], "text") as counts:
        assert documents(list(read_blocks(counts))) == ["one", "two"]
    blocks = read(save(tmp_path, gzip.compress(lines, mtime=0), "b.jsonl.gz"))
    assert (documents(blocks), blocks[0].counts.sha256) == (["one", "two"], sha256(gzip.compress(lines, mtime=0)))
