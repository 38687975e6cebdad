"""Promises of records: each text field is a document, however it is written; a bad record is named by its place."""

import gzip
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.documents import counts_of, documents, json_lines, parquet, piped, read, save
from support.refusals import matches
from support.strategies import adversarial_text
from support.streams import EOT, all_ids, expected_ids, sha256, stream_paths

from llmprep.choices import Newlines, TextOptions
from llmprep.documents import records
from llmprep.documents.blocks import SMALL_BYTES
from llmprep.documents.parquet import count_rows
from llmprep.documents.reading import read_blocks
from llmprep.documents.source import Counts
from llmprep.errors import DataError, EmptyError, InputError, UsageError
from llmprep.vocabulary.loading import load_vocabulary

RECORDS = {"jsonl": json_lines, "parquet": parquet}
PLACE = {"jsonl": "line", "parquet": "row"}
every_format = pytest.mark.parametrize("format_", RECORDS)
text_lists = st.lists(adversarial_text | st.sampled_from(["", EOT]), max_size=12)


def without_text(counts: Counts) -> list[int]:
    """The numbers of the records without text and of blank lines."""
    return [number for first, count in counts.gaps or () for number in range(first, first + count)]


@every_format
@given(texts=text_lists, newlines=st.sampled_from(["universal", "keep"]), block_bytes=st.sampled_from([1, 30, 1 << 20]))
@settings(max_examples=40)
def test_every_text_is_a_document(
    format_: str, texts: list[str], newlines: Newlines, block_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Joined or alone, all texts come, in order; counts are theirs and the file's; the others keep their numbers."""
    path = RECORDS[format_](tmp_path_factory.getbasetemp() / f"a.{format_}", texts, "the body")
    counts = counts_of(path, "the body")
    held = [text if newlines == "keep" else text.replace("\r\n", "\n").replace("\r", "\n") for text in texts if text]

    blocks = list(read_blocks(counts, newlines, block_bytes))

    assert documents(blocks) == held
    assert (counts.n_documents, counts.n_empty) == (len(held), len(texts) - len(held))
    assert counts.n_chars == len("".join(held))
    assert (counts.n_bytes, counts.sha256) == (path.stat().st_size, sha256(path.read_bytes()))
    assert without_text(counts) == [number for number, text in enumerate(texts, 1) if not text]
    numbers = (number for number, text in enumerate(texts, 1) if text)
    for block in (block for block in blocks if block.first):
        assert block.where == f"{PLACE[format_]} {next(numbers)}"
        assert all(next(numbers) for _ in range(block.seams))
        if block.seams:  # a batch is not larger than asked for, but for its last, and holds no special token
            assert sum(map(len, block.data.split(EOT.encode())[:-1])) < block_bytes
            assert "<|" not in block.text.replace(EOT, "")


def test_small_records_share_a_block_and_large_ones_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of small records are one block; one larger than what is joined goes alone, cut as any text is."""
    limit, path = SMALL_BYTES, tmp_path / "a.jsonl"
    texts = [*(f"record number {k}" for k in range(5000)), "a" * limit, "b " * (limit // 2) + "c", "after"]

    blocks = read(json_lines(path, texts))
    assert [(block.seams, block.place) for block in blocks] == [(5000, "line 1"), (0, "line 5002"), (0, "line 5003")]
    parts = read(path, block_bytes=4096)
    assert documents(blocks) == documents(parts) == texts
    large = [block for block in parts if block.raw]
    assert [block.first for block in large] == [True] + [False] * (len(large) - 1)
    assert [block.offset for block in large[:2]] == [0, len(large[0].raw)]
    assert max(len(block.raw) for block in large) < 2 * 4096

    monkeypatch.setattr(records, "MAX_GAPS", 2)
    assert read(json_lines(path, ["", "a", "", ""]))[0].counts.gaps == [[1, 1], [3, 2]]
    assert read(json_lines(path, ["", "a", "", "b", ""]))[0].counts.gaps is None


@every_format
def test_a_special_token_is_refused_by_its_record(format_: str, tmp_path: Path) -> None:
    """With ``error`` its line or row is named, also among small records; the seams of a batch are none."""
    for bad in (0, 1, 6):
        path = RECORDS[format_](
            tmp_path / f"a.{format_}", [*["one <| two |> <|endoftext"] * bad, f"three{EOT}", "four"]
        )
        with pytest.raises(DataError, match=rf"in the text at {PLACE[format_]} {bad + 1};"):
            all_ids(stream_paths([path], load_vocabulary("gpt2"), TextOptions(special="error")))


def test_records_and_texts_in_one_stream(tmp_path: Path) -> None:
    """They may be mixed: a separator stands between any two documents, in whichever file; no text is an error."""
    large = "a " * SMALL_BYTES
    lines, nothing = json_lines(tmp_path / "a.jsonl", ["one", large]), json_lines(tmp_path / "c.jsonl", ["", ""])
    table, text = parquet(tmp_path / "d.parquet", ["five", "six"]), save(tmp_path, "three four", "b.txt")
    stream = stream_paths([lines, text, nothing, table], load_vocabulary("gpt2"))
    assert all_ids(stream) == expected_ids(["one", large, "three four", "five", "six"])
    assert [source["documents"] for source in stream.figures.sources] == [2, 1, 0, 2]
    for path in (nothing, parquet(tmp_path / "e.parquet", []), save(tmp_path, "", "g.jsonl")):
        with pytest.raises(EmptyError, match="empty: 0 tokens"):
            all_ids(stream_paths([path], load_vocabulary("gpt2")))


LINES = [
    '{"x": 1, "x": 2, "text": "one"}', '{"x": "\\ud800", "\\udc00": NaN, "text": "one"}', '{"te\\u0078t": "one"}',
    '{"meta": {"text": "a", "text": "b"}, "text": "one"}', '{"text": "one", "more": [{"text": 1, "text": 2}]}',
    f'{{"n": {"9" * 10_000}, "text": "one", "t": {{"text": 1}}}}',
]  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n \t\n"])
def test_lines_may_be_written_in_any_way(end: str, tmp_path: Path) -> None:
    """Escapes or UTF-8, CRLF, blank lines, a byte order mark, no last line end, compressed or from a pipe: all is one.

    Other fields may appear twice, hold half characters, or a number of any length.
    """
    texts = ["caf\u00e9\r\n", "\ufeff\u2028\x85", "\U0001f600 one", *["one"] * len(LINES)]
    raw = [json.dumps({"text": text}, ensure_ascii=False) for text in texts[:2]]
    lines = end.join([*raw, json.dumps({"text": texts[2]}), *LINES])
    for data in (lines, lines + end, "\ufeff" + lines):
        blocks = read(save(tmp_path, data, "a.jsonl"), "keep", 1)
        counts = blocks[0].counts
        assert documents(blocks) == texts
        assert (counts.bom, counts.n_empty) == (data.startswith("\ufeff"), 0)
        blank = [n for n, line in enumerate(data.removesuffix("\n").split("\n"), 1) if not line.strip()]
        assert without_text(counts) == blank
    assert documents(read(save(tmp_path, gzip.compress(lines.encode()), "a.jsonl.gz"), "keep")) == texts
    with piped([lines[:9].encode(), lines[9:].encode()], "text") as counts:
        assert documents(list(read_blocks(counts, "keep"))) == texts


BAD_LINES = {
    b'{"text": "x"': "not valid JSON: ...",
    b'{"text": ' + b"[" * 200_000: "not valid JSON: ...",
    b'{"text": "caf\xe9"}': "not valid UTF-8 at byte 13 of the line",
    b'{"id": 1, "Text": "x"}': "has no field text; its fields: Text, id (see --field)",
    b'{"text": {"text": "x"}}': "field text is an object, not a string",
    b'"text"': "holds a string, not an object with field text",
    b' [{"text": "x"}]': "holds a JSON array, and JSON Lines has an object on each line; ...jq ...",
    b"[": "holds a JSON array, ...",
    b'{"text": "a\\ud83d"}': "field text holds half a surrogate pair (\\ud83d), which is no character; mend the record",
    b'{"text": "x", "te\\u0078t": "x"}': "field text appears twice; which one is meant is not clear",
}


@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: line[:40].decode(errors="replace"))
def test_a_bad_line_is_named(line: bytes, tmp_path: Path) -> None:
    """Whatever is wrong with a record, the error names the file, the line and the field."""
    path = save(tmp_path, b'{"text": "one"}\n' * 499 + b"\n" + line + b'\n{"text": "two"}\n', "a.jsonl")
    with pytest.raises(DataError) as raised:
        read(path)
    assert matches(f"{path}: line 501: {BAD_LINES[line]}", str(raised.value))


def test_the_length_of_a_line_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record longer than one read is read; a line longer than the limit, as of another kind of file, is not held."""
    path = json_lines(tmp_path / "a.jsonl", ["one", "word " * 200_000, "end"])
    assert documents(read(path)) == ["one", "word " * 200_000, "end"]
    limit = max(map(len, path.read_bytes().splitlines()))
    monkeypatch.setattr("llmprep.documents.json_lines.MAX_LINE_BYTES", limit)
    assert len(documents(read(path))) == 3
    for too_low in (limit - 1, 1 << 19):
        monkeypatch.setattr("llmprep.documents.json_lines.MAX_LINE_BYTES", too_low)
        with pytest.raises(
            DataError,
            match=rf"a\.jsonl: line 2: longer than {too_low} bytes, .*; if it is JSON Lines, split the record, or",
        ):
            read(path)


def table(columns: Any, names: list[str] | None = None, **choices: Any) -> bytes:
    sink = io.BytesIO()
    pa.parquet.write_table(pa.table(columns, names=names), sink, **choices)
    return sink.getvalue()


SOUND = table({"text": [os.urandom(50).hex() for _ in range(200)]}, write_page_checksum=True)
BAD_NAME = table({"text": ["one"], "name": ["two"]}, store_schema=False).replace(b"name", b"na\xff\xfe")
CLAIMED = pa.Array.from_buffers(pa.string(), 2, pa.array([b"one", b"caf\xe9"]).buffers())
"""Said to be strings."""
BAD_TABLES = {
    "null": (table({"text": ["x"] * 2000 + [None]}), "row 2001: column text is null, not a string"),
    "bytes": (table({"text": [b"\xe9"]}), "row 1: column text is not valid UTF-8"),
    "half": (table({"text": [b"a", b"\xc3", b"\xa9"]}), "row 2: column text is not valid UTF-8"),
    "claimed": (table({"text": CLAIMED}), "row 2: column text is not valid UTF-8"),
    "lists": (table({"text": [["x"]]}), "row 1: column text is a list, not a string"),
    "no rows": (table({"id": [], "body": []}), "has no column text; its columns: id, body (see --field)"),
    "two columns": (table([CLAIMED[:1]] * 2, ["text"] * 2), "has 2 columns text; which one is meant is not ..."),
    "the name of a column": (BAD_NAME, "the name of a column is not valid UTF-8: b'..."),
    "a damaged page": (SOUND[:5000] + b"\x55" * 100 + SOUND[5100:], "damaged near row 1: ...checksum..."),
    **{f"to {end}": (SOUND[:end], "damaged near row 1: ...") for end in (0, 3, 100, -1)},
}


@pytest.mark.parametrize(("data", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_bad_table_is_named(data: bytes, message: str, tmp_path: Path) -> None:
    """A cell that holds no text, a column that is not there or not clear, and damage are named, never passed over."""
    path = save(tmp_path, data, "a.parquet")
    with pytest.raises(DataError) as raised:
        read(path)
    assert matches(f"{path}: {message}", str(raised.value))


@pytest.mark.parametrize("type_", [pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.binary()], ids=str)
def test_columns_of_text_in_any_form(type_: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strings may be long, in a dictionary or not marked as such, in any row groups; pyarrow must be there."""
    path = parquet(tmp_path / "a.parquet", ["one", "two"] * 1500, type_=type_, row_group_size=700)
    assert documents(read(path)) == ["one", "two"] * 1500
    assert count_rows(counts_of(path).source) == 3000
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"a\.parquet: Parquet files need an extra: pip install 'llmprep\[parquet\]'"):
        read(path)


def test_a_table_that_changes_is_never_a_mixture(tmp_path: Path) -> None:
    """One that is replaced while it is read is the old one whole, as its hash says; a rewritten one is an error."""
    path = parquet(tmp_path / "a.parquet", ["old"] * 5000, row_group_size=500)
    before, counts = sha256(path.read_bytes()), counts_of(path)
    blocks = read_blocks(counts, block_bytes=100)
    first = next(blocks)
    parquet(tmp_path / "new.parquet", ["new"] * 5000, row_group_size=500).replace(path)
    assert documents([first, *blocks]) == ["old"] * 5000
    assert counts.sha256 == before

    os.utime(path, (0, 0))
    blocks = read_blocks(counts_of(path), block_bytes=100)
    next(blocks)
    path.write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=r"a\.parquet: changed while it was read"):
        list(blocks)
