"""Promises of texts, and of spans: Python's newlines, strict UTF-8 with exact places; the parts are the whole."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.documents import COMPRESS, counts_of, documents, read, save
from support.strategies import adversarial_text
from support.streams import as_read, sha256

from llmprep.choices import Newlines
from llmprep.documents import spans
from llmprep.documents.blocks import Block
from llmprep.documents.cuts import find_safe_cut
from llmprep.documents.reading import read_blocks
from llmprep.documents.source import Counts
from llmprep.errors import DataError, InputError

texts = adversarial_text.filter(lambda text: text.encode()[:4096].count(0) < 2)
"""A second NUL at the beginning may be taken for binary data."""


@given(text=texts, newlines=st.sampled_from(("universal", "keep")), block_bytes=st.integers(1, 300))
@example("caf\u00e9\r\none two\rthree\r\n\r\n\ufeff \u4e2d\u3002", "universal", 3)
@example("caf\u00e9\r\none two\rthree\r\n\r\n\ufeff \u4e2d\u3002", "keep", 300)
@example("\ufeff\ufeffone \ufefftwo", "universal", 1)
@example("\ufeff\ufeffone \ufefftwo", "universal", 300)
def test_a_text_is_what_pythons_text_mode_reads(
    tmp_path_factory: pytest.TempPathFactory, text: str, newlines: Newlines, block_bytes: int
) -> None:
    """For any block size: the text is Python's, raw bytes and offsets are the file's, and the counts agree.

    A byte order mark at the start is dropped and noted; a second one, and one further on, are text.
    """
    data, expected = text.encode(), as_read(text, newlines)
    counts = counts_of(save(tmp_path_factory.getbasetemp(), data))
    blocks = list(read_blocks(counts, newlines, block_bytes))

    raw = [block.raw for block in blocks]
    assert "".join(block.text for block in blocks) == expected
    assert b"".join(raw) == (data if expected else b"")
    assert [block.offset for block in blocks] == list(itertools.accumulate(map(len, raw), initial=0))[: len(raw)]
    assert [block.first for block in blocks] == [True, *[False] * len(blocks)][: len(blocks)]
    assert all(block.data and not block.seams and block.where == f"byte {block.offset}" for block in blocks)
    assert (counts.n_bytes, counts.sha256) == (len(data), sha256(data))
    assert (counts.n_chars, counts.n_text) == (len(expected), len(expected.encode()))
    assert (counts.n_documents, counts.begin, counts.bom) == (bool(expected), 0, text.startswith("\ufeff"))


@pytest.mark.parametrize("pack", [bytes, COMPRESS["gzip"]], ids=["plain", "gzip"])
@pytest.mark.parametrize("bad", [b"\x80", b"\xc0", b"\xe2", b"\xff", "\u65e5".encode()[:2]])
def test_a_bad_byte_is_placed(bad: bytes, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """Wherever it stands and however the file is cut, the error gives its place from the file's start.

    What stands before it is yielded.
    """
    good = "\ufeffone caf\u00e9\r\ntwo \u4e2d\u3002".encode()
    for place, block_bytes in itertools.product(range(3, len(good) + 1), (1, 7, 1 << 20)):
        broken = good[:place] + bad + good[place:]
        with pytest.raises(UnicodeDecodeError) as expected:
            broken.decode()
        start = expected.value.start
        with pytest.raises(DataError) as raised:
            read(save(tmp_path, pack(broken)), block_bytes=block_bytes)
        assert f"a.txt: not valid UTF-8 at byte {start} (0x{broken[start]:02x}); convert it" in str(raised.value)
    blocks = read_blocks(counts_of(save(tmp_path, pack(b"one two three" + bad))), "universal", 4)
    assert next(blocks).text == "one"


def part_of(path: Path, begin: int, end: int) -> Counts:
    return Counts(replace(counts_of(path).source, span=(begin, end)))


def blocks_of(path: Path, begin: int, end: int) -> list[Block]:
    return list(read_blocks(part_of(path, begin, end), "universal"))


@given(
    text=texts.map("a {}\nb".format),
    divisions=st.lists(st.integers(0, 250), max_size=6),
    look=st.sampled_from([6, 7, 16, 1 << 16]),
    size=st.sampled_from([1, 3, 50, 1000]),
)
@example("a " + "one two\n\u4e2d\u6587\u3002 (three)\r\n" * 8 + "b", [1, 9, 40, 41, 77, 130], 7, 3)
def test_spans_make_up_the_file(
    tmp_path_factory: pytest.TempPathFactory, text: str, divisions: list[int], look: int, size: int
) -> None:
    """Each span is the bytes from the first safe cut at or after its begin to the one of its end; counts agree."""
    data, path = text.encode(), save(tmp_path_factory.getbasetemp(), text)
    places = [0, *sorted(place for place in divisions if place < len(data)), len(data)]
    cuts = [find_safe_cut(data, place) or len(data) if place else 0 for place in places]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "LOOK_BYTES", look)
        for (begin, end), (first, last) in zip(itertools.pairwise(places), itertools.pairwise(cuts), strict=True):
            counts = part_of(path, begin, end)
            raw = b"".join(block.raw for block in read_blocks(counts, block_bytes=size))
            assert raw == data[first:last]
            assert (counts.begin, counts.n_bytes) == (min(first, end), len(raw))


def test_blocks_of_spans_are_blocks_of_the_text(tmp_path: Path) -> None:
    """Offsets are of the file, a mark is dropped at its start only, and its first span alone begins a document.

    A record is named by the byte it begins at: how many lines come before a span is not known.
    """
    path = save(tmp_path, "\ufeffone two\r\nthree \ufefffour five")
    found = [blocks_of(path, *span) for span in ((0, 8), (8, 12), (12, 19), (19, 31))]
    texts = ["".join(block.text for block in blocks) for blocks in found]
    assert texts == ["one two", "\nthree", " \ufefffour", " five"]
    assert b"".join(block.raw for blocks in found for block in blocks) == path.read_bytes()
    assert [blocks[0].offset for blocks in found] == [0, 10, 17, 25]
    assert [(blocks[0].first, blocks[0].counts.bom) for blocks in found] == [(True, True), *[(False, False)] * 3]

    path = save(tmp_path, '{"text": "one"}\n{"text": "two"}\n{"text": "six"}\n{"text": 12345}\n', "a.jsonl")
    for begin, end, texts_of in ((0, 1, ["one"]), (0, 17, ["one", "two"]), (1, 17, ["two"]), (16, 32, ["two"])):
        (block,) = blocks_of(path, begin, end)
        assert (documents([block]), block.place) == (texts_of, f"the line at byte {16 * (begin > 0)}")
    assert blocks_of(path, 17, 32) == []
    with pytest.raises(DataError, match=r"a\.jsonl: the line at byte 48: field text is a number"):
        blocks_of(path, 32, 64)


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
