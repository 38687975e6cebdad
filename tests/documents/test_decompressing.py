"""Promises of decompressing: by content and not by name, every member, in bounded memory, damage never passed over."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import struct
import sys
import tracemalloc
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.documents import COMPRESS, ZSTD, compress_zstandard, content, counts_of, every_compression, piped, save

from llmprep.documents.decompressing import PART_BYTES, open_content
from llmprep.documents.opening import ByteStream
from llmprep.documents.reading import read_blocks
from llmprep.documents.zstandard import window_bytes
from llmprep.errors import DataError, UsageError

TEXT = "It was the best of times, caf\u00e9 and \u4e2d\u6587 alike, it was the worst of times.\n".encode()
KNOWN_BY = {"gzip": 2, "bzip2": 3, "xz": 6, "zstandard": 4}
"""How many first bytes tell the kind."""
SKIPPED = struct.pack("<II", 0x184D2A50, 4) + b"size"
"""A frame of zstandard without content."""
LAST_SKIPPED = struct.pack("<II", 0x184D2A5E, 9) + b"not text\xff"


# --- what is read ---------------------------------------------------------------------------------


@every_compression
def test_it_is_known_by_content_and_not_by_name(kind: str, tmp_path: Path) -> None:
    """What is in a file says how to read it; one whose name promises compression in vain is text, with a remark."""
    for name in ("a.txt", "a.gz", "a.bz2", "a.xz", "a.zst", "a"):
        assert content(save(tmp_path, COMPRESS[kind](TEXT), name)) == TEXT
    for name in ("a.txt.gz", "a.gzip", "a.bz2", "a.bz", "a.xz", "a.lzma", "a.zst", "A.ZSTD"):
        counts = counts_of(save(tmp_path, b"<html>not found</html>", name))
        assert b"".join(block.raw for block in read_blocks(counts)) == b"<html>not found</html>"
        assert counts.remarks == ("is not compressed, though its name says so; read as it is",)
    empty = counts_of(save(tmp_path, b"", "a.gz"))
    assert (list(read_blocks(empty)), empty.remarks) == ([], ())


@every_compression
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_pipe_may_carry_it(kind: str, size: int) -> None:
    """Compressed text on standard input comes in parts of any size."""
    packed = COMPRESS[kind](TEXT)
    with piped([packed[k : k + size] for k in range(0, len(packed), size)]) as counts:
        assert b"".join(block.raw for block in read_blocks(counts)) == TEXT


@every_compression
@given(
    parts=st.lists(st.text("ab \n", max_size=30).map(str.encode), min_size=1, max_size=8),
    block_bytes=st.integers(1, 40) | st.just(1 << 18),
)
def test_every_member_is_read(kind: str, folder: Path, parts: list[bytes], block_bytes: int) -> None:
    """Files joined with ``cat`` are read to the end of the last, empty members included; figures are of the file."""
    packed = b"".join(map(COMPRESS[kind], parts))
    counts = counts_of(save(folder, packed))

    blocks = list(read_blocks(counts, "universal", block_bytes))

    assert b"".join(block.raw for block in blocks) == b"".join(parts)
    assert (counts.n_bytes, counts.sha256) == (len(packed), hashlib.sha256(packed).hexdigest())
    assert counts.n_chars == len(b"".join(parts))


@every_compression
def test_more_than_is_read_at_once(kind: str, tmp_path: Path) -> None:
    """Data longer than one part is read to its end, and so are thousands of members, without a call in a call."""
    data = os.urandom(PART_BYTES).hex().encode()
    assert len(COMPRESS[kind](data)) > PART_BYTES

    assert content(save(tmp_path, COMPRESS[kind](data))) == data
    assert (
        content(save(tmp_path, COMPRESS[kind](b"") * 1500 + COMPRESS[kind](b"word ") + COMPRESS[kind](b""))) == b"word "
    )


@pytest.mark.parametrize("padding", [1, 511, PART_BYTES, 2 * PART_BYTES + 1])
def test_gzip_may_be_padded(padding: int, tmp_path: Path) -> None:
    """NULs after gzip data, as tapes and some disks leave them, are no garbage."""
    assert content(save(tmp_path, COMPRESS["gzip"](TEXT) + b"\0" * padding)) == TEXT


def test_xz_may_be_padded_by_fours(tmp_path: Path) -> None:
    """Streams may be followed by NULs, four at a time, as ``xz`` allows; another number is damage."""
    packed = lzma.compress(TEXT)

    assert content(save(tmp_path, packed + bytes(8) + packed + bytes(1 << 20))) == TEXT + TEXT
    for count in (1, 6):
        with pytest.raises(DataError, match=f"the xz data is damaged where it ends: {count} NUL bytes"):
            content(save(tmp_path, packed + bytes(count) + packed))


def test_the_older_form_of_xz_is_read(tmp_path: Path) -> None:
    """``.lzma`` files too."""
    assert content(save(tmp_path, lzma.compress(TEXT, lzma.FORMAT_ALONE))) == TEXT


def test_frames_without_content_are_skipped(tmp_path: Path) -> None:
    """Before the data, as pzstd writes them, and after it, as zstd's table for seeking."""
    packed = compress_zstandard(TEXT)

    assert content(save(tmp_path, SKIPPED + packed + LAST_SKIPPED + packed + LAST_SKIPPED)) == TEXT + TEXT


@every_compression
def test_a_bomb_takes_little_memory(kind: str, tmp_path: Path) -> None:
    """A file that unpacks to a thousand times its size, and each of its members, is read in small parts."""
    text = b"a" * (12 << 20)
    packed = COMPRESS[kind](text) * 2
    assert len(text) * 2 > 900 * len(packed)

    with closing(ByteStream(counts_of(save(tmp_path, packed)))) as stream:
        read = open_content(stream)
        tracemalloc.start()
        n_bytes = sum(map(len, iter(lambda: read(1 << 16), b"")))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert n_bytes == 2 * len(text)
    assert peak < 10 << 20  # xz itself takes 8 MiB


# --- damage ---------------------------------------------------------------------------------------


@every_compression
@pytest.mark.parametrize("block_bytes", [7, 1 << 18])
def test_truncation_at_every_length_is_noticed(kind: str, block_bytes: int, tmp_path: Path) -> None:
    """Cut anywhere, also in its second member, a file is an error, and never a text that is silently shorter."""
    packed = COMPRESS[kind](TEXT)
    for length in range(1, len(packed)):
        for data in (packed[:length] if length >= KNOWN_BY[kind] else b"", packed + packed[:length]):
            if data:
                with pytest.raises(DataError, match=rf"a\.txt: the {kind} data is (cut short|damaged)"):
                    content(save(tmp_path, data), block_bytes)
    for length in range(1, KNOWN_BY[kind]):  # too short to tell: it is just these bytes, or no UTF-8
        try:
            assert content(save(tmp_path, packed[:length])) == packed[:length]
        except DataError as error:
            assert "not valid UTF-8" in str(error)  # noqa: PT017 - either way is right


@every_compression
@pytest.mark.parametrize("garbage", [b"x", b"trailing garbage", b"\0x", b"\xff" * 100, TEXT * 1000])
def test_trailing_garbage_is_noticed(kind: str, garbage: bytes, tmp_path: Path) -> None:
    """What comes after the data and is no member is an error, not an end."""
    with pytest.raises(DataError, match=f"the {kind} data is (cut short|damaged)"):
        content(save(tmp_path, COMPRESS[kind](TEXT) + garbage))


@every_compression
def test_a_flipped_bit_never_changes_the_text(kind: str, tmp_path: Path) -> None:
    """Whichever bit is wrong, there is an error or the same text (some bits, as a time stamp's, mean nothing)."""
    packed = COMPRESS[kind](TEXT)
    for place in range(len(packed)):
        for bit in (0, 5):
            flipped = packed[:place] + bytes([packed[place] ^ 1 << bit]) + packed[place + 1 :]
            with suppress(DataError):
                assert content(save(tmp_path, flipped)) == TEXT


@every_compression
def test_damage_says_where(kind: str, tmp_path: Path) -> None:
    """Damage is placed: it stands before the byte up to which the file was read."""
    packed = bytearray(COMPRESS[kind](os.urandom(2 * PART_BYTES).hex().encode()))
    packed[PART_BYTES + 5000 : PART_BYTES + 5100] = b"\x55" * 100

    with pytest.raises(DataError, match=rf"the {kind} data is damaged before byte \d+: ") as raised:
        content(save(tmp_path, bytes(packed)))

    place = int(str(raised.value).split("before byte ")[1].split(":")[0])
    assert PART_BYTES + 5000 < place <= len(packed)


def test_memory_that_runs_out_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decompressor that gets no memory does not make the file a damaged one."""

    class Starved:
        eof, needs_input, unused_data = False, True, b""

        def decompress(self, *_: object) -> bytes:
            raise MemoryError

    monkeypatch.setattr(bz2, "BZ2Decompressor", Starved)

    with pytest.raises(MemoryError):
        content(save(tmp_path, bz2.compress(TEXT)))


# --- zstandard ------------------------------------------------------------------------------------


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a module for zstandard the error says what to install; other kinds are read."""
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(UsageError, match=r"zstandard files need an extra: pip install 'llmprep\[zstd\]'"):
        content(save(tmp_path, compress_zstandard(TEXT)))
    assert content(save(tmp_path, gzip.compress(TEXT))) == TEXT


@pytest.mark.parametrize(
    ("head", "window"),
    [
        (b"\x28\xb5\x2f\xfd\x00\x90", 1 << 28),
        (b"\x28\xb5\x2f\xfd\x00\xa1", (1 << 30) + (1 << 27)),
        (b"\x28\xb5\x2f\xfd\x20\x07", 7),
        (b"\x28\xb5\x2f\xfd\xa1\x09" + struct.pack("<I", 1 << 30), 1 << 30),
        (b"\x28\xb5\x2f\xfd\xe3\x01\x02\x03\x04" + struct.pack("<Q", 1 << 29), 1 << 29),
        (b"\x28\xb5\x2f\xfd\x00", 0),
        (b"BZh91AY&SY", 0),
    ],
)
def test_the_window_of_a_frame(head: bytes, window: int) -> None:
    """A frame's header tells its window, or as a single segment its whole size, after the number of a dictionary."""
    assert window_bytes(head) == window


@pytest.mark.parametrize(("log", "remarks"), [(27, 0), (28, 1)])
def test_the_memory_of_a_large_window_is_said(log: int, remarks: int, tmp_path: Path) -> None:
    """Windows as large as zstd writes them are allowed; one larger than zstd reads unasked has its memory said."""
    options = {ZSTD.CompressionParameter.window_log: log, ZSTD.CompressionParameter.enable_long_distance_matching: 1}
    packer = ZSTD.ZstdCompressor(options=options)
    packed = packer.compress(TEXT) + packer.flush()

    for data, whole in ((packed, TEXT), (SKIPPED + packed, TEXT), (compress_zstandard(TEXT) + packed, TEXT + TEXT)):
        counts = counts_of(save(tmp_path, data))
        assert b"".join(block.raw for block in read_blocks(counts)) == whole
        remark = f"was compressed with a window of {1 << log - 20} MiB, which takes as much memory"
        assert counts.remarks == (remark,) * remarks


def test_what_a_frame_needs_is_named(tmp_path: Path) -> None:
    """A frame with too large a window, or with a dictionary, is not called damaged."""
    made = ZSTD.train_dict([TEXT[k : k + 40] for k in range(40)] * 30, 1000)

    with pytest.raises(DataError, match=r"a\.txt: needs a window of more than 2 GiB; compress it anew"):
        content(save(tmp_path, b"\x28\xb5\x2f\xfd\x00\xb8" + bytes(20)))
    with pytest.raises(DataError, match=r"a\.txt: needs the zstd dictionary it was made with: zstd -dc -D"):
        content(save(tmp_path, ZSTD.compress(TEXT, zstd_dict=made)))
