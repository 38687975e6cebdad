"""Promises of opening: bytes read once and hashed, compressed ones by content, damage and change never passed over."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import ROOT, clean_environment

from llmprep.documents.decompressing import PART_BYTES, open_content, zstd_window
from llmprep.documents.finding import find_sources
from llmprep.documents.opening import close_source, open_source, peek
from llmprep.documents.reading import read_blocks
from llmprep.documents.source import Source
from llmprep.errors import DataError, InputError, LlmprepError, UsageError

ZSTD = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def zstandard(data: bytes) -> bytes:
    """Compress as the zstd command does: with a checksum."""
    packed: bytes = ZSTD.compress(data, options={ZSTD.CompressionParameter.checksum_flag: 1})
    return packed


Pack = Callable[[bytes], bytes]
PACKS: dict[str, Pack] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstandard": zstandard,
}
MAGIC_BYTES = {"gzip": 2, "bzip2": 3, "xz": 6, "zstandard": 4}
every_kind = pytest.mark.parametrize("kind", PACKS)

TEXT = "It was the best of times, caf\u00e9 and \u4e2d\u6587 alike, it was the worst of times.\n".encode()


def content(path: Path, block_bytes: int = 1 << 18) -> bytes:
    """What a file's blocks of text join to."""
    (source,) = find_sources([str(path)])
    return b"".join(block.raw for block in read_blocks(source, "keep", block_bytes))


def save(folder: Path, data: bytes, name: str = "text.txt") -> Path:
    """Write a file."""
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("opening")


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[bytes]], Source]]:
    """Make standard input a pipe into which a thread writes some parts, one system call each."""
    files: list[io.IOBase] = []
    threads: list[threading.Thread] = []

    def pipe(parts: list[bytes]) -> Source:
        reading, writing = os.pipe()

        def write() -> None:
            with os.fdopen(writing, "wb", buffering=0) as file:
                for part in parts:
                    file.write(part)

        threads.append(threading.Thread(target=write))
        threads[-1].start()
        files.append(os.fdopen(reading))
        monkeypatch.setattr("sys.stdin", files[-1])
        (source,) = find_sources(["-"])
        return source

    yield pipe
    for thread in threads:
        thread.join()
    for file in files:
        file.close()


# --- compressed by content ------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("name", ["text.txt", "text.gz", "text.bz2", "text.xz", "text.zst", "text"])
def test_compressed_by_content_whatever_the_name(kind: str, name: str, tmp_path: Path) -> None:
    """What is in a file says how to read it, its name does not."""
    assert content(save(tmp_path, PACKS[kind](TEXT), name)) == TEXT


@pytest.mark.parametrize("name", ["text.gz", "text.bz2", "text.xz", "text.zst"])
def test_text_is_text_whatever_the_name(name: str, tmp_path: Path) -> None:
    """A plain text with a compressed file's name is read as it is."""
    assert content(save(tmp_path, TEXT, name)) == TEXT


@every_kind
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_compressed_on_standard_input(kind: str, size: int, piped: Callable[[list[bytes]], Source]) -> None:
    """A pipe may carry compressed text too, in parts of any size."""
    packed = PACKS[kind](TEXT)
    source = piped([packed[k : k + size] for k in range(0, len(packed), size)])

    assert b"".join(block.raw for block in read_blocks(source)) == TEXT


@every_kind
@given(data=st.binary(max_size=2000).map(bytes.hex), block_bytes=st.sampled_from([1, 2, 7, 100, 1 << 18]))
def test_any_block_size_gives_the_same(kind: str, folder: Path, data: str, block_bytes: int) -> None:
    """However little is asked for at a time, all of it comes."""
    assert content(save(folder, PACKS[kind](data.encode()), kind), block_bytes) == data.encode()


@every_kind
def test_more_than_one_part_of_input(kind: str, tmp_path: Path) -> None:
    """Compressed data longer than what is read at once is read to its end."""
    data = os.urandom(PART_BYTES).hex().encode()
    packed = PACKS[kind](data)
    assert len(packed) > PART_BYTES

    assert content(save(tmp_path, packed)) == data


@every_kind
def test_figures_are_of_the_file(kind: str, tmp_path: Path) -> None:
    """Bytes and hash are those of the file as it lies there, so that ``sha256sum`` agrees."""
    packed = PACKS[kind](TEXT) + PACKS[kind](TEXT)
    (source,) = find_sources([str(save(tmp_path, packed))])

    blocks = list(read_blocks(source))

    assert b"".join(block.raw for block in blocks) == TEXT * 2
    assert source.n_bytes == len(packed)
    assert source.sha256 == hashlib.sha256(packed).hexdigest()
    assert source.n_chars == 2 * len(TEXT.decode())


# --- several members ------------------------------------------------------------------------------


@every_kind
@given(
    parts=st.lists(st.text("ab \n", max_size=30).map(str.encode), min_size=1, max_size=8),
    block_bytes=st.integers(1, 40),
)
def test_every_member_is_read(kind: str, folder: Path, parts: list[bytes], block_bytes: int) -> None:
    """Files joined with ``cat`` are read to the end of the last, empty members included."""
    packed = b"".join(map(PACKS[kind], parts))

    assert content(save(folder, packed, kind), block_bytes) == b"".join(parts)


@every_kind
def test_many_members_take_no_stack_and_little_time(kind: str, tmp_path: Path) -> None:
    """Thousands of members, empty ones among them, are read one after the other."""
    packed = PACKS[kind](b"") * 2000 + PACKS[kind](b"word ") + PACKS[kind](b"") * 2000
    begun = time.monotonic()

    assert content(save(tmp_path, packed)) == b"word "
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("padding", [1, 511, PART_BYTES, 2 * PART_BYTES + 1])
def test_gzip_may_be_padded(padding: int, tmp_path: Path) -> None:
    """NULs after gzip data, as tapes and some disks leave them, are no garbage."""
    assert content(save(tmp_path, gzip.compress(TEXT, mtime=0) + b"\0" * padding)) == TEXT


def test_a_skippable_frame_is_skipped(tmp_path: Path) -> None:
    """Frames without content, such as zstd's table for seeking at the end, are no garbage."""
    frame = struct.pack("<II", 0x184D2A5E, 9) + b"not text\xff"

    assert content(save(tmp_path, zstandard(TEXT) + frame + zstandard(TEXT) + frame)) == TEXT * 2


# --- damage ---------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("block_bytes", [7, 1 << 18])
def test_truncation_at_every_length_is_noticed(kind: str, block_bytes: int, tmp_path: Path) -> None:
    """Cut anywhere, a compressed file is an error, and never a text that is silently shorter."""
    packed = PACKS[kind](TEXT)
    for length in range(MAGIC_BYTES[kind], len(packed)):
        with pytest.raises(DataError, match=rf"text\.txt: the {kind} data is (cut short|damaged)"):
            content(save(tmp_path, packed[:length]), block_bytes)


@every_kind
def test_what_is_too_short_to_tell_is_what_it_is(kind: str, tmp_path: Path) -> None:
    """Cut within the bytes by which its kind is known, a file is refused or gives just these bytes."""
    for length in range(1, MAGIC_BYTES[kind]):
        head = PACKS[kind](TEXT)[:length]
        try:
            assert content(save(tmp_path, head)) == head
        except DataError as error:
            assert "not valid UTF-8" in str(error)  # noqa: PT017 - either way is right


@every_kind
def test_truncation_of_the_second_member_is_noticed(kind: str, tmp_path: Path) -> None:
    """A whole member is no excuse for the next one, wherever that ends."""
    packed = PACKS[kind](TEXT)
    for length in range(1, len(packed)):
        with pytest.raises(DataError, match=f"the {kind} data is (cut short|damaged)"):
            content(save(tmp_path, packed + packed[:length]))


@every_kind
@pytest.mark.parametrize("garbage", [b"x", b"trailing garbage", b"\0x", b"\xff" * 100, TEXT * 1000])
def test_trailing_garbage_is_noticed(kind: str, garbage: bytes, tmp_path: Path) -> None:
    """What follows the data and is no member is an error, not an end."""
    with pytest.raises(DataError, match=f"the {kind} data is (cut short|damaged)"):
        content(save(tmp_path, PACKS[kind](TEXT) + garbage))


@every_kind
def test_a_flipped_bit_never_changes_the_text(kind: str, tmp_path: Path) -> None:
    """Whichever bit is wrong, there is an error or the same text (some bits, as a time stamp's, mean nothing)."""
    packed = PACKS[kind](TEXT)
    for place in range(len(packed)):
        for bit in (0, 5):
            flipped = packed[:place] + bytes([packed[place] ^ 1 << bit]) + packed[place + 1 :]
            with suppress(DataError):
                assert content(save(tmp_path, flipped)) == TEXT


@every_kind
def test_damage_says_where(kind: str, tmp_path: Path) -> None:
    """Damage is placed: it stands before the byte up to which the file was read."""
    data = os.urandom(2 * PART_BYTES).hex().encode()
    packed = bytearray(PACKS[kind](data))
    packed[PART_BYTES + 5000 : PART_BYTES + 5100] = b"\x55" * 100

    with pytest.raises(DataError, match=rf"the {kind} data is damaged before byte \d+: ") as raised:
        content(save(tmp_path, bytes(packed)))

    place = int(str(raised.value).split("before byte ")[1].split(":")[0])
    assert PART_BYTES + 5000 < place <= len(packed)


@every_kind
def test_compressed_data_in_compressed_data_is_no_text(kind: str, tmp_path: Path) -> None:
    """Only one layer is taken off; a second one is named."""
    with pytest.raises(DataError, match=f"looks like {kind} data inside compressed data"):
        content(save(tmp_path, PACKS[kind](PACKS[kind](TEXT))))


def test_memory_that_runs_out_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decompressor that gets no memory does not make the file a damaged one."""

    class Starved:
        eof, needs_input, unused_data = False, True, b""

        def decompress(self, *_: object) -> bytes:
            raise MemoryError

    monkeypatch.setattr(bz2, "BZ2Decompressor", Starved)

    with pytest.raises(MemoryError):
        content(save(tmp_path, bz2.compress(TEXT)))


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a module for zstandard the error says what to install."""
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(UsageError, match=r"pip install 'llmprep\[zstd\]'"):
        content(save(tmp_path, zstandard(TEXT)))


# --- bombs ----------------------------------------------------------------------------------------

MEASURE = """
import os, sys
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Prints a command's peak of memory. It is small itself: a process begins with the peak of the one that starts it."""

READ = """
import sys
from llmprep.documents.finding import find_sources
from llmprep.documents.reading import read_blocks
(source,) = find_sources(sys.argv[1:])
print(sum(len(block.data) for block in read_blocks(source)))
"""


def measure(path: Path) -> tuple[int, int]:
    """Read a file in a process of its own; return its text's length and the process's peak of memory."""
    command = [sys.executable, "-c", MEASURE, sys.executable, "-c", READ, str(path)]
    environment = clean_environment({"PYTHONPATH": str(ROOT)})
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    length, peak = map(int, done.stdout.split())
    return length, peak


@every_kind
def test_47_a_bomb_takes_little_memory(kind: str, tmp_path: Path) -> None:
    """A file that unpacks to a thousand times its size is read in as little memory as a small one."""
    text = (b"a" * 65_535 + b" ") * 80
    member = PACKS[kind](text)
    assert len(text) > (900 if kind == "gzip" else 4000) * len(member)

    n_small, small = measure(save(tmp_path, PACKS[kind](text[: 1 << 22]), "small"))
    n_large, large = measure(save(tmp_path, member * 12, "bomb"))

    assert (n_small, n_large) == (1 << 22, 12 * len(text))
    assert large < 1.7 * small


# --- change while reading -------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite", "touch", "empty"])
def test_22_a_file_that_changes_is_an_error(change: str, pack: Pack, tmp_path: Path) -> None:
    """A file that is changed while it is read is one error, never a mixture."""
    path = save(tmp_path, pack(os.urandom(PART_BYTES).hex().encode()))
    os.utime(path, (0, 0))
    (source,) = find_sources([str(path)])
    stream = open_source(source)
    stream.read(1000)

    match change:
        case "grow":
            with path.open("ab") as file:
                file.write(b"more")
        case "shrink":
            os.truncate(path, 2000)
        case "rewrite":
            path.write_bytes(os.urandom(path.stat().st_size))
        case "touch":
            path.touch()
        case "empty":
            path.write_bytes(b"")

    with pytest.raises(InputError, match=r"text\.txt: changed while it was read"):
        list(iter(lambda: stream.read(1 << 16), b""))
    close_source(source)


def test_22_a_file_that_changes_is_no_text(tmp_path: Path) -> None:
    """Blocks of a file that grows end in that error too."""
    path = save(tmp_path, TEXT * 100)
    os.utime(path, (0, 0))
    (source,) = find_sources([str(path)])
    blocks = read_blocks(source, "universal", 100)
    next(blocks)
    with path.open("ab") as file:
        file.write(TEXT)

    with pytest.raises(InputError, match="changed while it was read"):
        list(blocks)


def test_22_a_file_that_is_replaced_is_the_old_one(tmp_path: Path) -> None:
    """A new file under the same name does not show: what was opened is read to its end."""
    path = save(tmp_path, TEXT * 100)
    (source,) = find_sources([str(path)])
    stream = open_source(source)
    data = stream.read(1000)
    save(tmp_path, b"new " * 5000, "new").replace(path)

    data += b"".join(iter(lambda: stream.read(1000), b""))

    close_source(source)
    assert data == TEXT * 100
    assert source.sha256 == hashlib.sha256(data).hexdigest()


def test_a_file_that_vanishes_before_it_is_opened(tmp_path: Path) -> None:
    """Between the check and the reading a file may go; the error is the system's."""
    path = save(tmp_path, TEXT)
    (source,) = find_sources([str(path)])
    path.unlink()

    with pytest.raises(InputError, match=r"text\.txt: no such file or directory$"):
        list(read_blocks(source))


# --- a look ahead ---------------------------------------------------------------------------------


@given(
    data=st.binary(min_size=1, max_size=200),
    counts=st.lists(st.integers(1, 300), max_size=4),
    reads=st.lists(st.integers(1, 300), min_size=1, max_size=5),
)
def test_a_look_takes_nothing(folder: Path, data: bytes, counts: list[int], reads: list[int]) -> None:
    """However much is looked at, and however often, all bytes are still read, counted and hashed once."""
    (source,) = find_sources([str(save(folder, data, "peeked"))])

    for count in counts:
        assert peek(source, count) == data[:count]
    stream, got = open_source(source), b""
    for count in [*reads, *[50] * 200]:
        part = stream.read(count)
        assert len(part) <= count
        got += part
    close_source(source)

    assert got == data
    assert (source.n_bytes, source.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_a_look_into_a_slow_pipe_waits_for_enough(piped: Callable[[list[bytes]], Source]) -> None:
    """From a pipe that delivers one byte at a time the first bytes are all looked at, and none is lost."""
    source = piped([bytes([byte]) for byte in TEXT])

    assert peek(source, 4) == TEXT[:4]
    assert peek(source, 40) == TEXT[:40]
    assert b"".join(block.raw for block in read_blocks(source, "universal", 16)) == TEXT
    assert (source.n_bytes, source.sha256) == (len(TEXT), hashlib.sha256(TEXT).hexdigest())


def test_a_look_past_the_end_is_all_there_is(piped: Callable[[list[bytes]], Source]) -> None:
    """A pipe that ends before enough bytes came gives what came."""
    source = piped([b"a", b"b"])

    assert peek(source, 100) == b"ab"
    assert b"".join(block.raw for block in read_blocks(source)) == b"ab"


def test_a_look_at_nothing(tmp_path: Path) -> None:
    """An empty file has no first bytes and no blocks."""
    (source,) = find_sources([str(save(tmp_path, b""))])

    assert peek(source) == b""
    assert list(read_blocks(source)) == []
    assert source.sha256 == hashlib.sha256(b"").hexdigest()


# --- open and closed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [TEXT, gzip.compress(TEXT, mtime=0), b"caf\xe9 ", gzip.compress(TEXT, mtime=0)[:-3]],
    ids=["text", "gzip", "not UTF-8", "cut short"],
)
def test_a_source_is_closed_when_it_has_been_read(data: bytes, tmp_path: Path) -> None:
    """A file is closed at its end and at an error, so that thousands of inputs need one descriptor at a time."""
    (source,) = find_sources([str(save(tmp_path, data))])
    stream = open_source(source)

    try:
        list(read_blocks(source))
    except LlmprepError as error:
        assert isinstance(error, DataError)  # noqa: PT017 - some of these files are damaged

    assert source.stream is None
    assert stream._file.closed


def test_a_source_is_closed_when_nobody_reads_on(tmp_path: Path) -> None:
    """Blocks that are no longer wanted close their file."""
    (source,) = find_sources([str(save(tmp_path, TEXT * 100))])
    blocks = read_blocks(source, "universal", 100)
    next(blocks)
    stream = open_source(source)

    del blocks

    assert stream._file.closed


def test_standard_input_stays_open(piped: Callable[[list[bytes]], Source]) -> None:
    """Standard input is read to its end, and is not ours to close."""
    source = piped([TEXT])

    list(read_blocks(source))

    os.fstat(sys.stdin.fileno())


def test_a_pipe_without_data_that_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A non-blocking standard input with no data yet is an error, and is not taken for an empty one."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(reading) as stdin, os.fdopen(writing, "wb"):
        monkeypatch.setattr("sys.stdin", stdin)
        (source,) = find_sources(["-"])

        with pytest.raises(InputError, match="-: is in non-blocking mode"):
            open_content(source)


# --- what the tools of each kind read -------------------------------------------------------------


def test_xz_may_be_padded(tmp_path: Path) -> None:
    """Streams may be followed by NULs, four at a time, as ``xz`` allows; another number is damage."""
    packed = lzma.compress(TEXT)

    assert content(save(tmp_path, packed + bytes(8) + packed + bytes(1 << 20))) == TEXT + TEXT
    for count in (1, 6):
        with pytest.raises(DataError, match="the xz data is damaged where it ends"):
            content(save(tmp_path, packed + bytes(count) + packed))


def test_the_older_form_of_xz_is_read(tmp_path: Path) -> None:
    """``.lzma`` files too."""
    assert content(save(tmp_path, lzma.compress(TEXT, lzma.FORMAT_ALONE))) == TEXT


def test_zstd_frames_that_are_skipped_first(tmp_path: Path) -> None:
    """A frame of its own stands before each frame of data in what pzstd writes."""
    skipped = struct.pack("<II", 0x184D2A50, 4) + b"size"

    assert content(save(tmp_path, skipped + zstandard(TEXT) + skipped + zstandard(TEXT))) == TEXT + TEXT


def test_a_long_window_of_zstd(tmp_path: Path) -> None:
    """Windows as large as zstd writes them are allowed, and their memory is said."""
    options = {ZSTD.CompressionParameter.window_log: 28, ZSTD.CompressionParameter.enable_long_distance_matching: 1}
    packer = ZSTD.ZstdCompressor(options=options)
    packed = packer.compress(TEXT) + packer.flush()
    skipped = struct.pack("<II", 0x184D2A50, 4) + b"size"

    for data, whole in ((packed, TEXT), (skipped + packed, TEXT), (zstandard(TEXT) + packed, TEXT + TEXT)):
        (source,) = find_sources([str(save(tmp_path, data))])
        assert b"".join(block.raw for block in read_blocks(source)) == whole
        assert source.remarks == ("was compressed with a window of 256 MiB, which takes as much memory",)


@pytest.mark.parametrize(
    ("head", "window"),
    [
        (b"\x28\xb5\x2f\xfd\x00\x90", 1 << 28),
        (b"\x28\xb5\x2f\xfd\x00\xa1", (1 << 30) + (1 << 27)),
        (b"\x28\xb5\x2f\xfd\x20\x07", 7),
        (b"\x28\xb5\x2f\xfd\xa1\x09" + struct.pack("<I", 1 << 30), 1 << 30),
        (b"\x28\xb5\x2f\xfd\xe3\x01\x02\x03\x04" + struct.pack("<Q", 1 << 29), 1 << 29),
        (b"\x28\xb5\x2f", 0),
        (b"BZh91AY&SY", 0),
    ],
)
def test_the_window_of_a_frame(head: bytes, window: int) -> None:
    """A frame's header tells its window, or as a single segment its whole size, behind the number of a dictionary."""
    assert zstd_window(head) == window


def test_a_window_that_is_too_large_is_told_as_that(tmp_path: Path) -> None:
    """A frame that asks for more memory than any is allowed is not called damaged."""
    with pytest.raises(DataError, match="needs a window of more than 2 GiB"):
        content(save(tmp_path, b"\x28\xb5\x2f\xfd\x00\xb8" + bytes(20)))


def test_a_missing_dictionary_is_told_as_that(tmp_path: Path) -> None:
    """So is a frame that was made with a dictionary."""
    made = ZSTD.train_dict([TEXT[k : k + 40] for k in range(40)] * 30, 1000)

    with pytest.raises(DataError, match="needs the zstd dictionary it was made with"):
        content(save(tmp_path, ZSTD.compress(TEXT, zstd_dict=made)))


@pytest.mark.parametrize("text", [b"BZh is how it begins", b"BZh9 too", b"BZh91AY&SYbegins so", b"x"])
def test_a_text_that_begins_like_a_compressed_one(text: bytes, tmp_path: Path) -> None:
    """A text may begin with letters that a compressed file begins with."""
    assert content(save(tmp_path, text)) == text


@pytest.mark.parametrize("name", ["a.txt.gz", "a.gzip", "a.bz2", "a.bz", "a.xz", "a.zst", "A.ZSTD"])
def test_a_name_that_promises_compression_is_said_to_be_wrong(name: str, tmp_path: Path) -> None:
    """An error page that was saved under a packed file's name is text, with a word."""
    (source,) = find_sources([str(save(tmp_path, b"<html>not found</html>", name))])

    assert b"".join(block.raw for block in read_blocks(source)) == b"<html>not found</html>"
    assert source.remarks == ("is not compressed, though its name says so; read as it is",)
