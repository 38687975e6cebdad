"""Promises of decompressing: by content and not by name, every member, in bounded memory, damage never passed over."""

import bz2
import gzip
import itertools
import lzma
import os
import struct
import sys
from contextlib import closing, suppress
from pathlib import Path
from unittest.mock import Mock

import pytest
from support.documents import COMPRESS, ZSTD, content, counts_of, piped, read, save
from support.refusals import frugal
from support.streams import sha256

from llmprep.documents.decompressing import PART_BYTES, open_content
from llmprep.documents.opening import ByteStream
from llmprep.documents.reading import read_blocks
from llmprep.documents.recognising import compression
from llmprep.documents.zstandard import window_bytes
from llmprep.errors import DataError, UsageError

TEXT = "It was the best of times, caf\u00e9 and \u4e2d\u6587 alike, it was the worst of times.\n".encode()
every_compression = pytest.mark.parametrize("kind", COMPRESS)
SKIPPED = struct.pack("<II", 0x184D2A50, 4) + b"size"
"""A frame of zstandard without content."""


@every_compression
def test_it_is_known_by_content_and_not_by_name(kind: str, tmp_path: Path) -> None:
    """What is in a file or pipe says how to read it; a text in compressed data must be one."""
    packed = COMPRESS[kind](TEXT)
    assert [compression(COMPRESS[kind](data)) for data in (b"", TEXT)] == [kind, kind]
    for name in ("a.txt", "a.gz", "a.xz", "a"):
        assert content(save(tmp_path, packed, name)) == TEXT
    with piped([packed[k : k + 1] for k in range(len(packed))]) as counts:
        assert b"".join(block.raw for block in read_blocks(counts)) == TEXT
    for outer in COMPRESS.values():
        with pytest.raises(DataError, match=f"looks like {kind} data inside compressed data"):
            read(save(tmp_path, outer(packed)))


def test_a_name_that_promises_compression_in_vain_is_said(tmp_path: Path) -> None:
    """The text is read as it is; of an empty file nothing is said."""
    for name in ("a.txt.gz", "a.gzip", "a.bz2", "a.bz", "a.xz", "a.lzma", "a.zst", "A.ZSTD"):
        (block,) = read(save(tmp_path, b"not found", name))
        assert block.counts.remarks == ("is not compressed, though its name says so; read as it is",)
    empty = counts_of(save(tmp_path, b"", "a.gz"))
    assert (list(read_blocks(empty)), empty.remarks) == ([], ())


@every_compression
def test_every_member_is_read(kind: str, tmp_path: Path) -> None:
    """Files joined with ``cat`` are read to the end of the last, empty members included; figures are of the file."""
    parts = [b"", TEXT, b"", b"a", TEXT[:20], b""]
    packed, text = b"".join(map(COMPRESS[kind], parts)), b"".join(parts)
    for block_bytes in (1, 7, 1 << 18):
        counts = counts_of(save(tmp_path, packed))
        assert b"".join(block.raw for block in read_blocks(counts, "universal", block_bytes)) == text
        assert (counts.n_bytes, counts.sha256, counts.n_chars) == (len(packed), sha256(packed), len(text.decode()))


@every_compression
def test_much_is_read_in_little_memory(kind: str, tmp_path: Path) -> None:
    """Thousands of members are read without a call in a call; so is what unpacks to a thousand times its size."""
    pack, data = COMPRESS[kind], os.urandom(PART_BYTES).hex().encode()
    assert content(save(tmp_path, pack(b"") * 1500 + pack(data) + pack(b""))) == data
    packed = pack(bytes(12 << 20)) * 2
    assert 900 * len(packed) < 24 << 20
    with closing(ByteStream(counts_of(save(tmp_path, packed)))) as stream, frugal(3 << 20):
        part = open_content(stream)
        assert sum(map(len, iter(lambda: part(1 << 16), b""))) == 24 << 20


def test_what_stands_between_members(tmp_path: Path) -> None:
    """NULs after gzip, by fours after xz, frames without content: no garbage. The older form of xz is read too."""
    xz, zst = COMPRESS["xz"](TEXT), COMPRESS["zstandard"](TEXT)
    for count in (1, PART_BYTES, 2 * PART_BYTES + 1):
        assert content(save(tmp_path, COMPRESS["gzip"](TEXT) + bytes(count))) == TEXT
    assert content(save(tmp_path, lzma.compress(TEXT, lzma.FORMAT_ALONE))) == TEXT
    for data in (xz + bytes(8) + xz + bytes(1 << 20), SKIPPED + zst + SKIPPED + zst + SKIPPED):
        assert content(save(tmp_path, data)) == TEXT + TEXT
    for count in (1, 6):
        with pytest.raises(DataError, match=f"the xz data is damaged where it ends: {count} NUL bytes"):
            content(save(tmp_path, xz + bytes(count) + xz))


@every_compression
def test_damage_is_never_passed_over(kind: str, tmp_path: Path) -> None:
    """Cut anywhere, also in its second member, or with garbage after it, a file is an error, not a shorter text.

    Whichever bit is wrong, there is an error or the same text (some bits, as a time stamp's, mean nothing).
    """
    packed = COMPRESS[kind](TEXT)
    cut = [packed[:length] for length in range(1, len(packed))]
    garbage = [packed + more for more in (*cut, b"x", b"\0x", b"\xff" * 100, TEXT * 1000)]
    for data in cut[5:] + garbage:  # fewer bytes do not tell the kind
        with pytest.raises(DataError, match=rf"a\.txt: the {kind} data is (cut short|damaged)"):
            content(save(tmp_path, data), 7)
    for place, bit in itertools.product(range(len(packed)), (0, 5)):
        flipped = packed[:place] + bytes([packed[place] ^ 1 << bit]) + packed[place + 1 :]
        with suppress(DataError):
            assert content(save(tmp_path, flipped)) == TEXT

    long = bytearray(COMPRESS[kind](os.urandom(PART_BYTES * 3 // 2).hex().encode()))
    long[PART_BYTES + 5000 : PART_BYTES + 5100] = b"\x55" * 100
    with pytest.raises(DataError, match=f"the {kind} data is damaged before byte {len(long)}: "):
        content(save(tmp_path, bytes(long)))


def test_what_is_missing_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory, a module for zstandard, a frame's large window or its dictionary: each is called what it is."""
    made = ZSTD.train_dict([TEXT[k : k + 40] for k in range(40)] * 30, 1000)
    with pytest.raises(DataError, match=r"a\.txt: needs a window of more than 2 GiB; compress it anew"):
        content(save(tmp_path, b"\x28\xb5\x2f\xfd\x00\xb8" + bytes(20)))
    with pytest.raises(DataError, match=r"a\.txt: needs the zstd dictionary it was made with: zstd -dc -D"):
        content(save(tmp_path, ZSTD.compress(TEXT, zstd_dict=made)))
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=r"zstandard files need an extra: pip install 'llmprep\[zstd\]'"):
        content(save(tmp_path, COMPRESS["zstandard"](TEXT)))
    assert content(save(tmp_path, gzip.compress(TEXT))) == TEXT
    monkeypatch.setattr(bz2, "BZ2Decompressor", lambda: Mock(eof=False, decompress=Mock(side_effect=MemoryError)))
    with pytest.raises(MemoryError):
        content(save(tmp_path, bz2.compress(TEXT)))


def test_the_memory_of_a_large_window_is_said(tmp_path: Path) -> None:
    """Windows as large as zstd writes them are allowed; one larger than zstd reads unasked has its memory said."""
    parameter = ZSTD.CompressionParameter
    for log in (27, 28):
        packer = ZSTD.ZstdCompressor(options={parameter.window_log: log, parameter.enable_long_distance_matching: 1})
        packed = packer.compress(TEXT) + packer.flush()
        for before in (b"", SKIPPED, COMPRESS["zstandard"](TEXT)):
            (block,) = read(save(tmp_path, before + packed))
            assert block.raw == TEXT * (2 if len(before) > len(SKIPPED) else 1)
            remark = "was compressed with a window of 256 MiB, which takes as much memory"
            assert block.counts.remarks == (remark,) * (log == 28)
    # A frame may name its window in eighths, or be of a single segment, whose size comes after a dictionary's number.
    for head, n_bytes in (
        (b"\x00\xa1", (1 << 30) + (1 << 27)), (b"\x20\x07", 7), (b"\xa1\x09" + struct.pack("<I", 1 << 30), 1 << 30),
        (b"\xe3\x01\x02\x03\x04" + struct.pack("<Q", 1 << 29), 1 << 29), (b"\x00", 0),
    ):  # fmt: skip
        assert window_bytes(b"\x28\xb5\x2f\xfd" + head) == n_bytes
