"""Promises of records: each text field is a document, with the ids it has alone, however many share a block."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.commands import SAMPLES
from support.documents import RECORDS, counts_of, documents, json_lines, parquet, piped, read, save
from support.reference import encode
from support.strategies import adversarial_text

from llmprep.choices import Effort, Newlines, TextOptions
from llmprep.documents import records
from llmprep.documents.finding import find_sources
from llmprep.documents.reading import read_blocks
from llmprep.errors import DataError, EmptyError
from llmprep.tokens.stream import TokenStream, stream_text
from llmprep.vocabulary.loading import END_OF_TEXT, load_vocabulary

EOT = 50256
every_format = pytest.mark.parametrize("format_", RECORDS)
text_lists = st.lists(adversarial_text | st.just("") | st.just(END_OF_TEXT), max_size=12)


def normal(text: str, newlines: Newlines = "universal") -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if newlines == "universal" else text


def stream(
    path: Path, chosen: TextOptions, effort: Effort, encoding: str = "gpt2", vocab_dir: Path | None = None
) -> TokenStream:
    return stream_text(find_sources([str(path)]), load_vocabulary(encoding, vocab_dir), chosen, effort)


def ids_of(tokens: TokenStream) -> list[int]:
    return [i for block in tokens for i in block.tolist()]


def expected_ids(texts: Sequence[str], chosen: TextOptions) -> list[int]:
    """Each record encoded by itself, with the separator between any two that hold text."""
    ids: list[int] = []
    for text in filter(None, (normal(text, chosen.newlines) for text in texts)):
        ids += [EOT] if ids and chosen.separator == "eot" else []
        ids += encode(text, special=chosen.special)
    return ids


@every_format
@given(
    texts=text_lists, newlines=st.sampled_from(["universal", "keep"]), block_bytes=st.integers(1, 60) | st.just(1 << 20)
)
def test_every_text_is_a_document(
    format_: str, texts: list[str], newlines: Newlines, block_bytes: int, folder: Path
) -> None:
    """Joined or alone, all texts come, in order; counts are theirs and the file's; the others keep their numbers."""
    path = RECORDS[format_](folder / f"a.{format_}", texts)
    counts, word = counts_of(path), "line" if format_ == "jsonl" else "row"

    blocks = list(read_blocks(counts, newlines, block_bytes))

    held = [normal(text, newlines) for text in texts if text]
    assert documents(blocks) == held
    assert (counts.n_documents, counts.n_empty, counts.n_chars) == (
        len(held),
        len(texts) - len(held),
        len("".join(held)),
    )
    assert (counts.n_bytes, counts.sha256) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    assert [number for first, n in counts.gaps or () for number in range(first, first + n)] == [
        number for number, text in enumerate(texts, 1) if not text
    ]
    numbers = iter([number for number, text in enumerate(texts, 1) if text])
    for block in (block for block in blocks if block.first):
        assert block.where == f"{word} {next(numbers)}"
        assert all(next(numbers) for _ in range(block.seams))
        if block.seams:  # batches are as large as asked for, and hold no document with a special token
            assert "<|" not in block.text.replace(END_OF_TEXT, "")
            assert sum(map(len, block.data.split(b"<|endoftext|>")[:-1])) < block_bytes


def test_small_records_share_a_block_and_large_ones_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of small records are one block; one larger than what is joined goes alone, cut as any text is."""
    limit = records.SMALL_BYTES
    texts = [*(f"record number {k}" for k in range(5000)), "a" * limit, "b " * (limit // 2) + "c", "after"]

    blocks = read(json_lines(tmp_path / "a.jsonl", texts), block_bytes=1 << 20)
    assert documents(blocks) == texts
    assert [(block.seams, block.place) for block in blocks] == [(5000, "line 1"), (0, "line 5002"), (0, "line 5003")]
    parts = read(tmp_path / "a.jsonl", block_bytes=4096)
    assert documents(parts) == texts
    assert max(len(block.data) - 13 * block.seams for block in parts if not block.raw) < 4096 + limit
    large = [block for block in parts if block.raw]
    assert [block.first for block in large] == [True] + [False] * (len(large) - 1)
    assert [block.offset for block in large[1:]] == [sum(len(b.raw) for b in large[:k]) for k in range(1, len(large))]

    monkeypatch.setattr(records, "MAX_GAPS", 2)
    for gap_list, gaps in ((["", "a", "", ""], [[1, 1], [3, 2]]), (["", "a", "", "b", ""], None)):
        (block,) = read(json_lines(tmp_path / "a.jsonl", gap_list))
        assert block.counts.gaps == gaps


@given(
    format_=st.sampled_from(list(RECORDS)),
    texts=text_lists.filter(any),
    chosen=st.builds(
        TextOptions,
        st.sampled_from(["universal", "keep"]),
        st.sampled_from(["eot", "none"]),
        st.sampled_from(["allow", "text"]),
    ),
    effort=st.builds(Effort, st.just("tiktoken"), st.sampled_from([1, 2]), st.sampled_from([1, 50, 1000, 1 << 18])),
)
@settings(max_examples=25)
def test_ids_are_those_of_each_record_alone(
    format_: str, texts: list[str], chosen: TextOptions, effort: Effort, folder: Path
) -> None:
    """Joined into batches or not, records give the ids that each has by itself, and the separators between."""
    tokens = stream(RECORDS[format_](folder / f"a.{format_}", texts), chosen, effort)
    expected, held = expected_ids(texts, chosen), sum(map(bool, texts))

    assert ids_of(tokens) == expected
    (counts,) = tokens.figures.counts
    assert counts.n_documents == held
    assert counts.n_tokens == len(expected) - (held - 1 if chosen.separator == "eot" else 0)
    assert tokens.figures.n_special == sum(text.count(END_OF_TEXT) for text in texts)


@every_format
@pytest.mark.parametrize("backend", ["tiktoken", "gigatoken"])
@pytest.mark.parametrize(("separator", "special"), [("eot", "allow"), ("none", "text")])
def test_large_records_stand_between_small_ones(
    format_: str, separator: Any, special: Any, backend: Any, tmp_path: Path
) -> None:
    """With either backend, ids are those of each alone, also of records that are cut or hold special tokens."""
    large = records.SMALL_BYTES + 5000
    marked = f"a{END_OF_TEXT}b" + "\r\nword" * (large // 6)
    chinese = "\u4e2d\u6587\u3002" * (large // 9)
    texts = ["one", "", "a word " * (large // 7), "two", "three", chinese, marked, marked, "", END_OF_TEXT, "four"]
    chosen = TextOptions("universal", separator, special)
    path = RECORDS[format_](tmp_path / f"a.{format_}", texts)

    for block_bytes in (4096, 1 << 18):
        tokens = stream(path, chosen, Effort(backend, 2, block_bytes))
        assert ids_of(tokens) == expected_ids(texts, chosen)
        assert (tokens.figures.counts[0].n_documents, tokens.figures.n_special) == (9, 3)


@every_format
@pytest.mark.parametrize(("encoding", "token"), [("gpt2", END_OF_TEXT), ("cl100k_base", "<|fim_prefix|>")])
def test_a_special_token_is_refused_by_its_record(
    encoding: str, token: str, format_: str, tmp_path: Path, vocab_dir: Path
) -> None:
    """With ``error`` its line or row is named, also among small records; seams of a batch are none in the text."""
    chosen, word = TextOptions(special="error"), "line" if format_ == "jsonl" else "row"
    for bad in (0, 1, 6):
        texts = [f"text {k}{token if k == bad else ''} <| goes |> on" for k in range(7)]
        path = RECORDS[format_](tmp_path / f"a.{format_}", texts)
        with pytest.raises(DataError) as raised:
            ids_of(stream(path, chosen, Effort(), encoding, vocab_dir))
        assert str(raised.value).startswith(f"{path}: special token {token} in the text at {word} {bad + 1};")

    plain = ["one", "a <| b |> c", "<|endoftext", "two"]
    tokens = stream(RECORDS[format_](tmp_path / f"a.{format_}", plain), chosen, Effort())
    assert (ids_of(tokens), tokens.figures.n_special) == (expected_ids(plain, TextOptions()), 0)


def test_records_and_texts_in_one_stream(tmp_path: Path) -> None:
    """They may be mixed: a separator stands between any two documents, in whichever file; no text is an error."""
    paths = [
        json_lines(tmp_path / "a.jsonl", ["one", "two"]), save(tmp_path, "three four", "b.txt"),
        json_lines(tmp_path / "c.jsonl", ["", ""]), parquet(tmp_path / "d.parquet", ["five", "six"]),
        save(tmp_path, "", "e.txt"), json_lines(tmp_path / "f.jsonl", ["seven"]), SAMPLES / "records.jsonl",
    ]  # fmt: skip
    sample = [json.loads(line)["text"] for line in paths[-1].read_text(encoding="utf-8").splitlines()]
    tokens = stream_text(find_sources(list(map(str, paths))), load_vocabulary("gpt2"))

    assert ids_of(tokens) == expected_ids(["one", "two", "three four", "five", "six", "seven", *sample], TextOptions())
    assert [source["documents"] for source in tokens.figures.sources] == [2, 1, 0, 2, 0, 1, len(sample)]
    for path in (paths[2], parquet(tmp_path / "e.parquet", []), save(tmp_path, "", "g.jsonl")):
        with pytest.raises(EmptyError, match="empty: 0 tokens"):
            ids_of(stream(path, TextOptions(), Effort()))


@every_format
def test_where_records_come_from_does_not_show(format_: str, tmp_path: Path) -> None:
    """The field that holds the text may be chosen; records may be compressed, or come through a pipe."""
    (block,) = read_blocks(
        counts_of(RECORDS[format_](tmp_path / f"a.{format_}", ["one", "two"], "the body"), "the body")
    )
    assert block.data == b"one<|endoftext|>two"
    lines = json_lines(tmp_path / "b.jsonl", ["one", "two"]).read_bytes()
    with piped([lines[:9], lines[9:].rstrip()], "text") as counts:
        assert documents(list(read_blocks(counts))) == ["one", "two"]
    packed = save(tmp_path, gzip.compress(lines), "b.jsonl.gz")
    (block,) = read(packed)
    assert (documents([block]), block.counts.sha256) == (
        ["one", "two"],
        hashlib.sha256(packed.read_bytes()).hexdigest(),
    )
