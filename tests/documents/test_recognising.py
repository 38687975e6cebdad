"""Promises of recognising: what is no text is refused by its name, and no text is taken for something else."""

import gzip
import re
from pathlib import Path

import pytest
from support.documents import content, counts_of, piped, read, save

from llmprep.documents.opening import HEAD_BYTES
from llmprep.documents.reading import read_blocks
from llmprep.documents.recognising import is_compressed
from llmprep.errors import DataError

TEXT = "It is not UTF-8, though it is text. " * 40
WIDE = {"UTF-16 text (little-endian": "utf-16-le", "UTF-16 text (big-endian": "utf-16-be",
        "UTF-32 text (little-endian": "utf-32-le", "UTF-32 text (big-endian": "utf-32-be"}  # fmt: skip
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
NOT_TEXT = {
    **{f"{what})": f"\ufeff{TEXT}".encode(name) for what, name in WIDE.items()},
    **{f"{what}, without a mark)": TEXT.encode(name) for what, name in WIDE.items()},
    "a PNG image": b"\x89PNG\r\n\x1a\n\x00", "a JPEG image": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "a GIF image": b"GIF89a\x10\x00\x10\x00\x80", "a PDF document": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
    "a zip archive": b"PK\x03\x04rest of a zip", "a Parquet file": b"PAR1\x15\x04",
    "data of compress (.Z)": b"\x1f\x9d\x90", "lz4 data": b"\x04\x22\x4d\x18", "lzip data": b"LZIP\x01",
    "a 7z archive": b"7z\xbc\xaf\x27\x1c", "a RAR archive": b"Rar!\x1a\x07", "a program": b"\x7fELF\x02\x01",
    "an SQLite database": b"SQLite format 3\x00", "a tar archive": b"\x00" * 257 + b"ustar\x0000",
    "a .pt file": b"PK\x03\x04" + bytes(26) + b"a.tokens/data.pkl",
    "binary data (2 NUL bytes near its start)": b"a\x00b\x00" + b"c" * 36,
}  # fmt: skip
LIKE_OTHERS = [
    "PAR1", "PAR1 \u2014 a receptor", "%PDF-1.7 is how a PDF begins.\nMore text.\n", "%PDF-1.7\n% \u00dcber\n",
    "%PDF-1.7\nis followed by objects, such as 1 0 obj.", "GIF89a is a format of images.", "Rar! cried the lion.",
    "word " * 51 + "z ustar is a format", "7z is a program", "LZIP is one too", "SQLite format 3 is what it says.",
    "BZh is how bzip2 begins", "BZh91AY&SY is how a block begins.", "BZh91AY&SYbegins so", "x", "a\x00b",
    "a\x00b" + "c" * 37 + "\x00", ("word " * 40 + "\x00") * 20,
    "/annex/objects/ is where it lies.\nMore.\n", "version https://git-lfs.github.com/spec/v1 is how it begins.",
    LFS.decode() + "x" * 1024,
]  # fmt: skip


@pytest.mark.parametrize("what", NOT_TEXT)
def test_what_is_not_a_text_is_named(what: str, tmp_path: Path) -> None:
    """A file of another kind is refused with what it looks like, also where it is compressed."""
    for data in (NOT_TEXT[what], gzip.compress(NOT_TEXT[what])):
        with pytest.raises(DataError, match=re.escape(f"a.txt: looks like {what}, not UTF-8 text; ")):
            read(save(tmp_path, data))
        assert is_compressed(counts_of(tmp_path / "a.txt").source) == (data != NOT_TEXT[what])


@pytest.mark.parametrize("text", LIKE_OTHERS)
def test_a_text_that_begins_like_something_else_is_a_text(text: str, tmp_path: Path) -> None:
    """What a text may begin with too is not enough, nor is a NUL, or few in much text."""
    assert content(save(tmp_path, text)) == text.encode()


LONG = b'{"text": "' + b"word " * 1000
RECORDS = (b'{"text": "one"}\n{"text": "two"}\n', b'{"text": "one"}', LONG, b'\xef\xbb\xbf {"a \\" b": 1} \r\nmore')
NO_RECORDS = (LONG[: HEAD_BYTES - 1], b"{text}\n", b'{"text": "one",\n"more": 1}', b'{"set", "words"}', b'["text"]\n')


def test_records_that_are_read_as_a_text_are_said(tmp_path: Path) -> None:
    """A text whose first line is, or begins as, a JSON object gets a remark; as records it gets none."""
    remark = "begins with a JSON object and is read as plain text; --field NAME reads its records"
    assert {read(save(tmp_path, data))[0].counts.remarks for data in RECORDS} == {(remark,)}
    assert {read(save(tmp_path, data))[0].counts.remarks for data in NO_RECORDS} == {()}
    assert read(save(tmp_path, RECORDS[0], "a.jsonl"))[0].counts.remarks == ()


POINTERS = {
    LFS.replace(b"\n", b"\r\n"): "is a Git LFS pointer, not the data; fetch it with: git lfs pull",
    b"/annex/objects/SHA-s9--4d\n": "is a git-annex pointer, not the data; fetch it with: git annex get",
}


@pytest.mark.parametrize("data", POINTERS)
def test_a_pointer_is_no_data(data: bytes, tmp_path: Path) -> None:
    """What stands for a file that was not fetched is refused, whatever its name, compressed or through a pipe too."""
    for name in ("a.txt", "a.jsonl", "a.parquet", "a.pt"):
        with pytest.raises(DataError, match=f"/{name}: {POINTERS[data]}$"):
            counts_of(save(tmp_path, data, name))
    with pytest.raises(DataError, match=POINTERS[data]):
        read(save(tmp_path, gzip.compress(data)))
    with piped([data]) as counts, pytest.raises(DataError, match=f"-: {POINTERS[data]}"):
        list(read_blocks(counts))
