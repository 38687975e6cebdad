"""Promises of texts: Python's newlines, no byte order mark, strict UTF-8 with exact places, figures that add up."""

from __future__ import annotations

import codecs
import hashlib
import itertools
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.documents import COMPRESS, counts_of, read, save
from support.strategies import adversarial_text

from llmprep.choices import Newlines
from llmprep.documents.blocks import last_safe_cut
from llmprep.documents.reading import read_blocks
from llmprep.errors import DataError

MARK = codecs.BOM_UTF8
HALF = "\u65e5".encode()[:2]
block_sizes = st.sampled_from([1, 2, 3, 7, 64, 1000]) | st.integers(1, 300)
texts = adversarial_text.filter(lambda text: text.encode()[:4096].count(0) < 2)
"""A second NUL at the beginning may be taken for binary data."""


@given(text=texts, newlines=st.sampled_from(("universal", "keep")), block_bytes=block_sizes)
@example("caf\u00e9\r\none two\rthree\r\n\r\n\ufeff \u4e2d\u3002", "universal", 3)
@example("caf\u00e9\r\none two\rthree\r\n\r\n\ufeff \u4e2d\u3002", "keep", 300)
def test_a_text_is_what_pythons_text_mode_reads(folder: Path, text: str, newlines: Newlines, block_bytes: int) -> None:
    """For any block size: the text is Python's, raw bytes and offsets are the file's, and the counts agree."""
    assume(not text.startswith("\ufeff"))
    counts = counts_of(save(folder, text))
    with (folder / "a.txt").open(encoding="utf-8", newline=None if newlines == "universal" else "") as file:
        expected = file.read()

    blocks = list(read_blocks(counts, newlines, block_bytes))

    raw = [block.raw for block in blocks]
    assert "".join(block.text for block in blocks) == expected
    assert b"".join(raw) == text.encode()
    assert [block.offset for block in blocks] == list(itertools.accumulate(map(len, raw), initial=0))[: len(raw)]
    for left, right in itertools.pairwise(raw):
        assert last_safe_cut(left[-3:] + right[:3]) == len(left[-3:])
    assert [block.first for block in blocks] == [True, *[False] * len(blocks)][: len(blocks)]
    assert all(block.data and not block.seams and block.where == f"byte {block.offset}" for block in blocks)
    assert (counts.n_bytes, counts.sha256) == (len(text.encode()), hashlib.sha256(text.encode()).hexdigest())
    assert (counts.n_chars, counts.n_text) == (len(expected), len(expected.encode()))
    assert (counts.n_documents, counts.begin, counts.bom) == (bool(text), 0, False)


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 4, 1 << 20])
def test_a_byte_order_mark_is_dropped_once(tmp_path: Path, block_bytes: int) -> None:
    """The mark at the start is dropped and noted; a second one, and one further on, are text; alone it is none."""
    rows = (
        (MARK + "\ufeffone \ufefftwo".encode(), "\ufeffone \ufefftwo", True),
        ("a\ufeffb".encode(), "a\ufeffb", False),
    )
    for data, text, bom in (*rows, (MARK, "", True), (b"", "", False)):
        counts = counts_of(save(tmp_path, data))
        assert "".join(block.text for block in read_blocks(counts, "universal", block_bytes)) == text
        assert (counts.bom, counts.n_chars, counts.n_text, counts.n_bytes, counts.n_documents) == (
            bom, len(text), len(text.encode()), len(data), bool(text),
        )  # fmt: skip
        assert counts.sha256 == hashlib.sha256(data).hexdigest()


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
        (MARK + b"one\r\ntwo \x92three", r"12 \(0x92\)"),
        (MARK + b"a\x92 one", r"4 \(0x92\)"),
        (b"word " + HALF, r"5 \(0xe6\)"),
        (MARK + HALF, r"3 \(0xe6\)"),
    ],
)
def test_places_are_of_the_text_as_it_stands(data: bytes, place: str, block_bytes: int, tmp_path: Path) -> None:
    """A mark that is dropped and newlines that change count; places are of the text also where it is compressed."""
    for pack in (bytes, *COMPRESS.values()):
        with pytest.raises(DataError, match=f"not valid UTF-8 at byte {place}"):
            read(save(tmp_path, pack(data)), block_bytes=block_bytes)

    blocks = read_blocks(counts_of(save(tmp_path, b"one two three\xff")), "universal", 4)
    assert next(blocks).text == "one"  # what stands before a bad byte is yielded
    with pytest.raises(DataError, match="at byte 13"):
        list(blocks)
