"""Promises of texts: Python's newlines, no byte order mark, strict UTF-8 with exact places, figures that add up."""

from __future__ import annotations

import codecs
import hashlib
import itertools
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.documents import COMPRESS, counts_of, every_compression, read, save
from support.strategies import adversarial_text

from llmprep.choices import Newlines
from llmprep.documents.blocks import last_safe_cut
from llmprep.documents.reading import read_blocks
from llmprep.errors import DataError

block_sizes = st.sampled_from([1, 2, 3, 7, 64, 1000]) | st.integers(1, 300)
texts = adversarial_text.filter(lambda text: text.encode()[:4096].count(0) < 2)
"""A second NUL at the beginning may be taken for binary data."""
HALF = "\u65e5".encode()[:2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts")


@given(text=texts, newlines=st.sampled_from(("universal", "keep")), block_bytes=block_sizes)
def test_a_text_is_what_pythons_text_mode_reads(folder: Path, text: str, newlines: Newlines, block_bytes: int) -> None:
    """For any block size: the text is Python's, raw bytes and offsets are the file's, and the counts agree."""
    assume(not text.startswith("\ufeff"))
    path = save(folder, text)
    with path.open(encoding="utf-8", newline=None if newlines == "universal" else "") as file:
        expected = file.read()
    counts = counts_of(path)

    blocks = list(read_blocks(counts, newlines, block_bytes))

    assert "".join(block.text for block in blocks) == expected
    assert b"".join(block.raw for block in blocks) == text.encode()
    assert [block.offset for block in blocks] == list(
        itertools.accumulate((len(block.raw) for block in blocks[:-1]), initial=0)
    )[: len(blocks)]
    assert all(
        last_safe_cut(left.raw[-3:] + right.raw[:3]) == len(left.raw[-3:]) for left, right in itertools.pairwise(blocks)
    )
    assert [block.first for block in blocks] == [True, *[False] * (len(blocks) - 1)][: len(blocks)]
    assert all(block.data and not block.seams and block.where == f"byte {block.offset}" for block in blocks)
    assert (counts.n_bytes, counts.sha256) == (len(text.encode()), hashlib.sha256(text.encode()).hexdigest())
    assert (counts.n_chars, counts.n_text) == (len(expected), len(expected.encode()))
    assert (counts.n_documents, counts.begin, counts.bom) == (bool(text), 0, False)


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 4, 1 << 20])
def test_a_byte_order_mark_is_dropped_once(tmp_path: Path, block_bytes: int) -> None:
    """The mark at the start is dropped and noted; a second one, and one further on, are text."""
    counts = counts_of(save(tmp_path, codecs.BOM_UTF8 + "\ufeffone \ufefftwo".encode()))

    blocks = list(read_blocks(counts, "universal", block_bytes))

    assert "".join(block.text for block in blocks) == "\ufeffone \ufefftwo"
    assert (counts.bom, counts.n_chars, counts.n_text, counts.n_bytes) == (True, 9, 13, 16)
    assert blocks[0].raw.startswith(codecs.BOM_UTF8 + codecs.BOM_UTF8)


def test_a_mark_alone_is_no_document(tmp_path: Path) -> None:
    """A file that holds nothing, or nothing but the mark, yields no block; a mark further on is not one."""
    for data, bom in ((b"", False), (codecs.BOM_UTF8, True)):
        counts = counts_of(save(tmp_path, data))
        assert list(read_blocks(counts)) == []
        assert (counts.n_documents, counts.n_chars, counts.n_text, counts.bom) == (0, 0, 0, bom)
        assert (counts.n_bytes, counts.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    (block,) = read(save(tmp_path, "a\ufeffb"))
    assert (block.text, block.counts.bom) == ("a\ufeffb", False)


@given(text=texts, bad=st.sampled_from([0x80, 0xBF, 0xC0, 0xE2, 0xF5, 0xFF]), block_bytes=block_sizes, data=st.data())
def test_a_bad_byte_is_named_with_its_place(
    folder: Path, text: str, bad: int, block_bytes: int, data: st.DataObject
) -> None:
    """Wherever a bad byte stands and however the file is cut, the error gives its place from the file's start."""
    good = b"a" + text.encode()
    place = data.draw(st.integers(0, len(good)), label="place")
    broken = good[:place] + bytes([bad]) + good[place:]
    with pytest.raises(UnicodeDecodeError) as expected:
        broken.decode()
    start = expected.value.start

    with pytest.raises(DataError) as raised:
        read(save(folder, broken), block_bytes=block_bytes)

    assert f"a.txt: not valid UTF-8 at byte {start} (0x{broken[start]:02x}); convert it" in str(raised.value)


@pytest.mark.parametrize("block_bytes", [1, 2, 5, 1 << 20])
@pytest.mark.parametrize(
    ("data", "place"),
    [
        (codecs.BOM_UTF8 + b"one\r\ntwo \x92three", "12 (0x92)"),
        (codecs.BOM_UTF8 + b"a\x92 one", "4 (0x92)"),
        (b"word " + HALF, "5 (0xe6)"),
        (codecs.BOM_UTF8 + HALF, "3 (0xe6)"),
    ],
)
def test_places_are_of_the_file(data: bytes, place: str, block_bytes: int, tmp_path: Path) -> None:
    """A mark that is dropped and newlines that change count; a character that is cut off is named by its first byte."""
    with pytest.raises(DataError) as raised:
        read(save(tmp_path, data), block_bytes=block_bytes)

    assert f"not valid UTF-8 at byte {place}" in str(raised.value)


@every_compression
def test_places_in_compressed_text_are_of_the_text(kind: str, tmp_path: Path) -> None:
    """A bad byte of compressed text is named with its place in the text."""
    with pytest.raises(DataError, match=r"not valid UTF-8 at byte 4 \(0x92\)"):
        read(save(tmp_path, COMPRESS[kind](b"one \x92two")), block_bytes=2)


def test_text_before_a_bad_byte_is_yielded(tmp_path: Path) -> None:
    """Blocks come as they are read: what stands before the error has been yielded already."""
    blocks = read_blocks(counts_of(save(tmp_path, b"one two three\xff")), "universal", 4)

    assert next(blocks).text == "one"
    with pytest.raises(DataError, match="at byte 13"):
        list(blocks)
