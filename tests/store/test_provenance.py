"""Promises of places: a window's tokens are traced to the file, the document and the very bytes they came from."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stores import SMALL, json_lines, write_files
from support.strategies import adversarial_text
from tiktoken import Encoding

from llmprep.choices import Effort, Sharding, TextOptions
from llmprep.documents.finding import find_sources
from llmprep.formats.meta import make_meta
from llmprep.store.plan import plan_corpus
from llmprep.store.provenance import Place, Stretch, find_places, stretches_of_file, stretches_of_store
from llmprep.store.schema import Manifest, Piece, Shard
from llmprep.store.shards import make_jobs, piece_of
from llmprep.tokens.backends import Encoder
from llmprep.tokens.decoding import token_table
from llmprep.tokens.stream import stream_text
from llmprep.vocabulary.loading import END_OF_TEXT

EOT = SMALL.eot_id
TABLE = token_table(SMALL)
EFFORT = Effort(backend="tiktoken")
ENCODING = Encoding("small", pat_str=SMALL.pattern, mergeable_ranks=SMALL.ranks, special_tokens={END_OF_TEXT: EOT})
ENCODER = Encoder(SMALL, "allow", "tiktoken")


@dataclass(frozen=True)
class Streamed:
    """A corpus as one stream, and what a manifest says of where its parts are from."""

    ids: list[int]
    stretches: list[Stretch]

    def read(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """The ids from a position on."""
        return np.array(self.ids[first : first + count], np.int64)

    def places(self, first: int, count: int) -> list[Place]:
        """Where these tokens are from."""
        return find_places(self.read, self.stretches, first, count, TABLE, EOT)

    def text(self, first: int, count: int) -> bytes:
        """The text of these tokens, as bytes."""
        return b"".join(TABLE[token_id] for token_id in self.ids[first : first + count])


def as_store(paths: Sequence[str], shard_bytes: int, options: TextOptions | None = None) -> Streamed:
    """Read a corpus shard by shard, as a store is built."""
    options = options or TextOptions()
    planned = plan_corpus(find_sources(paths), SMALL, options, Sharding(shard_bytes))
    plan = planned.plan
    ids: list[int] = []
    pieces: list[Piece] = []
    for job, spans in zip(make_jobs(planned, Path(), SMALL, options, EFFORT), plan.shards, strict=True):
        stream = stream_text(job.sources, SMALL, options, EFFORT, ENCODER, continues=job.continues)
        ids += [int(token_id) for block in stream for token_id in block]
        pieces += [piece_of(span.source, each) for span, each in zip(spans, stream.figures.counts, strict=True)]
    sources = [(name, stamp.size) for name, stamp in zip(plan.names, plan.stamps, strict=True)]
    return Streamed(ids, stretches_of_store(manifest_of(pieces, sources, plan.options)))


def manifest_of(pieces: list[Piece], sources: list[tuple[str, int]], options: dict[str, Any]) -> Manifest:
    """A manifest of which only pieces, sources and options matter."""
    shards = [Shard("", 0, 0, 0, "", [piece]) for piece in pieces]
    return Manifest("", "", "", 0, "", options, "", 0, 0, 0, 0, "", sources, [], shards, {})


def as_file(paths: Sequence[str]) -> Streamed:
    """Read a corpus into one tokens file."""
    stream = stream_text(find_sources(paths), SMALL, TextOptions(), EFFORT, ENCODER)
    ids = [int(token_id) for block in stream for token_id in block]
    return Streamed(ids, stretches_of_file(make_meta("tokens", stream.origin, stream.figures)))


# --- texts ----------------------------------------------------------------------------------------

# Without NUL, which makes a short text look like no text, and without what the reader changes.
plain_texts = adversarial_text.map(lambda text: text.replace("\x00", "").replace("\r", "").lstrip("\ufeff"))
corpora = st.lists(plain_texts, min_size=1, max_size=5).filter(any)


Spot = tuple[str, int, int]
"""(file, begin, end)."""


def encode_small(text: str) -> list[int]:
    """Encode a whole text with tiktoken and the small vocabulary."""
    return ENCODING.encode(text, allowed_special={END_OF_TEXT}, disallowed_special=())


def spots_of(files: Mapping[str, str]) -> list[Spot]:
    """Where each token of a corpus is from: every document encoded whole, its bytes counted.

    A separator has no bytes and belongs to the document that it introduces.
    """
    spots: list[Spot] = []
    for name, text in files.items():
        at = 0
        spots += [(name, 0, 0)] if spots and text else []
        for token_id in encode_small(text):
            spots.append((name, at, at + len(TABLE[token_id])))
            at = spots[-1][2]
    return spots


def merged(spots: Iterable[Spot]) -> list[Spot]:
    """Neighbouring spots of one file taken together."""
    groups = [[*group] for _, group in groupby(spots, key=lambda spot: spot[0])]
    return [(group[0][0], group[0][1], group[-1][2]) for group in groups]


@given(texts=corpora, shard_bytes=st.integers(1, 300), data=st.data())
def test_the_bytes_of_a_place_are_the_windows_text(texts: list[str], shard_bytes: int, data: st.DataObject) -> None:
    """Of any window of any store of texts, the places name each file and exactly the bytes of the window's text."""
    files = {f"{number}.txt": text for number, text in enumerate(texts)}
    spots = spots_of(files)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(Path(folder), files)
        streamed = data.draw(st.sampled_from([as_store(paths, shard_bytes), as_file(paths)]))
    first = data.draw(st.integers(0, len(spots) - 1))
    count = data.draw(st.just(1) | st.integers(1, len(spots) - first))
    places = streamed.places(first, count)
    assert len(streamed.ids) == len(spots)
    assert all(place.exact and place.document == 1 for place in places)
    assert merged((place.name, place.begin, place.end) for place in places) == merged(spots[first : first + count])


# --- what is not exact ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("crlf.txt", b"one\r\ntwo\r\nthree\r\n", b"one\ntwo\nthree\n"),
        ("marked.txt", b"\xef\xbb\xbfone two three", b"one two three"),
        ("packed.txt.gz", gzip.compress(b"one two three " * 9, mtime=0), b"one two three " * 9),
        ("record.jsonl", b'{"text": "one two three"}\n', b"one two three"),
    ],
    ids=["newlines", "mark", "gzip", "records"],
)
def test_bytes_that_were_changed_on_the_way_are_not_exact(name: str, data: bytes, text: bytes, tmp_path: Path) -> None:
    """Where newlines or a mark went, or the file is compressed or holds records, places count bytes of its text."""
    streamed = as_store(write_files(tmp_path, {"before.txt": b"plain", name: data}), 1000)
    start = streamed.stretches[1].first
    for position in range(start, len(streamed.ids)):
        (place,) = streamed.places(position, 1)
        assert (place.name, place.exact) == (name, False)
        shown = b"" if position == start else streamed.text(position, 1)
        assert text[place.begin : place.end] == shown
    assert streamed.places(0, 1)[0].exact


@given(text=plain_texts, mark=st.booleans(), keep=st.booleans(), shard_bytes=st.integers(1, 60), data=st.data())
def test_places_count_bytes_of_the_text_across_spans(
    text: str, mark: bool, keep: bool, shard_bytes: int, data: st.DataObject
) -> None:
    """In a file of CRLF that was cut into spans, a place is bytes of the file, or, not exact, of its whole text."""
    raw = b"\xef\xbb\xbf" * mark + f"one {text} two".replace("\n", "\r\n").encode()
    options = TextOptions("keep" if keep else "universal")
    with tempfile.TemporaryDirectory() as folder:
        streamed = as_store(write_files(Path(folder), {"a.txt": raw}), shard_bytes, options)
    first = data.draw(st.integers(0, len(streamed.ids) - 1))
    count = data.draw(st.integers(1, len(streamed.ids) - first))
    places = streamed.places(first, count)
    taken = raw[3 * mark :] if keep else f"one {text} two".encode()
    held = [(raw if place.exact else taken)[place.begin : place.end] for place in places]
    assert mark or not keep or all(place.exact for place in places)
    assert b"".join(held) == streamed.text(first, count)


# --- documents ------------------------------------------------------------------------------------

record_texts = st.lists(
    plain_texts.map(lambda text: text.replace(END_OF_TEXT, "eot").replace("|", "!")), min_size=1, max_size=8
)


@given(texts=record_texts, before=st.booleans(), shard_bytes=st.just(10_000) | st.integers(1, 200), data=st.data())
def test_records_are_numbered_by_their_lines(
    texts: list[str], before: bool, shard_bytes: int, data: st.DataObject
) -> None:
    """A window in a file of records, split or not, is in the document of its first token; lines without text count.

    A separator belongs to the document that it introduces.
    """
    files = {"before.txt": "a text of its own"} if before else {}
    lines: list[int] = []
    for number, text in enumerate(texts, 1):
        if text:
            lines += [number] * (int(before or bool(lines)) + len(encode_small(text)))
    if not lines:
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(Path(folder), {**files, "r.jsonl": json_lines(texts)})
        streamed = data.draw(st.sampled_from([as_store(paths, shard_bytes), as_file(paths)]))
    position = data.draw(st.integers(0, len(lines) - 1))

    at = len(streamed.ids) - len(lines) + position
    *_, place = streamed.places(at, 1)

    assert (place.name, place.document) == ("r.jsonl", lines[position])
    shown = b"" if streamed.ids[at] == EOT else streamed.text(at, 1)
    assert texts[lines[position] - 1].encode()[place.begin : place.end] == shown


def test_documents_that_cannot_be_told_apart_are_not_numbered(tmp_path: Path) -> None:
    """Without separators, or where a text forges one, a place names the file and no document."""
    paths = write_files(tmp_path, {"r.jsonl": json_lines(["one two", f"three {END_OF_TEXT} four", "five"])})
    for options in (TextOptions(), TextOptions(separator="none")):
        streamed = as_store(paths, 1000, options)
        (place,) = streamed.places(len(streamed.ids) - 1, 1)
        assert (place.name, place.document, place.exact) == ("r.jsonl", None, False)


def test_documents_after_gaps_that_are_not_known_are_not_numbered() -> None:
    """Where a piece has too many runs of lines without text, it and those of its file after it have no numbers."""
    pieces = [Piece(source, 0, 9, 2, 1, 0, gaps) for source, gaps in ((0, ()), (0, None), (0, ()), (1, [[1, 4]]))]
    stretches = stretches_of_store(manifest_of(pieces, [("a", 27), ("b", 9)], {}))
    found = [find_places(lambda _, count: np.full(count, 64), stretches, 2 * n, 1, TABLE, EOT)[0] for n in range(4)]
    assert [place.document for place in found] == [1, None, None, 5]


def test_a_large_file_is_not_read_at_once() -> None:
    """However long the stretch is that a window lies in, it is looked through in parts."""
    n_ids = 5_000_000
    asked: list[int] = []

    def read(first: int, count: int) -> npt.NDArray[np.int64]:
        asked.append(count)
        assert first + count <= n_ids
        return np.full(count, 64)

    stretch = Stretch("large.txt", 0, n_ids, 0, n_ids, 0, 0, 1, 0)

    (place,) = find_places(read, [stretch], 4_000_000, 10, TABLE, EOT)

    assert len(TABLE[64]) == 1
    assert (place.begin, place.end, place.exact) == (4_000_000, 4_000_010, True)
    assert max(asked) <= 1 << 20
    assert sum(asked) == n_ids
