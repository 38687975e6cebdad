"""Promises of opening: bytes are read once, counted and hashed; a look takes nothing; a change is never passed over.

Last, of recognising: what is no text is refused by its name, and no text is taken for something else.
"""

import gzip
import os
import re
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.documents import content, counts_of, piped, read, save
from support.refusals import matches
from support.streams import sha256

from llmprep.documents.finding import find_sources
from llmprep.documents.joining import read_sources
from llmprep.documents.opening import HEAD_BYTES, ByteStream, open_pipe, peek
from llmprep.documents.reading import read_blocks
from llmprep.documents.recognising import is_compressed
from llmprep.documents.source import Counts
from llmprep.errors import DataError, InputError

TEXT = "It was the best of times, caf\u00e9 and \u4e2d\u6587 alike, it was the worst of times.\n".encode()


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_look_takes_nothing(step: int, tmp_path: Path) -> None:
    """However much is looked at, and however often, all bytes are still read, counted and hashed once, in order."""
    counts, hashing, got = counts_of(save(tmp_path, TEXT)), list[Any](), b""
    assert [peek(counts.source, count) for count in (1, 20, 1000)] == [TEXT[:1], TEXT[:20], TEXT]
    with closing(ByteStream(counts, lambda *call: hashing.append(call), step)) as stream:
        for look, count in [(4, 3), (50, 20), (9, 9), (2, 5), (1000, 30), *[(0, 50)] * (len(TEXT) + 1)]:
            assert stream.peek(look) == TEXT[len(got) :][:look]
            got += (part := stream.read(count))
            assert len(part) <= min(count, step)
    assert (got, counts.n_bytes, counts.sha256) == (TEXT, len(TEXT), "")
    for function, *arguments in hashing:  # which may be done elsewhere
        function(*arguments)
    assert counts.sha256 == sha256(TEXT)


@pytest.mark.parametrize("data", [TEXT, b""])
def test_a_look_into_a_pipe_waits_for_enough_and_loses_nothing(data: bytes) -> None:
    """From a pipe that delivers a byte at a time all first bytes are looked at; standard input is not ours to close."""
    with piped([bytes([byte]) for byte in data]) as found:
        counts = Counts(open_pipe(found.source))
        assert open_pipe(counts.source) is counts.source
        assert [peek(counts.source, count) for count in (4, 40, 1000, 2)] == [data[:4], data[:40], data, data[:2]]
        assert b"".join(block.raw for block in read_blocks(counts, "universal", 16)) == data
        os.fstat(sys.stdin.fileno())
    assert (counts.n_bytes, counts.sha256) == (len(data), sha256(data))


def test_a_pipe_without_data_that_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A non-blocking standard input with no data yet is an error, and is not taken for an empty one."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(reading) as stdin, os.fdopen(writing):
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(InputError, match="-: is in non-blocking mode"):
            list(read_blocks(counts_of("-")))


CHANGES: dict[str, Callable[[Path], object]] = {
    "grow": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "shrink": lambda path: os.truncate(path, 20_000),
    "rewrite": lambda path: path.write_bytes(path.read_bytes().upper()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_is_an_error(change: str, tmp_path: Path) -> None:
    """A file that is changed while it is read is one error, never a mixture."""
    path = save(tmp_path, b"some words " * 30_000)
    os.utime(path, (0, 0))
    blocks = read_blocks(counts_of(path), "universal", 1000)
    next(blocks)
    CHANGES[change](path)
    with pytest.raises(InputError, match=r"a\.txt: changed while it was read; run again"):
        list(blocks)


def test_a_file_that_is_replaced_is_the_old_one(tmp_path: Path) -> None:
    """A new file under the same name does not show once it is open; one that has gone before is the system's error."""
    blocks = read_blocks(counts := counts_of(save(tmp_path, TEXT * 100)), "keep", 1000)
    data = next(blocks).raw
    save(tmp_path, b"new " * 5000, "new").replace(tmp_path / "a.txt")
    assert data + b"".join(block.raw for block in blocks) == TEXT * 100
    assert counts.sha256 == sha256(TEXT * 100)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(InputError, match=r"a\.txt: no such file or directory$"):
        list(read_blocks(counts))


PROSE = "It is not UTF-8, though it is text. " * 40
WIDE = {"UTF-16 text (little-endian": "utf-16-le", "UTF-16 text (big-endian": "utf-16-be",
        "UTF-32 text (little-endian": "utf-32-le", "UTF-32 text (big-endian": "utf-32-be"}  # fmt: skip
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PNG = b"\x89PNG\r\n\x1a\n\x00"
NOT_TEXT = {
    **{f"{what})": f"\ufeff{PROSE}".encode(name) for what, name in WIDE.items()},
    **{f"{what}, without a mark)": PROSE.encode(name) for what, name in WIDE.items()},
    "a PNG image": PNG, "a JPEG image": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "a GIF image": b"GIF89a\x10\x00\x10\x00\x80", "a PDF document": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
    "a zip archive": b"PK\x03\x04rest of a zip", "a Parquet file": b"PAR1\x15\x04",
    "data of compress (.Z)": b"\x1f\x9d\x90", "lz4 data": b"\x04\x22\x4d\x18", "lzip data": b"LZIP\x01",
    "a 7z archive": b"7z\xbc\xaf\x27\x1c", "a RAR archive": b"Rar!\x1a\x07", "a program": b"\x7fELF\x02\x01",
    "an SQLite database": b"SQLite format 3\x00", "a tar archive": b"\x00" * 257 + b"ustar\x0000",
    "an Arrow file": b"ARROW1\x00\x00" + bytes(9), "a NumPy array": b"\x93NUMPY\x01\x00v\x00{'descr'",
    "a safetensors file": b"\x40" + bytes(7) + b'{"ids":', "a Python pickle": b"\x80\x04\x95\x0b",
    "an HDF5 file": b"\x89HDF\r\n\x1a\n", "an Avro file": b"Obj\x01\x04\x16avro.schema",
    "sound or video": b"ID3\x04\x00",
    "an Office document of the old kind": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a GGUF model": b"GGUF\x03\x00\x00\x00",
    "an EPUB book": b"PK\x03\x04" + bytes(26) + b"mimetypeapplication/epub+zipPK",
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


BY_NAME = {
    "a.docx": (b"PK\x03\x04[Content", "a Word document"), "a.XLSX": (b"PK\x03\x04[Content", "an Excel workbook"),
    "a.npz": (b"PK\x03\x04", "NumPy arrays"), "train.bin": (b"\xff\x41" * 4000, "raw numbers or a model"),
    "a.arrow": (b"\xff\xff\xff\xff\x10\x01\x00\x00", "an Arrow file"),
    "b.parquet.gz": (gzip.compress(b"PAR1"), "gzip data"), "c.parquet": (b"some text", "not a Parquet file"),
    "d.parquet": (PNG, "not a Parquet file, ..., but a PNG image"),
}  # fmt: skip
MARKUP = {"a.html": "its HTML", "A.HTM": "its HTML", "a.csv": "commas", "a.tsv.gz": "tabs", "a.ipynb": "is a notebook",
          "a.json": "is JSON", "a.xml": "its XML"}  # fmt: skip


def test_a_name_says_what_first_bytes_do_not(tmp_path: Path) -> None:
    """Packed formats, raw numbers and tables that are none are named; markup is read as it is, with a remark."""
    for name, (data, what) in BY_NAME.items():
        with pytest.raises(DataError) as raised:
            read(save(tmp_path, data, name))
        assert matches(f"...{name}: ...{what}...", str(raised.value))
    assert content(save(tmp_path, "caf\u00e9" * 2000 + "x", "a.bin"))[:3] == b"caf"
    for name, words in MARKUP.items():
        remarks = read(save(tmp_path, "one", name))[0].counts.remarks
        assert words in remarks[-1]
        (both, _) = counted = [Counts(source) for source in find_sources([str(tmp_path / name)] * 2)]
        assert list(read_sources(counted))
        assert both.remarks == remarks  # also where it is joined
    assert read(save(tmp_path, "one", "a.md"))[0].counts.remarks == ()


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
