"""A .pt file -> memory-mapped arrays, trusting nothing.

The pickle inside is not unpickled. It is read opcode by opcode by a small machine (`pickles`), which knows
plain values, ``OrderedDict`` and torch's constructors of tensors and Parameters, calls nothing, and imports
nothing. Sizes, strides and offsets are checked against the file's real length before any memory is touched,
and every record's CRC is checked, which torch does not do.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from llmprep.errors import FileFormatError, InputError
from llmprep.missing import advise_missing
from llmprep.output.checking import ZIP_MAGIC
from llmprep.output.mapping import map_file
from llmprep.ptfile.layout import Plain
from llmprep.ptfile.pickles import Array, PickledTensor, PickleReader, UnsafePickleError

if TYPE_CHECKING:
    from zipfile import ZipInfo

MAX_PICKLE_BYTES = 64 << 20
"""Largest pickle that is read."""
MAX_RECORDS = 100_000
"""Largest number of records that is read."""
STORED = 0
"""A zip record's method when it is not compressed."""
_CRC_BLOCK = 16 << 20
"""Bytes of a mapped record that are read at once."""

FileState = tuple[int, ...]
"""What `file_state` returns: device, inode, size in bytes, times of the last write and last change in nanoseconds."""


def file_state(status: os.stat_result) -> FileState:
    """Return what the system says of a file: while that stays the same, nobody has replaced it or written to it.

    A different state proves nothing: a copy has another one, and so has the same file under another mount.
    """
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass(frozen=True, slots=True)
class PtFile:
    """What a .pt file holds: arrays, read-only unless it was read as private, and plain values, by key.

    ``storages[k]`` is the whole flat storage that ``tensors[k]`` is a view of; for overlapping windows
    that is the token stream. ``dtypes[k]`` is the torch name of the dtype: a bfloat16 tensor's array
    holds its raw bits as uint16. ``state`` is that of the file when it was opened, and ``checked`` says whether
    its checksums were compared with its data now. ``records_sha256`` is of the names, sizes and checksums of its
    records: two files have the same only if they hold the same, as far as their checksums tell. ``checksums`` are the
    stated CRC-32 of each record, by its name; storage k is ``data/k``.
    """

    name: str
    tensors: Mapping[str, Array]
    storages: Mapping[str, Array]
    dtypes: Mapping[str, str]
    values: Mapping[str, Plain]
    state: FileState
    checked: bool
    records_sha256: str
    checksums: Mapping[str, int]

    @property
    def meta(self) -> dict[str, Any]:
        """The ``meta`` entry; empty in a file that llmprep did not write."""
        meta = self.values.get("meta")
        return meta if isinstance(meta, dict) else {}


def is_zip(head: bytes) -> bool:
    """Return whether a file that begins with these bytes (4 or more) is a .pt file, and not a text."""
    return head.startswith(ZIP_MAGIC)


def read_pt(
    source: Path | BinaryIO,
    name: str | None = None,
    *,
    check_crc: bool = True,
    private: bool = False,
    known: FileState | None = None,
) -> PtFile:
    """Read a .pt file of llmprep's or ``torch.save``'s; arrays are mapped from the file, not copied.

    ``source`` is a path, or an open binary file with a file descriptor. The checksums cost one pass over the data:
    ``check_crc=False`` skips it, and so does a ``known`` state, of a file checked before, where it is still this
    file's. Arrays are read-only, or with ``private`` may be written to: that changes this process's memory alone.
    Raises `FileFormatError` for anything that is not a plain, whole, sound file of tensors, and `InputError` if it
    cannot be opened.
    """
    name = name or str(source)
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                return _read_open(file, name, check_crc=check_crc, private=private, known=known)
        return _read_open(source, name, check_crc=check_crc, private=private, known=known)
    except OSError as error:
        advice = advise_missing(name) if isinstance(error, FileNotFoundError) else ""
        raise InputError(f"{name}: {error.strerror or error}{advice}") from error


def _read_open(file: BinaryIO, name: str, *, check_crc: bool, private: bool, known: FileState | None) -> PtFile:
    state = file_state(os.fstat(file.fileno()))
    entries = _list_records(file, name)
    records = _locate(entries, map_file(file, private=private), name)
    checked = check_crc and state != known
    if checked:
        for entry, record in records.values():
            _check_crc(entry, record, name)
    if "byteorder" in records and bytes(records["byteorder"][1][:7]) != b"little":
        raise FileFormatError(f"{name}: was written on a big-endian machine; convert it there")
    top = _read_pickle({key: record for key, (_, record) in records.items()}, name)
    tensors = {key: value for key, value in top.items() if isinstance(value, PickledTensor)}
    return PtFile(
        name=name,
        tensors={key: value.array for key, value in tensors.items()},
        storages={key: value.storage for key, value in tensors.items()},
        dtypes={key: value.dtype for key, value in tensors.items()},
        values={key: value for key, value in top.items() if key not in tensors},
        state=state,
        checked=checked,
        records_sha256=_records_sha256(entries),
        checksums={key: entry.CRC for key, (entry, _) in records.items()},
    )


def _list_records(file: BinaryIO, name: str) -> list[ZipInfo]:
    """Return the zip's directory. Raises `FileFormatError` if the file is no zip, or is cut short."""
    if not is_zip(file.read(4)):
        raise FileFormatError(f"{name}: not a .pt file (it does not begin as a zip does)")
    import zipfile

    try:
        with zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError, struct.error) as error:
        raise FileFormatError(f"{name}: not a .pt file, or cut short: {error!s:.120}") from error


def _records_sha256(entries: list[ZipInfo]) -> str:
    listed = [(entry.filename, entry.file_size, entry.CRC) for entry in entries]
    return hashlib.sha256(repr(listed).encode()).hexdigest()


def _locate(entries: list[ZipInfo], data: memoryview, name: str) -> dict[str, tuple[ZipInfo, memoryview]]:
    """Return each record's entry and bytes, by its name without the archive's folder."""
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
        raise FileFormatError(f"{name}: its records overlap; reading each of them could take forever")
    return records


def _record_bytes(entry: ZipInfo, data: memoryview, name: str) -> memoryview:
    """Return a record's bytes. They lie after a header of its own, whose length the directory does not tell."""
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


def _read_pickle(records: Mapping[str, memoryview], name: str) -> dict[str, Any]:
    """Return the dict that the pickle describes: plain values, and tensors as `PickledTensor`."""
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
    return top


def _kind(value: object) -> str:
    return "a tensor" if isinstance(value, PickledTensor) else f"a {type(value).__name__}"
