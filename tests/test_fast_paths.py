"""Promises of every fast path: it gives what the general path gives, which is the slow, obvious one, with less work."""

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.reference import encode
from support.strategies import adversarial_text
from support.streams import text_block

from llmprep.documents.blocks import find_safe_cut
from llmprep.documents.quick_json import find_text
from llmprep.tokens.backends import Encoder, split_at_new
from llmprep.tokens.unicode17 import NEW_CODE_POINTS, find_new_code_points
from llmprep.vocabulary.loading import load_vocabulary

NEW = {code for low, high in NEW_CODE_POINTS for code in range(low, high + 1)}
text_with_new = st.lists(
    adversarial_text | st.sampled_from(["x " * 3000, " word", "\u4e2d\u3002", *map(chr, sorted(NEW)[::400])]),
    max_size=12,
).map("".join)
"""Text with code points on which the backends differ, some of them far apart."""


@given(text_with_new)
def test_only_what_is_near_a_new_code_point_is_left_to_tiktoken(text: str) -> None:
    """The parts are the text, cut at safe places alone, and no part for gigatoken holds a new code point."""
    data = text.encode()
    parts = [*split_at_new(data)]
    assert b"".join(part for part, _ in parts) == data
    assert all(new or not NEW.intersection(map(ord, part.decode())) for part, new in parts)
    assert [len(text[:k].encode()) for k, char in enumerate(text) if ord(char) in NEW] == [*find_new_code_points(data)]
    place = 0
    for part, _ in parts[:-1]:
        place += len(part)
        assert find_safe_cut(data, place) == place


@settings(max_examples=40)
@given(text=text_with_new)
def test_backends_and_tiktoken(text: str) -> None:
    """Both backends together give the ids that tiktoken gives for the whole text."""
    encoder = Encoder(load_vocabulary("gpt2"), "allow", "gigatoken")
    assert encoder.encode(text_block(text)).tolist() == encode(text)


names = st.sampled_from(["text", "te", "\u4e2d", 'te"xt', "te\\xt"])
strings = names | st.text(max_size=9) | st.sampled_from(['say "text": ', "\\", '\\"', "\n", "\ud800", '{"text": "x"}'])
values = st.recursive(
    strings | st.integers() | st.none() | st.floats(),
    lambda inner: st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)
pieces = st.sampled_from(
    [b'"text": "x", ', b'"te\\u0078t": "y", ', b'"', b"\\", b"\\u0041", b"\xff", b"\x01", b"\t", b"}", b" "]
)


@st.composite
def lines_of_json(draw: st.DrawFn) -> bytes:
    """A record as several writers would write it, often with a piece in it that does not belong there."""
    record = {**draw(st.dictionaries(names, values, max_size=2)), "text": draw(strings), "url": draw(values)}
    line = json.dumps(record, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 0])))
    data = line.encode("utf-8", "surrogatepass")
    place = draw(st.integers(0, len(data)) | st.just(1))
    return data[:place] + draw(st.just(b"") | pieces) + data[place:]


def text_by_json(line: bytes) -> str | None:
    """The text of a line the slow way; None where it has none, or its field twice."""
    twice: list[bool] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice.append([key for key, _ in pairs].count("text") > 1)
        return dict(pairs)

    try:
        record = json.loads(line.decode(), object_pairs_hook=note)
        text = record["text"] if isinstance(record, dict) and not twice[-1] else None
        return text if isinstance(text, str) and text.encode() is not None else None
    except (ValueError, LookupError):
        return None


@settings(max_examples=1000)
@given(lines_of_json())
@example(b'{"text": "a", "te\\u0078t": "b"}')
@example(b'{"a": "text", "text": "b"}')
def test_json_by_orjson_and_by_json(line: bytes) -> None:
    """What is found among the bytes of a line is its text, and it is found where nothing is unusual."""
    found, expected = find_text(line, "text"), text_by_json(line)
    assert found is None or (found[0].decode(), found[1]) == (expected, len(expected or ""))


def test_usual_lines_are_read_by_orjson() -> None:
    """What writers of JSON Lines write is not left to `json`."""
    for line in ('{"text":"a"}', '{"id": 1, "text": "say \\\\ \\"x\\"\u00e9", "title": "\\"b\\"", "n": {"m": [1]}}\r'):
        text = json.loads(line)["text"]
        assert find_text(line.encode(), "text") == (text.encode(), len(text))
    assert find_text(b'{"a\\/b": "one", "a/b": "two"}', "a/b") is None
