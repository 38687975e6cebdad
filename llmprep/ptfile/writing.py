"""Blocks of arrays -> a .pt file, written once from front to back.

The figures that a file states about itself (how many tokens, which hash) are known only after its
data has passed, so the data records come first and the pickle last; a zip's directory stands at its
end, so torch does not mind. Nothing is ever sought, so a pipe gets the same bytes as a file.

Formats: PKWARE's APPNOTE for zip (sections 4.3 to 4.5), ``pickletools`` for the pickle opcodes,
``torch.serialization`` for the record names.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmprep.output.checking import ZIP_MAGIC
from llmprep.output.writing import Sink
from llmprep.ptfile.layout import ALIGNMENT, ARCHIVE, DTYPES, Plain, TensorView

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

# 1980-01-01 00:00, the earliest time that a zip can hold: a file must not depend on the clock.
DOS_TIME, DOS_DATE = 0, 0x21
FLAGS = 0x0808  # sizes come after the data (bit 3); names are UTF-8 (bit 11)
ZIP64 = 0xFFFFFFFF
LARGE = 1 << 18
"""Bytes of a block from which on it is worth handing to a thread."""
Described = Mapping[str, "TensorView | Plain"]


@dataclass(frozen=True, slots=True)
class _Record:
    name: bytes
    offset: int
    size: int
    crc: int


def write_pt(
    sink: Sink,
    storages: Iterable[Iterable[memoryview | bytes]],
    describe: Callable[[Sequence[int]], Described],
    *,
    jobs: int = 1,
) -> int:
    """Write one .pt file and return its size in bytes.

    ``storages`` are the raw little-endian bytes of each storage, in blocks of any size; each is asked for
    when the one before it was written. Then ``describe`` is called with their sizes in bytes and returns
    the dict that ``torch.load`` will give: `TensorView` for tensors, plain values for the rest. No block
    is asked for before the one before it is done with. With more than one job, large blocks are checked
    by a thread.

    >>> import io, numpy as np
    >>> ids = np.arange(6)
    >>> view = TensorView(0, "int64", shape=(2, 3), strides=(3, 1))
    >>> write_pt(io.BytesIO(), [[ids.data]], lambda sizes: {"ids": view}) % 2
    0
    """
    archive = _ZipWriter(sink, jobs)
    for number, blocks in enumerate(storages):
        archive.add(f"data/{number}", blocks)
    sizes = [record.size for record in archive.records]
    archive.add("data.pkl", [b"".join(_pickle(describe(sizes), sizes))])
    archive.add("byteorder", [b"little"])
    archive.add("version", [b"3\n"])
    return archive.finish()


class _ZipWriter:
    """A zip of stored records, written forwards only."""

    def __init__(self, sink: Sink, jobs: int) -> None:
        self._sink = sink
        self._threaded = jobs > 1
        self._position = 0
        self.records: list[_Record] = []

    def _write(self, data: bytes | memoryview) -> None:
        self._sink.write(data)
        self._position += len(data) if isinstance(data, bytes) else data.nbytes

    def add(self, name: str, blocks: Iterable[memoryview | bytes]) -> None:
        """Write one record, its data starting at a multiple of `ALIGNMENT`."""
        path = f"{ARCHIVE}/{name}".encode()
        offset = self._position
        zip64 = struct.pack("<HHQQ", 1, 16, 0, 0)
        unpadded = offset + 30 + len(path) + len(zip64) + 4
        filler = -unpadded % ALIGNMENT
        extra = zip64 + struct.pack("<HH", 0x4246, filler) + b"Z" * filler
        header = struct.pack(
            "<4sHHHHHIIIHH",
            ZIP_MAGIC,
            45,
            FLAGS,
            0,
            DOS_TIME,
            DOS_DATE,
            0,
            ZIP64,
            ZIP64,
            len(path),
            len(extra),
        )
        self._write(header + path + extra)
        start = self._position
        crc = self._write_blocks(blocks)
        size = self._position - start
        self._write(struct.pack("<IIQQ", 0x08074B50, crc, size, size))
        self.records.append(_Record(path, offset, size, crc))

    def _write_blocks(self, blocks: Iterable[memoryview | bytes]) -> int:
        """Write blocks and return the CRC of their bytes; a thread may work out that of a large one meanwhile.

        It is this thread that writes, as a signal ends a write that waits for a pipe's reader only here.
        """
        crc, thread = 0, None
        with ExitStack() as stack:
            for block in blocks:
                if not self._threaded or memoryview(block).nbytes < LARGE:
                    crc = zlib.crc32(block, crc)
                    self._write(block)
                    continue
                thread = thread or stack.enter_context(_one_thread())
                checked = thread.submit(zlib.crc32, block, crc)
                self._write(block)
                crc = checked.result()
        return crc

    def finish(self) -> int:
        """Write the directory; return the size of the whole file."""
        start = self._position
        self._write(b"".join(_directory_entry(record) for record in self.records))
        size, count = self._position - start, len(self.records)
        large = start >= ZIP64
        if large:
            end64 = self._position
            self._write(struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, size, start))
            self._write(struct.pack("<IIQI", 0x07064B50, 0, end64, 1))
        self._write(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, size, ZIP64 if large else start, 0))
        return self._position


def _one_thread() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # a small file need not wait for it

    return ThreadPoolExecutor(1)


def _directory_entry(record: _Record) -> bytes:
    size = min(record.size, ZIP64)
    offset = min(record.offset, ZIP64)
    wide = [record.size, record.size] if size == ZIP64 else []
    wide += [record.offset] if offset == ZIP64 else []
    extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    fixed = struct.pack(
        "<IHHHHHHIIIHHHHHII",
        *(0x02014B50, 45, 45, FLAGS, 0, DOS_TIME, DOS_DATE, record.crc, size, size),
        *(len(record.name), len(extra), 0, 0, 0, 0, offset),
    )
    return fixed + record.name + extra


def _pickle(values: Described, sizes: Sequence[int]) -> Iterator[bytes]:
    """Protocol 2, without memo: the bytes depend on the values alone, not on object identity."""
    yield b"\x80\x02}("
    for key, value in values.items():
        yield _string(key)
        yield from _tensor(value, sizes) if isinstance(value, TensorView) else _plain(value)
    yield b"u."


def _string(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(number: int) -> bytes:
    if 0 <= number < 256:
        return b"K" + bytes([number])
    if -(2**31) <= number < 2**31:
        return b"J" + struct.pack("<i", number)
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def _plain(value: Plain) -> Iterator[bytes]:
    match value:
        case list():
            yield b"]("
            for item in value:
                yield from _plain(item)
            yield b"e"
        case dict():
            yield b"}("
            for key, item in value.items():
                yield _string(key)
                yield from _plain(item)
            yield b"u"
        case _:
            yield _scalar(value)


def _scalar(value: float | str | None) -> bytes:
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return _integer(value)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return _string(value)


def _tensor(view: TensorView, sizes: Sequence[int]) -> Iterator[bytes]:
    """A call of torch._utils._rebuild_tensor_v2, or _v3 for a dtype without a storage class."""
    dtype = DTYPES[view.dtype]
    yield b"ctorch._utils\n_rebuild_tensor_" + (b"v2\n" if dtype.storage else b"v3\n") + b"(("
    size = sizes[view.record]
    yield _string("storage")
    yield f"ctorch\n{dtype.storage}\n".encode() if dtype.storage else b"ctorch.storage\nUntypedStorage\n"
    yield _string(str(view.record))
    yield _string("cpu")
    yield _integer(size // dtype.itemsize if dtype.storage else size)
    yield b"tQ" + _integer(view.offset)
    for numbers in (view.shape, view.strides):
        yield b"(" + b"".join(map(_integer, numbers)) + b"t"
    yield b"\x89ccollections\nOrderedDict\n)R"
    if not dtype.storage:
        yield f"ctorch\n{view.dtype}\n".encode()
    yield b"tR"
