"""A .pt file -> memory-mapped arrays, trusting nothing.

The pickle inside is not unpickled. It is read opcode by opcode by the small machine below, which knows
plain values, ``OrderedDict`` and torch's constructors of tensors and Parameters, calls nothing, and imports
nothing. Sizes, strides and offsets are checked against the file's real length before any memory is touched,
and every record's CRC is checked, which torch does not do.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from llmprep.errors import FileFormatError, InputError
from llmprep.output.mapping import map_file
from llmprep.ptfile.layout import Plain
from llmprep.ptfile.pickles import Array, PickledTensor, PickleReader, UnsafePickleError

if TYPE_CHECKING:
    from zipfile import ZipInfo

MAX_PICKLE_BYTES = 64 << 20
MAX_RECORDS = 100_000
ZIP_MAGIC = b"PK\x03\x04"
STORED = 0
"""A zip record's method when it is not compressed."""
_CRC_BLOCK = 16 << 20


@dataclass(frozen=True, slots=True)
class PtFile:
    """What a .pt file holds: read-only arrays and plain values, by key.

    ``storages[k]`` is the whole flat storage that ``tensors[k]`` is a view of; for overlapping windows
    that is the token stream. ``dtypes[k]`` is the torch name of the dtype: a bfloat16 tensor's array
    holds its raw bits as uint16.
    """

    name: str
    tensors: Mapping[str, Array]
    storages: Mapping[str, Array]
    dtypes: Mapping[str, str]
    values: Mapping[str, Plain]

    @property
    def meta(self) -> dict[str, Any]:
        """The ``meta`` entry; empty in a file that llmprep did not write."""
        meta = self.values.get("meta")
        return meta if isinstance(meta, dict) else {}


def is_zip(head: bytes) -> bool:
    """Tell a .pt file from text by its first four bytes."""
    return head.startswith(ZIP_MAGIC)


def read_pt(
    source: Path | BinaryIO, name: str | None = None, *, check_crc: bool = True, private: bool = False
) -> PtFile:
    """Read a .pt file of llmprep's or ``torch.save``'s; arrays are mapped from the file, not copied.

    ``source`` is a path, or an open binary file with a file descriptor. ``check_crc=False`` skips the one
    pass over the data, for a file checked before. Arrays are read-only, or with ``private`` may be written to:
    that changes this process's memory alone. Raises `FileFormatError` for anything that is not a plain, whole, sound
    file of tensors, and `InputError` if it cannot be opened.
    """
    name = name or str(source)
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                return _read_mapped(file, name, check_crc=check_crc, private=private)
        return _read_mapped(source, name, check_crc=check_crc, private=private)
    except OSError as error:
        raise InputError(f"{name}: {error.strerror or error}") from error


def _read_mapped(file: BinaryIO, name: str, *, check_crc: bool, private: bool) -> PtFile:
    if not is_zip(file.read(4)):
        raise FileFormatError(f"{name}: not a .pt file (it does not begin as a zip does)")
    file.seek(0)
    import zipfile

    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError, struct.error) as error:
        raise FileFormatError(f"{name}: not a .pt file, or cut short: {error!s:.120}") from error
    records = _locate(entries, map_file(file, private=private), name)
    if check_crc:
        for entry, record in records.values():
            _check_crc(entry, record, name)
    if "byteorder" in records and bytes(records["byteorder"][1]) != b"little":
        raise FileFormatError(f"{name}: was written on a big-endian machine; convert it there")
    return _interpret({key: record for key, (_, record) in records.items()}, name)


def _locate(entries: list[ZipInfo], data: memoryview, name: str) -> dict[str, tuple[ZipInfo, memoryview]]:
    """Where each record's bytes lie, by name without the archive's folder."""
    if len(entries) > MAX_RECORDS:
        raise FileFormatError(f"{name}: {len(entries)} records; a .pt file of tensors has a few")
    records: dict[str, tuple[ZipInfo, memoryview]] = {}
    folders = set()
    for entry in entries:
        folder, _, key = entry.filename.partition("/")
        folders.add(folder)
        if not key or ".." in entry.filename.split("/") or key in records:
            raise FileFormatError(f"{name}: unsafe or duplicate record name {entry.filename!r:.80}")
        if entry.compress_type != STORED or entry.flag_bits & 1:
            raise FileFormatError(f"{name}: record {entry.filename!r:.80} is compressed or encrypted")
        records[key] = entry, _record_bytes(entry, data, name)
    if len(folders) != 1 or "data.pkl" not in records:
        raise FileFormatError(f"{name}: a zip, but not a .pt file: it has no data.pkl")
    if sum(len(record) for _, record in records.values()) > len(data):
        raise FileFormatError(f"{name}: its records overlap; reading each of them could take for ever")
    return records


def _record_bytes(entry: ZipInfo, data: memoryview, name: str) -> memoryview:
    header = bytes(data[entry.header_offset : entry.header_offset + 30])
    if len(header) < 30 or not is_zip(header):
        raise FileFormatError(f"{name}: record {entry.filename!r:.80} has no header where it should be")
    start = entry.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
    if entry.compress_size != entry.file_size or start + entry.file_size > len(data):
        raise FileFormatError(f"{name}: record {entry.filename!r:.80} reaches past the end of the file")
    return data[start : start + entry.file_size]


def _check_crc(entry: ZipInfo, record: memoryview, name: str) -> None:
    crc = 0
    for start in range(0, len(record), _CRC_BLOCK):
        crc = zlib.crc32(record[start : start + _CRC_BLOCK], crc)
    if crc != entry.CRC:
        raise FileFormatError(f"{name}: checksum of record {entry.filename!r:.80} does not match: the file is damaged")


def _interpret(records: Mapping[str, memoryview], name: str) -> PtFile:
    pickle = records["data.pkl"]
    if len(pickle) > MAX_PICKLE_BYTES:
        raise FileFormatError(f"{name}: its pickle has {len(pickle)} bytes, more than any file of tensors needs")
    try:
        top = PickleReader(records).run(bytes(pickle))
    except UnsafePickleError as error:
        raise FileFormatError(f"{name}: refused, nothing was run: {error}") from error
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise FileFormatError(f"{name}: its pickle is malformed: {error!s:.120}") from error
    if not isinstance(top, dict):
        raise FileFormatError(f"{name}: holds {_kind(top)}, not a dict of tensors")
    tensors = {key: value for key, value in top.items() if isinstance(value, PickledTensor)}
    return PtFile(
        name=name,
        tensors={key: value.array for key, value in tensors.items()},
        storages={key: value.storage for key, value in tensors.items()},
        dtypes={key: value.dtype for key, value in tensors.items()},
        values={key: value for key, value in top.items() if key not in tensors},
    )


def _kind(value: object) -> str:
    return "a tensor" if isinstance(value, PickledTensor) else f"a {type(value).__name__}"
