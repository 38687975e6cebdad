"""Promises of records: each text field is a document with the ids it has alone, however many share a call."""

from __future__ import annotations

import bz2
import functools
import gzip
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.commands import SAMPLES, Call, Ended, Run
from support.reference import encode
from support.strategies import adversarial_text

from llmprep.choices import Effort, TextOptions
from llmprep.documents import records
from llmprep.documents.finding import find_sources
from llmprep.errors import DataError, EmptyError, InputError, UsageError
from llmprep.formats.tokens import write_tokens
from llmprep.tokens.backends import Encoder
from llmprep.tokens.stream import TokenStream, stream_text
from llmprep.vocabulary.loading import END_OF_TEXT, Vocabulary, load_vocabulary

EOT = 50256
LARGE = 70_000
assert LARGE > records.SMALL_BYTES

document_lists = st.lists(adversarial_text | st.just("") | st.just(END_OF_TEXT), max_size=12)
efforts = st.builds(Effort, st.just("tiktoken"), st.sampled_from([1, 2]), st.sampled_from([1, 50, 1000, 1 << 18]))
options = st.builds(
    TextOptions,
    st.sampled_from(["universal", "keep"]),
    st.sampled_from(["eot", "none"]),
    st.sampled_from(["allow", "text"]),
)


@pytest.fixture(scope="module")
def gpt2() -> Vocabulary:
    return load_vocabulary("gpt2")


@pytest.fixture(scope="module")
def encoders(vocab_dir: Path) -> Callable[..., Encoder]:
    """Build an encoder once, for tests that read hundreds of files."""
    load = functools.cache(lambda name: load_vocabulary(name, str(vocab_dir)))
    return functools.cache(lambda special, backend, name="gpt2": Encoder(load(name), special, backend))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


def json_lines(path: Path, texts: Sequence[object], field: str = "text", **more: Any) -> Path:
    """Write one record a line."""
    lines = (json.dumps({"id": k, field: text}, **more) for k, text in enumerate(texts))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def parquet(path: Path, texts: Sequence[object], field: str = "text", **more: Any) -> Path:
    """Write one record a row."""
    column = pa.array(texts, more.pop("type", pa.string()))
    table = pa.table({"id": list(range(len(texts))), field: column})
    pa.parquet.write_table(table, path, **more)
    return path


WRITERS = {"jsonl": json_lines, "parquet": parquet}
every_format = pytest.mark.parametrize("format_", WRITERS)


def expected_ids(texts: Sequence[str], chosen: TextOptions) -> list[int]:
    """Each record encoded by itself, with the separator between any two that hold text."""
    ids: list[int] = []
    for text in texts:
        normal = text.replace("\r\n", "\n").replace("\r", "\n") if chosen.newlines == "universal" else text
        if normal:
            ids += [EOT] if ids and chosen.separator == "eot" else []
            ids += encode(normal, special=chosen.special)
    return ids


def read(
    path: Path,
    vocabulary: Vocabulary,
    chosen: TextOptions | None = None,
    effort: Effort | None = None,
    encoder: Encoder | None = None,
) -> TokenStream:
    """Open a file of records."""
    return stream_text(find_sources([str(path)]), vocabulary, chosen, effort, encoder)


def ids_of(stream: TokenStream) -> list[int]:
    """Read a stream to its end."""
    return [i for block in stream for i in block.tolist()]


# --- ids ------------------------------------------------------------------------------------------


@every_format
@given(texts=document_lists.filter(any), chosen=options, effort=efforts)
@settings(max_examples=40)
def test_ids_are_those_of_each_record_alone(
    format_: str,
    texts: list[str],
    chosen: TextOptions,
    effort: Effort,
    folder: Path,
    gpt2: Vocabulary,
    encoders: Callable[..., Encoder],
) -> None:
    """Joined into batches or not, records give the ids that each has by itself, and the separators between."""
    path = WRITERS[format_](folder / f"any.{format_}", texts)
    expected = expected_ids(texts, chosen)

    stream = read(path, gpt2, chosen, effort, encoders(chosen.special, "tiktoken"))

    assert ids_of(stream) == expected
    (source,) = stream.documents
    held = [text for text in texts if text]
    assert source.n_documents == len(held)
    assert source.n_tokens == len(expected) - (len(held) - 1 if chosen.separator == "eot" else 0)
    assert stream.n_special == sum(text.count(END_OF_TEXT) for text in texts)


@given(texts=document_lists.filter(any), chosen=options)
@settings(max_examples=40)
@pytest.mark.slow
def test_gigatoken_gives_the_same(
    texts: list[str],
    chosen: TextOptions,
    folder: Path,
    gpt2: Vocabulary,
    encoders: Callable[..., Encoder],
) -> None:
    """The other backend gives the ids of each record alone too."""
    path = json_lines(folder / "giga.jsonl", texts)

    stream = read(path, gpt2, chosen, Effort("gigatoken"), encoders(chosen.special, "gigatoken"))

    assert ids_of(stream) == expected_ids(texts, chosen)


@every_format
@pytest.mark.parametrize("separator", ["eot", "none"])
@pytest.mark.parametrize("special", ["allow", "text"])
@pytest.mark.parametrize("backend", ["tiktoken", "gigatoken"])
def test_large_records_stand_between_small_ones(
    format_: str,
    separator: Any,
    special: Any,
    backend: Any,
    tmp_path: Path,
    gpt2: Vocabulary,
    encoders: Callable[..., Encoder],
) -> None:
    """A record larger than what is batched goes alone, cut as any text is, and its neighbours stay whole."""
    prose = (SAMPLES / "story.txt").read_text() * 3
    chinese = "\u4e2d\u6587\u3002" * (LARGE // 9)
    marked = f"a{END_OF_TEXT}b" + "\r\nword" * (LARGE // 6)
    texts = ["one", "", prose, "two", "three", chinese, marked, marked, "", END_OF_TEXT, "four"]
    chosen = TextOptions("universal", separator, special)
    expected = expected_ids(texts, chosen)
    path = WRITERS[format_](tmp_path / f"large.{format_}", texts)

    for block_bytes in (4096, 1 << 18):
        stream = read(path, gpt2, chosen, Effort(backend, 2, block_bytes), encoders(special, backend))
        assert ids_of(stream) == expected
        assert (stream.documents[0].n_documents, stream.n_special) == (9, 3)


@every_format
@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=40), block_bytes=st.integers(1, 60))
@settings(max_examples=25)
def test_batches_of_any_size_hold_every_record(
    format_: str,
    sizes: list[int],
    block_bytes: int,
    folder: Path,
    gpt2: Vocabulary,
    encoders: Callable[..., Encoder],
) -> None:
    """Where batches begin and end does not show: one end-of-text id between any two records that hold text."""
    sizes = [*sizes, 1]
    path = WRITERS[format_](folder / f"sizes.{format_}", [" a" * size for size in sizes])

    effort = Effort("tiktoken", block_bytes=block_bytes)
    ids = ids_of(read(path, gpt2, None, effort, encoders("allow", "tiktoken")))

    assert [len(run.split()) for run in " ".join(map(str, ids)).split(str(EOT))] == [size for size in sizes if size]


def test_many_small_records_share_a_call(tmp_path: Path, gpt2: Vocabulary) -> None:
    """Thousands of small records are encoded in a few calls, and a few records in one."""
    path = json_lines(tmp_path / "many.jsonl", [f"record number {k}" for k in range(5000)])

    stream = read(path, gpt2, effort=Effort("tiktoken"))

    assert ids_of(stream).count(EOT) == 4999
    assert stream.used == {"tiktoken": 1}


def test_special_error_lets_other_texts_pass(tmp_path: Path, gpt2: Vocabulary) -> None:
    """With ``error``, seams of a batch are no special tokens in the text: plain records have their ids."""
    texts = ["one", "a <| b |> c", "<|endoftext", "two"]
    chosen = TextOptions(special="error")

    stream = read(json_lines(tmp_path / "plain.jsonl", texts), gpt2, chosen)

    assert ids_of(stream) == expected_ids(texts, chosen)
    assert stream.n_special == 0


@every_format
@pytest.mark.parametrize("bad", [0, 1, 6])
@pytest.mark.parametrize(("encoding", "token"), [("gpt2", END_OF_TEXT), ("cl100k_base", "<|fim_prefix|>")])
def test_special_error_names_the_record(
    encoding: str, token: str, bad: int, format_: str, tmp_path: Path, encoders: Callable[..., Encoder]
) -> None:
    """With ``error``, a special token in a text is placed at its own line or row, also among small records."""
    texts = [f"text {k}{token if k == bad else ''} goes on" for k in range(7)]
    path = WRITERS[format_](tmp_path / f"bad.{format_}", texts)
    where = "line" if format_ == "jsonl" else "row"
    encoder = encoders("error", "tiktoken", encoding)

    with pytest.raises(DataError) as raised:
        ids_of(read(path, encoder.vocabulary, TextOptions(special="error"), None, encoder))

    assert str(raised.value).startswith(f"{path}: special token {token} in the text at {where} {bad + 1};")


# --- several inputs -------------------------------------------------------------------------------


def test_records_and_texts_in_one_stream(tmp_path: Path, gpt2: Vocabulary) -> None:
    """Files of records and texts may be mixed; a separator stands between any two documents, in whichever file."""
    (tmp_path / "b.txt").write_text("three four")
    (tmp_path / "e.txt").write_text("")
    paths = [
        json_lines(tmp_path / "a.jsonl", ["one", "two"]),
        tmp_path / "b.txt",
        json_lines(tmp_path / "c.jsonl", ["", ""]),
        parquet(tmp_path / "d.parquet", ["five", "six"]),
        tmp_path / "e.txt",
        json_lines(tmp_path / "f.jsonl", ["seven"]),
    ]
    stream = stream_text(find_sources(list(map(str, paths))), gpt2)

    ids = ids_of(stream)

    assert ids == expected_ids(["one", "two", "three four", "five", "six", "seven"], TextOptions())
    assert [source["documents"] for source in stream.sources] == [2, 1, 0, 2, 0, 1]
    assert [source["tokens"] for source in stream.sources] == [2, 2, 0, 2, 0, 1]


@every_format
def test_records_without_any_text_are_empty(format_: str, tmp_path: Path, gpt2: Vocabulary) -> None:
    """A file whose records are all empty, or that has none, is an empty input."""
    for texts in ([], ["", ""]):
        path = WRITERS[format_](tmp_path / f"empty.{format_}", texts)
        with pytest.raises(EmptyError, match="empty: 0 tokens"):
            ids_of(read(path, gpt2))


def test_figures_are_of_the_file(tmp_path: Path, gpt2: Vocabulary) -> None:
    """Bytes and hash are the file's, characters those of the texts alone."""
    for path in (
        json_lines(tmp_path / "a.jsonl", ["caf\u00e9", "", "x"]),
        parquet(tmp_path / "a.parquet", ["caf\u00e9", "x"]),
    ):
        stream = read(path, gpt2)
        ids_of(stream)
        (source,) = stream.documents
        assert (source.n_bytes, source.sha256) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        assert source.n_chars == 5


def test_the_sample_records(gpt2: Vocabulary) -> None:
    """The sample file's twelve records have tiktoken's ids."""
    path = SAMPLES / "records.jsonl"
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]

    stream = read(path, gpt2)

    assert ids_of(stream) == expected_ids(texts, TextOptions())
    assert len(texts) == stream.documents[0].n_documents == 12


# --- written bytes --------------------------------------------------------------------------------


@every_format
def test_batches_and_threads_do_not_change_bytes(format_: str, tmp_path: Path, gpt2: Vocabulary) -> None:
    """The written file is the same for any block size, backend and number of threads."""
    texts = [*(f"Record {k}: caf\u00e9\r\n" * (k % 7) for k in range(300)), "word " * 20_000, f"x{END_OF_TEXT}y"]
    path = WRITERS[format_](tmp_path / f"bytes.{format_}", texts)
    written = set()

    for effort in [Effort("tiktoken", 1, size) for size in (1, 100, 1 << 18)] + [
        Effort("tiktoken", 2, 1000),
        Effort("gigatoken", 1, 1 << 18),
        Effort("gigatoken", 2, 1000),
    ]:
        sink = io.BytesIO()
        write_tokens(sink, read(path, gpt2, effort=effort), dtype="int64")
        written.add(sink.getvalue())

    assert len(written) == 1


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress], ids=["gz", "bz2"])
def test_compressed_records(pack: Callable[[bytes], bytes], tmp_path: Path, gpt2: Vocabulary) -> None:
    """A compressed file named .jsonl.gz or the like holds the same records."""
    plain = json_lines(tmp_path / "a.jsonl", ["one", "two\n", "", "three"])
    packed = tmp_path / f"a.jsonl.{'gz' if pack is gzip.compress else 'bz2'}"
    packed.write_bytes(pack(plain.read_bytes()))

    stream = read(packed, gpt2)

    assert ids_of(stream) == ids_of(read(plain, gpt2))
    assert stream.documents[0].sha256 == hashlib.sha256(packed.read_bytes()).hexdigest()


# --- the field ------------------------------------------------------------------------------------


@every_format
def test_the_field_is_chosen(format_: str, call: Call, tmp_path: Path) -> None:
    """``--field`` names the field or column that holds the text; the output is the one of a field called text."""
    WRITERS[format_](tmp_path / f"a.{format_}", ["one", "two"])
    (tmp_path / "other").mkdir()
    WRITERS[format_](tmp_path / "other" / f"a.{format_}", ["one", "two"], "the body")

    assert call("tokenize", "--ids", f"a.{format_}") == Ended(0, b"505 50256 11545\n", b"")
    assert call("tokenize", "--ids", f"other/a.{format_}", "--field", "the body") == Ended(0, b"505 50256 11545\n", b"")


def test_records_on_standard_input(llmprep: Run, tmp_path: Path) -> None:
    """With a field named, standard input is JSON Lines."""
    data = b'{"text": "one"}\n{"text": "two"}'

    done = llmprep("tokenize", "--ids", "-", "--field", "text", stdin=data)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"505 50256 11545\n", b"")


# --- JSON Lines -----------------------------------------------------------------------------------


@given(
    texts=st.lists(adversarial_text.filter(bool), min_size=1, max_size=5),
    ascii_=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\n\n \t\n"]),
)
def test_lines_may_be_written_in_any_way(texts: list[str], ascii_: bool, end: str, folder: Path) -> None:
    """Escapes or UTF-8, CRLF, blank lines, a byte order mark, no last line end: the texts are the same."""
    path = folder / "any way.jsonl"
    lines = end.join(json.dumps({"text": text}, ensure_ascii=ascii_) for text in texts)

    for data in (lines, lines + end, "\ufeff" + lines):
        path.write_bytes(data.encode())
        (source,) = find_sources([str(path)])
        blocks = records.read_records(source, "keep", 1)
        got = list(functools.reduce(lambda found, block: found + block.data, blocks, b"").decode())
        source.stream.close()  # type: ignore[union-attr]
        assert "".join(got) == "".join(texts)
        assert source.bom == data.startswith("\ufeff")


def test_other_fields_may_hold_anything(tmp_path: Path, gpt2: Vocabulary) -> None:
    """Only the text field matters: others may stand twice, hold half characters, or hold a field called text."""
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"x": 1, "x": 2, "text": "one"}\n'
        '{"x": "\\ud800", "\\udc00": NaN, "text": "two"}\n'
        '{"meta": {"text": "a", "text": "b"}, "text": "three"}\n'
        '{"text": "four", "more": [{"text": 1, "text": 2}]}\n'
    )

    assert ids_of(read(path, gpt2)) == [505, EOT, 11545, EOT, 15542, EOT, 14337]


ROW_46 = {
    "bad line": (b'{"text": "x"', "line 3: not valid JSON: "),
    "no JSON": (b"text", "line 3: not valid JSON: "),
    "two objects": (b'{"text": "x"} {"text": "y"}', "line 3: not valid JSON: "),
    "single quotes": (b"{'text': 'x'}", "line 3: not valid JSON: "),
    "control character": (b'{"text": "a\tb"}', "line 3: not valid JSON: "),
    "deep": (b'{"text": ' + b"[" * 200_000, "line 3: not valid JSON: "),
    "not UTF-8": (b'{"text": "caf\xe9"}', "line 3: not valid UTF-8 at byte 13 of the line"),
    "encoded surrogate": (b'{"text": "\xed\xa0\x80"}', "line 3: not valid UTF-8 at byte 10 of the line"),
    "missing field": (b'{"id": 1, "Text": "x"}', "line 3: has no field text; its fields: Text, id (see --field)"),
    "no field": (b"{}", "line 3: has no field text; its fields: none (see --field)"),
    "number": (b'{"text": 5}', "line 3: field text is a int, not a string"),
    "null": (b'{"text": null}', "line 3: field text is a NoneType, not a string"),
    "list": (b'{"text": ["x"]}', "line 3: field text is a list, not a string"),
    "object": (b'{"text": {"text": "x"}}', "line 3: field text is a dict, not a string"),
    "array": (
        b'[{"text": "x"}]',
        "line 3: holds a JSON array, and JSON Lines has an object on each line; write one on each",
    ),
    "string": (b'"text"', "line 3: holds a str, not an object with field text"),
    "first half": (b'{"text": "a\\ud83d"}', "line 3: field text holds half a surrogate pair (\\ud83d)"),
    "second half": (b'{"text": "\\ude00\\ud83d"}', "line 3: field text holds half a surrogate pair (\\ude00)"),
    "twice": (
        b'{"text": "x", "id": 1, "text": "x"}',
        "line 3: field text stands twice; which one is meant is not clear",
    ),
}


@pytest.mark.parametrize("case", ROW_46)
def test_46_a_bad_record_is_named_by_file_and_line(case: str, call: Call, tmp_path: Path) -> None:
    """Whatever is wrong with a record, one line names the file, the line and the field; nothing is written."""
    line, message = ROW_46[case]
    (tmp_path / "bad.jsonl").write_bytes(b'{"text": "one"}\n\n' + line + b'\n{"text": "two"}\n')

    ended = call("tokenize", "bad.jsonl")

    assert (ended.code, ended.stdout) == (3, b"")
    (said,) = ended.notes
    assert said.startswith(f"llmprep: error: bad.jsonl: {message}")
    assert {path.name for path in tmp_path.iterdir()} == {"bad.jsonl"}


def test_46_another_encoding_far_inside_is_an_error(tmp_path: Path, gpt2: Vocabulary) -> None:
    """A line in UTF-16 after many in UTF-8, as joined files have it, is no JSON and no text."""
    path = tmp_path / "joined.jsonl"
    path.write_bytes(b'{"text": "one"}\n' * 500 + '{"text": "xy"}'.encode("utf-16-le"))

    with pytest.raises(DataError, match=r"joined\.jsonl: line 501: not valid JSON"):
        ids_of(read(path, gpt2))


def test_46_a_whole_surrogate_pair_is_a_character(call: Call, tmp_path: Path) -> None:
    """The two halves that JSON writes for a character beyond U+FFFF are that character."""
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "\\ud83d\\ude00"}')
    (tmp_path / "a.txt").write_text("\U0001f600", encoding="utf-8")

    assert call("tokenize", "--ids", "a.jsonl") == call("tokenize", "--ids", "a.txt")


def test_46_a_line_without_end_is_an_error(tmp_path: Path, gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line longer than the cap, as a file that is no JSON Lines has, is named instead of held in memory."""
    monkeypatch.setattr(records, "MAX_LINE_BYTES", 1 << 19)
    path = tmp_path / "long.jsonl"
    path.write_text('{"text": "one"}\n{"text": "' + "a" * (1 << 20) + '"}\n')

    with pytest.raises(DataError, match=rf"long\.jsonl: line 2: longer than {1 << 19} bytes; is it JSON Lines\?"):
        ids_of(read(path, gpt2))


def test_a_long_line_is_read(tmp_path: Path, gpt2: Vocabulary) -> None:
    """A record of several megabytes is a document like any other, in linear time."""
    path = json_lines(tmp_path / "long.jsonl", ["word " * 1_000_000, "end"])

    ids = ids_of(read(path, gpt2))

    assert ids[:3] + ids[-3:] == [4775, 1573, 1573, 220, EOT, 437]
    assert len(ids) == 1_000_003


# --- Parquet --------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_columns_of_text_in_any_form(type_: Any, tmp_path: Path, gpt2: Vocabulary) -> None:
    """Strings may be stored short, long or in a dictionary, in any number of row groups."""
    path = parquet(tmp_path / "a.parquet", ["one", "two"] * 1500, type=type_, row_group_size=700)

    assert ids_of(read(path, gpt2)) == ([505, EOT, 11545, EOT] * 1500)[:-1]


@pytest.mark.parametrize(
    ("values", "type_", "message"),
    [
        (["x"] * 2000 + [None], pa.string(), "row 2001: column text is null, not a string"),
        ([b"\xe9"], pa.binary(), "row 1: column text is not valid UTF-8"),
        ([5], pa.int64(), "row 1: column text is a int, not a string"),
        ([["x"]], pa.list_(pa.string()), "row 1: column text is a list, not a string"),
    ],
)
def test_46_a_bad_row_is_named(
    values: list[object], type_: Any, message: str, tmp_path: Path, gpt2: Vocabulary
) -> None:
    """A cell that holds no text is named by file, row and column."""
    path = parquet(tmp_path / "bad.parquet", values, type=type_)

    with pytest.raises(DataError) as raised:
        ids_of(read(path, gpt2))

    assert str(raised.value) == f"{path}: {message}"


def test_46_a_missing_column_is_named(tmp_path: Path, gpt2: Vocabulary) -> None:
    """A table without the column says which it has, even if it has no rows."""
    for texts in (["x"], []):
        path = parquet(tmp_path / "a.parquet", texts, "body")
        with pytest.raises(DataError, match=r"has no column text; its columns: id, body \(see --field\)$"):
            ids_of(read(path, gpt2))


def test_46_a_cell_that_is_no_utf_8_is_named(tmp_path: Path, gpt2: Vocabulary) -> None:
    """A table may claim to hold strings and hold other bytes; the row is named."""
    cells = pa.array([b"one", b"caf\xe9"], pa.binary())
    claimed = pa.Array.from_buffers(pa.string(), 2, cells.buffers())
    pa.parquet.write_table(pa.table({"text": claimed}), tmp_path / "a.parquet")

    with pytest.raises(DataError, match=r"a\.parquet: row 2: column text is not valid UTF-8$"):
        ids_of(read(tmp_path / "a.parquet", gpt2))


@pytest.mark.parametrize("field", ["text", "name"])
def test_a_columns_name_must_be_utf8(field: str, tmp_path: Path, call: Call) -> None:
    """A column whose name is not UTF-8, be it the text's or another, is told in one line."""
    table = pa.table({"text": ["one"], "name": ["two"]})
    pa.parquet.write_table(table, tmp_path / "a.parquet", store_schema=False)
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data.replace(field.encode(), field[:2].encode() + b"\xff\xfe"))

    for options in (["-o", "x.pt"], ["--count"], ["--dry-run"], ["-o", "store/"]):
        ended = call("tokenize", "a.parquet", *options)

        assert ended.code == 3
        assert "a.parquet: the name of a column is not valid UTF-8: b'" in ended.notes[-1]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "-"])
def test_a_field_must_be_utf8(name: str, tmp_path: Path, llmprep: Run) -> None:
    """A name of a field that is not UTF-8 is a fault of the command line, whatever the records are."""
    json_lines(tmp_path / "a.jsonl", ["one"])
    parquet(tmp_path / "a.parquet", ["one"])

    ended = llmprep("tokenize", name, "--count", "--field", b"a\xff")

    assert ended.returncode == 2
    assert ended.stderr == b"llmprep: error: --field a\\udcff: is not valid UTF-8, as the name of every field is\n"


@pytest.mark.parametrize("keep", [0, 3, 4, 100, 5000, -1])
def test_47_a_truncated_table_is_an_error(keep: int, tmp_path: Path, gpt2: Vocabulary) -> None:
    """A Parquet file that is cut short, empty or something else is damaged, or has no tokens."""
    path = parquet(tmp_path / "a.parquet", [os.urandom(50).hex() for _ in range(200)])
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(DataError, match=r"a\.parquet: damaged near row 1: "):
        ids_of(read(path, gpt2))


def test_a_damaged_page_is_an_error(tmp_path: Path, gpt2: Vocabulary) -> None:
    """Wrong bytes inside a table never pass in silence as fewer rows."""
    path = parquet(tmp_path / "a.parquet", [os.urandom(50).hex() for _ in range(2000)], write_page_checksum=True)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 100] = b"\x55" * 100
    path.write_bytes(data)

    with pytest.raises(DataError, match=r"a\.parquet: damaged near row 1: .*checksum"):
        ids_of(read(path, gpt2))


def test_a_table_cannot_come_through_a_pipe(tmp_path: Path, gpt2: Vocabulary) -> None:
    """Parquet is read by seeking, so a pipe with such a name is refused in words, before anything is read."""
    os.mkfifo(tmp_path / "pipe.parquet")

    with pytest.raises(UsageError, match=r"pipe\.parquet: a Parquet file is read by seeking"):
        ids_of(read(tmp_path / "pipe.parquet", gpt2))


def test_a_missing_extra_is_named(tmp_path: Path, gpt2: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow the error says what to install."""
    path = parquet(tmp_path / "a.parquet", ["x"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(UsageError, match=r"a\.parquet: Parquet files need an extra: pip install 'llmprep\[parquet\]'"):
        ids_of(read(path, gpt2))


def test_a_table_that_is_not_named_so_is_recognised(tmp_path: Path, gpt2: Vocabulary) -> None:
    """A Parquet file without its name is refused with what it looks like."""
    path = parquet(tmp_path / "a.txt", ["x"])

    with pytest.raises(
        DataError, match=r"looks like a Parquet file, not UTF-8 text; give it a name that ends in \.parquet"
    ):
        ids_of(read(path, gpt2))


def test_22_a_table_that_changes_is_never_a_mixture(tmp_path: Path, gpt2: Vocabulary) -> None:
    """A table that is replaced while it is read is an error or the old one whole, as its hash says."""
    path = parquet(tmp_path / "a.parquet", ["old"] * 5000, row_group_size=500)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    stream = read(path, gpt2, effort=Effort("tiktoken", 1, 100))
    blocks = iter(stream)
    ids = next(blocks).tolist()
    parquet(tmp_path / "new.parquet", ["new"] * 5000, row_group_size=500).replace(path)

    ids += np.concatenate(list(blocks)).tolist()

    assert set(ids) == {727, EOT}
    assert stream.documents[0].sha256 == before


def test_22_a_table_that_is_rewritten_is_an_error(tmp_path: Path, gpt2: Vocabulary) -> None:
    """A table that is changed in its place after it was hashed is not read as a mixture."""
    path = parquet(tmp_path / "a.parquet", ["old"] * 5000, row_group_size=500)
    os.utime(path, (0, 0))
    blocks = iter(read(path, gpt2, effort=Effort("tiktoken", 1, 100)))
    next(blocks)
    path.write_bytes(path.read_bytes())

    with pytest.raises(InputError, match=r"a\.parquet: changed while it was read"):
        list(blocks)


def test_a_long_number_in_another_field_is_no_matter(tmp_path: Path, gpt2: Vocabulary) -> None:
    """JSON sets no limit to the digits of a number, and no number is of use here."""
    (tmp_path / "a.jsonl").write_text('{"n": ' + "9" * 10_000 + ', "text": "one"}\n{"text": "two", "t": {"text": 1}}')

    assert ids_of(read(tmp_path / "a.jsonl", gpt2)) == [505, EOT, 11545]


@pytest.mark.parametrize("data", [b'[{"text": "x"}]', b'[\n  {"text": "x"}\n]', b" [\n"])
def test_a_json_array_is_told_by_that_word(data: bytes, tmp_path: Path, gpt2: Vocabulary) -> None:
    """A JSON array is no JSON Lines, on one line or on several."""
    (tmp_path / "a.jsonl").write_bytes(data)

    with pytest.raises(DataError, match="line 1: holds a JSON array, and JSON Lines has an object on each line"):
        ids_of(read(tmp_path / "a.jsonl", gpt2))


def test_two_columns_of_one_name_are_refused(tmp_path: Path, gpt2: Vocabulary) -> None:
    """Of two columns with the same name, none is taken in silence."""
    table = pa.Table.from_arrays([pa.array(["one"]), pa.array(["two"])], names=["text", "text"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")

    with pytest.raises(DataError, match="has 2 columns text; which one is meant is not clear"):
        ids_of(read(tmp_path / "a.parquet", gpt2))


@pytest.mark.parametrize("type_", [pa.binary(), pa.large_binary()], ids=str)
def test_text_that_is_stored_as_bytes_is_taken(type_: Any, tmp_path: Path, gpt2: Vocabulary) -> None:
    """Some writers do not mark text as such."""
    path = parquet(tmp_path / "a.parquet", [b"one", b"two"], type=type_)

    assert ids_of(read(path, gpt2)) == [505, EOT, 11545]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("shard_bytes", [None, 40])
def test_empty_records_are_said_and_keep_their_numbers(
    kind: str, shard_bytes: int | None, call: Call, tmp_path: Path
) -> None:
    """A record without text is counted and no document; those after it have the numbers of their lines or rows."""
    texts = ["", "one two", "", "", "three four", "five six", "", "seven"]
    if kind == "jsonl":
        (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    else:
        parquet(tmp_path / "a.parquet", texts)
    output = ["-o", "made.pt"] if shard_bytes is None else ["-o", "made/", "--shard-bytes", str(shard_bytes)]

    ended = call("tokenize", f"a.{kind}", *output)

    assert ended.code == 0
    assert "llmprep: note: 4 empty records skipped; the others keep their numbers" in ended.notes
    made = output[1].rstrip("/")
    n_tokens = call("inspect", made, "--max-length", "1", "--json").value["n_tokens"]
    numbers = []
    for token in range(n_tokens - 1):
        shown = call("inspect", made, "--where", str(token), "--max-length", "1", "--stride", "1", "--json").value
        numbers.append(shown["shown"][0]["places"][0]["document"])
    assert call("inspect", made, "--verify").code == 0
    assert {*numbers} == {2, 5, 6, 8}
    assert numbers == sorted(numbers)


def test_a_blank_line_counts_as_a_line(call: Call, tmp_path: Path) -> None:
    """The number of a document in JSON Lines is that of its line; a blank line is no record, and nothing is said."""
    (tmp_path / "a.jsonl").write_text('{"text": "one two three"}\n\n{"text": "four five six"}\n')

    assert call("tokenize", "a.jsonl").notes == []
    shown = call("inspect", "a.tokens.pt", "--where", "5", "--max-length", "1")

    assert "document 3" in shown.stdout.decode()
