"""Promises of places: a window's tokens are traced to the file, the document and the very bytes they came from."""

import gzip
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reference import encode
from support.stores import EOT, GPT2, build, json_lines, write_files
from support.strategies import adversarial_text

from llmprep.choices import Effort, TextOptions
from llmprep.documents.finding import find_sources
from llmprep.documents.names import Names
from llmprep.formats.meta import make_meta
from llmprep.store.columns import Piece, Pieces
from llmprep.store.provenance import Place, Stretch, Stretches, find_places, stretches_of_file, stretches_of_store
from llmprep.store.reading import TokenStore
from llmprep.tokens.stream import stream_text
from llmprep.vocabulary.vocabulary import END_OF_TEXT

TABLE = GPT2.token_table()


@dataclass(frozen=True)
class Streamed:
    """A corpus as one stream, and what is stated of where its parts are from."""

    ids: npt.NDArray[np.uint32]
    stretches: Stretches

    def places(self, first: int, count: int) -> list[Place]:
        """Where these tokens are from."""
        table = {token_id: TABLE[token_id] for token_id in {*self.ids.tolist()}}  # all of it would take its time
        stretches = self.stretches.within(first, first + count)
        return find_places(lambda at, n: self.ids[at : at + n], stretches, first, count, table, EOT)

    def text(self, first: int, count: int) -> bytes:
        """The text of these tokens, as bytes."""
        return b"".join(TABLE[token_id] for token_id in self.ids[first : first + count].tolist())


def streamed(paths: Sequence[str], shard_bytes: int | None = None, options: TextOptions | None = None) -> Streamed:
    """Read a corpus into one stream: as it goes into a tokens file, or through a store of shards of this size."""
    if shard_bytes is None:
        stream = stream_text(find_sources(paths), GPT2, TextOptions(), Effort(backend="tiktoken"))
        ids = np.concatenate([*stream])
        return Streamed(ids, stretches_of_file(make_meta("tokens", stream.origin, stream.figures)))
    with tempfile.TemporaryDirectory() as folder:
        build(paths, folder, shard_bytes, options=options)
        store = TokenStore(folder)
        return Streamed(np.concatenate([*store.blocks()]), stretches_of_store(store.manifest))


def joined(spots: Iterable[tuple[str, int, int]]) -> dict[str, tuple[int, int]]:
    """From where to where the spots of each file go."""
    held: dict[str, tuple[int, int]] = {}
    for name, begin, end in spots:
        held[name] = held.get(name, (begin, end))[0], end
    return held


# Without NUL, which makes a short text look like no text, and without what the reader changes.
plain_texts = adversarial_text.map(lambda text: text.replace("\x00", "").replace("\r", "").lstrip("\ufeff"))
WRITE: dict[str, Callable[[str], bytes]] = {
    "plain.txt": str.encode,
    "packed.txt.gz": lambda text: gzip.compress(text.encode(), mtime=0),
    "record.jsonl": lambda text: json_lines([text]),
}
named_texts = st.lists(st.tuples(st.sampled_from([*WRITE]), plain_texts), min_size=1, max_size=5)


@settings(max_examples=15)
@given(named_texts.filter(lambda named: any(text for _, text in named)), st.none() | st.integers(9, 300), st.data())
def test_the_bytes_of_a_place_are_the_windows_text(
    texts: list[tuple[str, str]], shard_bytes: int | None, data: st.DataObject
) -> None:
    """Of any window the places name each file and the bytes of its text, which are the file's own where it is plain."""
    files: dict[str, bytes] = {}
    spots: list[tuple[str, int, int]] = []
    for number, (name, text) in enumerate(texts):
        files[f"{number}{name}"] = WRITE[name](text)
        begins = [*accumulate((len(TABLE[token_id]) for token_id in encode(text)), initial=0)]
        spots += [(f"{number}{name}", 0, 0)] if spots and text else []
        spots += [(f"{number}{name}", begin, end) for begin, end in pairwise(begins)]
    with tempfile.TemporaryDirectory() as folder:
        corpus = streamed(write_files(Path(folder), files), shard_bytes)
    first = data.draw(st.integers(0, len(spots) - 1))
    count = data.draw(st.just(1) | st.integers(1, len(spots) - first))
    places = corpus.places(first, count)
    assert len(corpus.ids) == len(spots)
    assert all((place.exact, place.document) == (place.name.endswith("plain.txt"), 1) for place in places)
    found = joined((place.name, place.begin or 0, place.end or 0) for place in places)
    assert found == joined(spots[first : first + count])


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newlines", ["keep", "universal"])
def test_places_count_bytes_of_the_text_across_spans(mark: bytes, newlines: str, tmp_path: Path) -> None:
    """In a file of CRLF that was cut into spans, a place is bytes of the file, or, not exact, of its whole text."""
    text = "one two \u4e2d\u6587\u3002\n\nthree's four\n" * 3
    raw = mark + text.replace("\n", "\r\n").encode()
    taken = raw[len(mark) :] if newlines == "keep" else text.encode()
    for shard_bytes in (3, 30):
        corpus = streamed(write_files(tmp_path, {"a.txt": raw}), shard_bytes, TextOptions(newlines))  # type: ignore[arg-type]
        for first in range(len(corpus.ids)):
            for count in (1, 9, len(corpus.ids)):
                places = corpus.places(first, count)
                held = [(raw if place.exact else taken)[place.begin : place.end] for place in places]
                assert b"".join(held) == corpus.text(first, count)
                assert mark or newlines != "keep" or all(place.exact for place in places)


@pytest.mark.parametrize("before", [{}, {"before.txt": "a text of its own"}])
@pytest.mark.parametrize("shard_bytes", [None, 10_000, 3, 40])
def test_records_are_numbered_by_their_lines(shard_bytes: int | None, before: dict[str, str], tmp_path: Path) -> None:
    """A token of records, split or not, or the separator before, is in the document of its line; empty ones count."""
    texts = ["", "one two", "", "", "three\nfour ", "\u4e2d\u6587", "", "five", ""]
    paths = write_files(tmp_path, {**before, "r.jsonl": json_lines(texts)})
    corpus = streamed(paths, shard_bytes)
    lines: list[int] = []
    for number, text in enumerate(texts, 1):
        if text:
            lines += [number] * (len(encode(text)) + bool(lines or before))
    for at, line in enumerate(lines, len(corpus.ids) - len(lines)):
        *_, place = corpus.places(at, 1)
        assert (place.name, place.document) == ("r.jsonl", line)
        shown = b"" if corpus.ids[at] == EOT else corpus.text(at, 1)
        assert texts[line - 1].encode()[place.begin : place.end] == shown


def test_documents_that_cannot_be_told_apart_are_not_numbered(tmp_path: Path) -> None:
    """Without separators, or where a text forges one, a place names the file and no document."""
    paths = write_files(tmp_path, {"r.jsonl": json_lines(["one two", f"three {END_OF_TEXT} four", "five"])})
    for options in (TextOptions(), TextOptions(separator="none")):
        corpus = streamed(paths, 1000, options)
        (place,) = corpus.places(len(corpus.ids) - 1, 1)
        assert (place.name, place.document, place.exact) == ("r.jsonl", None, False)


def test_documents_after_gaps_that_are_not_known_are_not_numbered() -> None:
    """Where a piece has too many runs of lines without text, it and those of its file after it have no numbers."""
    pieces = [Piece(source, 0, 9, 2, 1, 0, gaps) for source, gaps in ((0, ()), (0, None), (0, ()), (1, [[1, 4]]))]
    stretches = Stretches.of(Pieces.of(pieces), Names.of("ab"), {}, np.arange(0, 9, 2))
    corpus = Streamed(np.full(8, 64, np.uint32), stretches)
    assert [corpus.places(2 * n, 1)[0].document for n in range(4)] == [1, None, None, 5]


def test_a_large_file_is_not_read_at_once() -> None:
    """However long the stretch is that a window lies in, it is looked through in parts."""
    read = Mock(side_effect=lambda first, count: np.full(min(count, 5_000_000 - first), 64))
    stretch = Stretch("large.txt", 0, 5_000_000, 0, 5_000_000, 0, 0, 1, 0)
    (place,) = find_places(read, [stretch], 4_000_000, 10, TABLE, EOT)
    asked = [call.args[1] for call in read.call_args_list]
    assert (place.begin, place.end, place.exact) == (4_000_000, 4_000_010, True)
    assert (max(asked) <= 1 << 20, sum(asked)) == (True, 5_000_000)
