"""Promises of every fast path: it gives what the general path gives, which is the slow, obvious one, with less work."""

import functools
import io
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import reference
from support.reference import encode
from support.stores import SMALL
from support.strategies import PIECES, adversarial_text, window_shapes
from support.streams import text_block

from llmprep.choices import BackendName, Effort, IdDtype, TextOptions
from llmprep.documents.blocks import find_safe_cut
from llmprep.documents.finding import find_sources
from llmprep.documents.quick_json import find_text
from llmprep.formats.windows import KEYS, WindowOptions, write_windows
from llmprep.tokens.backends import Encoder, split_at_new
from llmprep.tokens.figures import Figures
from llmprep.tokens.stream import Origin, TokenStream, count_tokens, stream_part
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


@given(text=text_with_new | st.lists(st.sampled_from([*PIECES, "'\u017f", "e"])).map("".join))
@pytest.mark.parametrize(("encoding", "backend"), [("gpt2", "gigatoken"), ("cl100k_base", "fastokens")])
def test_backends_and_tiktoken(encoding: str, backend: BackendName, vocab_dir: Path, text: str) -> None:
    """A fast backend, with tiktoken for what it is not given, gives the ids that tiktoken gives for the whole text."""
    encoder = fast_encoder(encoding, backend, vocab_dir)
    assert encoder.encode(text_block(text)).tolist() == encode(text, encoding)


@functools.cache
def fast_encoder(encoding: str, backend: BackendName, vocab_dir: Path) -> Encoder:
    """An encoder that takes long to build."""
    return Encoder(load_vocabulary(encoding, vocab_dir), "allow", backend)


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


@settings(max_examples=300)
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


@given(shape=window_shapes, dtype=st.sampled_from(get_args(IdDtype)))
def test_views_and_dense_windows(shape: tuple[int, int, int], dtype: str) -> None:
    """Windows that share one storage, and those written row by row, are the textbook loop's."""
    n_tokens, max_length, stride = shape
    ids = np.arange(n_tokens, dtype=np.uint32) * 31 % 50_257
    expected = reference.window_rows(ids.tolist(), max_length, stride)
    for dense in (False, True) if expected[0] else ():
        figures = Figures(records=[])
        stream = TokenStream(
            Origin("t", "gpt2", "", 50_257, {}), count_tokens(iter([ids[:7], ids[7:]]), figures), figures
        )
        write_windows(sink := io.BytesIO(), stream, WindowOptions(max_length, stride, dtype, dense))
        held = torch.load(io.BytesIO(sink.getvalue()), weights_only=True)
        assert [held[key].tolist() for key in KEYS] == [*expected]


@given(text=adversarial_text.filter(lambda text: "\x00" not in text), cuts=st.lists(st.integers(0, 400), max_size=4))
def test_spans_and_whole_files(text: str, cuts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    """The spans of a file, each read alone, wherever their nominal ends are, give the ids of the whole file."""
    path = tmp_path_factory.getbasetemp() / "spans.txt"
    path.write_bytes(text.encode())
    (whole,) = find_sources([str(path)])
    size = len(text.encode())
    ends = sorted({min(cut, size) for cut in cuts} | {size})
    spans = [replace(whole, span=(start, end)) for start, end in zip([0, *ends], ends, strict=False)]
    encoder, options, effort = Encoder(SMALL, "allow", "tiktoken"), TextOptions("keep"), Effort("tiktoken", 1, 50)
    streams = [stream_part([span], options, effort, encoder, continues=True) for span in spans if text]
    found = [block.tolist() for stream in streams for block in stream]
    apart = list(itertools.chain.from_iterable(found))
    assert apart == [
        i for block in stream_part([whole], options, effort, encoder, continues=True) for i in block.tolist()
    ]
