"""Promises of spans: the parts of a file, however it is divided, are the file, each byte in exactly one."""

from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.documents import counts_of, documents, json_lines, save
from support.strategies import adversarial_text

from llmprep.documents import spans
from llmprep.documents.blocks import Block, find_safe_cut
from llmprep.documents.json_lines import find_line_start
from llmprep.documents.opening import ByteStream
from llmprep.documents.reading import read_blocks
from llmprep.documents.source import Counts
from llmprep.errors import DataError, InputError


def part_of(path: Path, begin: int, end: int) -> Counts:
    return Counts(replace(counts_of(path).source, span=(begin, end)))


def blocks_of(path: Path, begin: int, end: int) -> list[Block]:
    return list(read_blocks(part_of(path, begin, end), "universal"))


@pytest.mark.parametrize("find", [find_safe_cut, find_line_start])
@given(
    text=adversarial_text.map("a {}\nb".format),
    divisions=st.lists(st.integers(0, 250), max_size=6),
    look=st.sampled_from([6, 7, 16, 1 << 16]),
    size=st.sampled_from([1, 3, 50, 1000]),
)
@example("a " + "one two\n\u4e2d\u6587\u3002 (three)\r\n" * 8 + "b", [1, 9, 40, 41, 77, 130], 7, 3)
def test_spans_make_up_the_file(
    folder: Path, find: spans.FindBoundary, text: str, divisions: list[int], look: int, size: int
) -> None:
    """Each span is the bytes from the first boundary at or after its begin to the one of its end; counts agree."""
    data, path = text.encode(), save(folder, text)

    def boundary(place: int) -> int:
        found = find(data, place) if 0 < place < len(data) else place
        return len(data) if found is None else found

    for begin, end in itertools.pairwise([0, *sorted(place for place in divisions if place < len(data)), len(data)]):
        counts = part_of(path, begin, end)
        with pytest.MonkeyPatch.context() as patch, closing(ByteStream(counts)) as stream:
            patch.setattr(spans, "LOOK_BYTES", look)
            patch.setattr(spans, "require_text", lambda *_: None)
            start, read = spans.open_span(stream, find)
            parts = list(iter(lambda read=read: read(size), b""))  # type: ignore[misc]
            assert read(size) == b""

        assert b"".join(parts) == data[boundary(begin) : boundary(end)]
        assert max(map(len, parts), default=0) <= size
        assert start == counts.begin == min(boundary(begin), end)
        assert counts.n_bytes == sum(map(len, parts))


def test_blocks_of_spans_are_blocks_of_the_text(tmp_path: Path) -> None:
    """Offsets are of the file, a mark is dropped at its start only, and its first span alone begins a document."""
    path = save(tmp_path, "\ufeffone two\r\nthree \ufefffour five")
    found = [blocks_of(path, *span) for span in ((0, 8), (8, 12), (12, 19), (19, 31))]

    texts = ["".join(block.text for block in blocks) for blocks in found]
    assert texts == ["one two", "\nthree", " \ufefffour", " five"]
    assert [blocks[0].offset for blocks in found] == [0, 10, 17, 25]
    assert [blocks[0].first for blocks in found] == [True, False, False, False]
    assert [blocks[0].counts.bom for blocks in found] == [True, False, False, False]
    assert b"".join(block.raw for blocks in found for block in blocks) == path.read_bytes()


def test_lines_of_spans_are_named_by_their_bytes(tmp_path: Path) -> None:
    """How many lines come before a span is not known, so a record is named by the byte it begins at."""
    path = json_lines(tmp_path / "a.jsonl", ["one", "two", "six", "ten"])
    size = path.stat().st_size // 4
    path.write_bytes(path.read_bytes().replace(b'"ten"', b"12345"))

    (first,) = blocks_of(path, 0, size + 1)
    assert (documents([first]), first.place) == (["one", "two"], "the line at byte 0")
    with pytest.raises(DataError, match=rf"a\.jsonl: the line at byte {3 * size}: field text is a int"):
        blocks_of(path, 2 * size, 4 * size)


def test_the_beginning_and_the_size_of_the_file_are_looked_at(tmp_path: Path) -> None:
    """The span that begins a file refuses what is no text; one of a file that has shrunk is not read in silence."""
    path = save(tmp_path, b"%PDF-1.7\n1 0 obj and more")
    with pytest.raises(DataError, match="looks like a PDF document"):
        blocks_of(path, 0, 10)
    assert b"".join(block.raw for block in blocks_of(path, 12, 25)) == b" obj and more"

    part = part_of(save(tmp_path, b"one two three " * 20), 140, 280)
    save(tmp_path, b"one two three " * 15)
    with pytest.raises(InputError, match=r"a\.txt: has 210 bytes, and had 280 when it was found; run again"):
        list(read_blocks(part))
