"""Promises of JSON Lines: written in any way it is read alike; a bad record is named by its line and field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.documents import documents, json_lines, read, save
from support.refusals import matches
from support.strategies import adversarial_text

from llmprep.documents import json_lines as room
from llmprep.errors import DataError

ARRAY = (
    "holds a JSON array, and JSON Lines has an object on each line; write one on each, for example with: jq -c '.[]'"
)


@given(
    texts=st.lists(adversarial_text.filter(bool), min_size=1, max_size=5),
    ascii_=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\n\n \t\n"]),
)
def test_lines_may_be_written_in_any_way(texts: list[str], ascii_: bool, end: str, folder: Path) -> None:
    """Escapes or UTF-8, CRLF, blank lines, a byte order mark, no last line end: the texts are the same."""
    lines = end.join(json.dumps({"text": text}, ensure_ascii=ascii_) for text in texts)

    for data in (lines, lines + end, "\ufeff" + lines):
        blocks = read(save(folder, data, "a.jsonl"), "keep", 1)
        counts = blocks[0].counts
        assert documents(blocks) == texts
        assert (counts.bom, counts.n_empty) == (data.startswith("\ufeff"), 0)
        blank = [n for n, line in enumerate(data.removesuffix("\n").split("\n"), 1) if not line.strip()]
        assert [n for first, count in counts.gaps or () for n in range(first, first + count)] == blank


LONG = "9" * 10_000
LINES = [
    '{"x": 1, "x": 2, "text": "one"}', '{"x": "\\ud800", "\\udc00": NaN, "text": "one"}', '{"te\\u0078t": "one"}',
    '{"meta": {"text": "a", "text": "b"}, "text": "one"}', '{"text": "one", "more": [{"text": 1, "text": 2}]}',
    f'{{"n": {LONG}, "text": "one"}}', f'{{"n": {LONG}, "text": "one", "t": {{"text": 1}}}}',
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_other_fields_may_hold_anything(line: str, tmp_path: Path) -> None:
    """Only the text field matters: others may appear twice, hold half characters, or a number of any length."""
    assert documents(read(save(tmp_path, line, "a.jsonl"))) == ["one"]
    pair = save(tmp_path, '{"text": "\\ud83d\\ude00"}', "a.jsonl")  # two halves that are one character
    assert documents(read(pair)) == ["\U0001f600"]


NO_JSON = [
    b'{"text": "x"', b"text", b'{"text": "x"} {"text": "y"}', b"{'text': 'x'}", b'{"text": "a\tb"}',
    b'{"text": ' + b"[" * 200_000, '{"text": "xy"}'.encode("utf-16-le"),
]  # fmt: skip
BAD = {
    **dict.fromkeys(NO_JSON, "not valid JSON: ..."),
    b'{"text": "caf\xe9"}': "not valid UTF-8 at byte 13 of the line",
    b'{"text": "\xed\xa0\x80"}': "not valid UTF-8 at byte 10 of the line",
    b'{"id": 1, "Text": "x"}': "has no field text; its fields: Text, id (see --field)",
    b"{}": "has no field text; its fields: none (see --field)",
    b'{"text": 5}': "field text is a int, not a string",
    b'{"text": null}': "field text is a NoneType, not a string",
    b'{"text": ["x"]}': "field text is a list, not a string",
    b'{"text": {"text": "x"}}': "field text is a dict, not a string",
    b'"text"': "holds a str, not an object with field text",
    **dict.fromkeys([b'[{"text": "x"}]', b'[\n  {"text": "x"}\n]', b" [\n"], ARRAY),
    b'{"text": "a\\ud83d"}': "field text holds half a surrogate pair (\\ud83d), which is no character; mend the record",
    b'{"text": "\\ude00\\ud83d"}': "field text holds half a surrogate pair (\\ude00), which is no...",
    b'{"text": "x", "id": 1, "text": "x"}': "field text appears twice; which one is meant is not clear",
    b'{"text": "x", "te\\u0078t": "x"}': "field text appears twice; which one is meant is not clear",
}


@pytest.mark.parametrize("line", BAD, ids=lambda line: line[:40].decode(errors="replace"))
def test_a_bad_record_is_named_by_file_and_line(line: bytes, tmp_path: Path) -> None:
    """Whatever is wrong with a record, the error names the file, the line and the field."""
    path = save(tmp_path, b'{"text": "one"}\n' * 499 + b"\n" + line + b'\n{"text": "two"}\n', "a.jsonl")

    with pytest.raises(DataError) as raised:
        read(path)

    assert matches(f"{path}: line 501: {BAD[line]}", str(raised.value))


def test_the_length_of_a_line_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record of megabytes is read; a line longer than the limit, as of a file of another kind, is not held."""
    path = json_lines(tmp_path / "a.jsonl", ["one", "word " * 200_000, "end"])
    assert documents(read(path)) == ["one", "word " * 200_000, "end"]
    monkeypatch.setattr(room, "MAX_LINE_BYTES", 1 << 19)

    with pytest.raises(DataError, match=rf"a\.jsonl: line 2: longer than {1 << 19} bytes; is it JSON Lines\?"):
        read(path)
