"""A .pt file -> memory-mapped arrays, trusting nothing.

The pickle inside is not unpickled. It is read opcode by opcode by the small machine below, which knows
plain values, ``OrderedDict`` and torch's constructors of tensors and Parameters, calls nothing, and imports
nothing. Sizes, strides and offsets are checked against the file's real length before any memory is touched,
and every record's CRC is checked, which torch does not do.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from llmprep.errors import FileFormatError, InputError
from llmprep.ptfile.layout import DTYPES, Plain, TensorView
from llmprep.ptfile.mapping import map_file

if TYPE_CHECKING:
    from zipfile import ZipInfo

Array = npt.NDArray[Any]

MAX_PICKLE_BYTES = 64 << 20
MAX_RECORDS = 100_000
MAX_DEPTH = 32
MAX_STEPS = 1 << 23
"""Opcodes in a pickle: more than `MAX_PICKLE_BYTES` of plain values have, fewer than could fill the memory."""

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
        top = _Machine(records).run(bytes(pickle))
    except _UnsafeError as error:
        raise FileFormatError(f"{name}: refused, nothing was run: {error}") from error
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise FileFormatError(f"{name}: its pickle is malformed: {error!s:.120}") from error
    if not isinstance(top, dict):
        raise FileFormatError(f"{name}: holds {_kind(top)}, not a dict of tensors")
    tensors = {key: value for key, value in top.items() if isinstance(value, _Tensor)}
    return PtFile(
        name=name,
        tensors={key: value.array for key, value in tensors.items()},
        storages={key: value.storage for key, value in tensors.items()},
        dtypes={key: value.dtype for key, value in tensors.items()},
        values={key: value for key, value in top.items() if key not in tensors},
    )


def _kind(value: object) -> str:
    return "a tensor" if isinstance(value, _Tensor) else f"a {type(value).__name__}"


# --- the machine ----------------------------------------------------------------------------------


class _UnsafeError(Exception):
    """The pickle asks for something that no file of tensors needs."""


@dataclass(frozen=True, slots=True)
class _Global:
    """A name the pickle may mention; it is never looked up."""

    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    record: str
    dtype: str
    data: memoryview


@dataclass(frozen=True, slots=True)
class _Tensor:
    array: Array
    storage: Array
    dtype: str


_REBUILD = {"torch._utils _rebuild_tensor_v2": 6, "torch._utils _rebuild_tensor_v3": 7}
_PARAMETER = "torch._utils _rebuild_parameter"
_ORDERED_DICT = "collections OrderedDict"
_UNTYPED = "torch.storage UntypedStorage"
_STORAGES = {f"torch {d.storage}": d.name for d in DTYPES.values() if d.storage}
_TORCH_DTYPES = {f"torch {name}": name for name in DTYPES}
_KNOWN = {*_REBUILD, _PARAMETER, _ORDERED_DICT, _UNTYPED, *_STORAGES, *_TORCH_DTYPES}
_SHAREABLE = (str, int, float, bool, type(None), _Global, _Storage, _Tensor)
_PUSHES = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_CONSTANTS: dict[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


@dataclass(slots=True)
class _Machine:
    """Runs the opcodes that torch and llmprep write; everything else is refused."""

    records: Mapping[str, memoryview]
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, pickle: bytes) -> object:
        """Return the one value that the pickle describes."""
        import pickletools

        for number, (opcode, argument, _) in enumerate(pickletools.genops(pickle)):
            if number > MAX_STEPS:
                raise _UnsafeError(f"the pickle takes more than {MAX_STEPS} steps")
            if opcode.name in _PUSHES:
                self.stack.append(argument)
            elif opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name])
            else:
                step = getattr(self, f"do_{opcode.name.lower()}", None)
                if step is None:
                    raise _UnsafeError(f"the pickle uses {opcode.name}")
                step(argument)
        (value,) = self.stack
        _check_depth(value)
        return value

    def _since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def do_proto(self, version: int) -> None:
        if version > 4:
            raise _UnsafeError(f"pickle protocol {version}")

    def do_frame(self, _: int) -> None:
        """Frames only group bytes."""

    def do_stop(self, _: None) -> None:
        """The value stands on the stack."""

    def do_mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    def do_binunicode(self, text: str) -> None:
        text.encode()  # pickletools lets lone surrogates pass, which no UTF-8 output can hold
        self.stack.append(text)

    do_short_binunicode = do_binunicode

    def do_global(self, name: str) -> None:
        if name not in _KNOWN:
            raise _UnsafeError(f"the pickle names {name.replace(' ', '.')[:80]}")
        self.stack.append(_Global(name))

    def do_binput(self, slot: int) -> None:
        self.memo[slot] = self.stack[-1]

    do_long_binput = do_binput

    def do_memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def do_binget(self, slot: int) -> None:
        # A container used twice could unfold to any size; torch shares only names, numbers and tensors.
        value = self.memo[slot]
        if not isinstance(value, _SHAREABLE):
            raise _UnsafeError(f"the pickle uses one {type(value).__name__} twice")
        self.stack.append(value)

    do_long_binget = do_binget

    def do_empty_dict(self, _: None) -> None:
        self.stack.append({})

    def do_empty_list(self, _: None) -> None:
        self.stack.append([])

    def do_append(self, _: None) -> None:
        self._extend([self.stack.pop()])

    def do_appends(self, _: None) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise _UnsafeError("the pickle appends to something that is not a list")
        target.extend(map(_plain_or_tensor, items))

    def do_setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def do_setitems(self, _: None) -> None:
        self._set(self._since_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise _UnsafeError("the pickle sets items of something that is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str) or key in target:
                raise _UnsafeError("a key is not a string, or stands twice")
            target[key] = _plain_or_tensor(value)

    def do_tuple(self, _: None) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _tuple_of(self, count: int) -> None:
        items = self.stack[-count:]
        if len(items) < count:
            raise IndexError("stack underflow")
        self.stack[-count:] = [tuple(items)]

    def do_tuple1(self, _: None) -> None:
        self._tuple_of(1)

    def do_tuple2(self, _: None) -> None:
        self._tuple_of(2)

    def do_tuple3(self, _: None) -> None:
        self._tuple_of(3)

    def do_binpersid(self, _: None) -> None:
        match self.stack.pop():
            case ("storage", _Global(kind), str(key), str(), int()) if f"data/{key}" in self.records:
                dtype = _STORAGES.get(kind, "")
                if not dtype and kind != _UNTYPED:
                    raise _UnsafeError(f"the pickle takes {kind} for a storage")
                self.stack.append(_Storage(f"data/{key}", dtype, self.records[f"data/{key}"]))
            case other:
                raise _UnsafeError(f"a storage that is not in the file ({type(other).__name__})")

    def do_reduce(self, _: None) -> None:
        arguments, callee = self.stack.pop(), self.stack.pop()
        match callee, arguments:
            case _Global("collections OrderedDict"), ():
                self.stack.append({})
            case _Global(name), tuple() if len(arguments) == _REBUILD.get(name):
                self.stack.append(_tensor(*arguments))
            case _Global("torch._utils _rebuild_parameter"), (_Tensor() as tensor, bool(), dict() as hooks) if (
                not hooks
            ):
                self.stack.append(tensor)  # a Parameter is its tensor, and whether it is trained
            case _:
                raise _UnsafeError(f"the pickle calls {getattr(callee, 'name', 'something')}")

    def do_build(self, _: None) -> None:
        """Attributes of a state dict (its ``_metadata``): dropped."""
        state = self.stack.pop()
        if not (isinstance(state, dict) and isinstance(self.stack[-1], dict) and set(state) <= {"_metadata"}):
            raise _UnsafeError("the pickle sets attributes")


def _check_depth(value: object) -> None:
    """Refuse nesting that no reader of plain values could walk; containers form a tree, so this is linear."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [item for node in level if isinstance(node, dict | list) for item in _children(node)]
        if not level:
            return
    raise _UnsafeError(f"values are nested more than {MAX_DEPTH} deep")


def _children(node: dict[str, Any] | list[Any]) -> Collection[Any]:
    return node.values() if isinstance(node, dict) else node


def _plain_or_tensor(value: object) -> object:
    if isinstance(value, tuple) and all(isinstance(item, _SHAREABLE) for item in value):
        value = list(value)
    if not isinstance(value, str | int | float | bool | list | dict | _Tensor | None):
        raise _UnsafeError(f"a value is neither plain nor a tensor: {type(value).__name__}")
    return value


def _tensor(
    storage: object, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], _grad: bool, _hooks: object,
    named: object = None,
) -> _Tensor:  # fmt: skip
    """The checked equivalent of torch's ``_rebuild_tensor_v2`` and ``_v3``."""
    if not isinstance(storage, _Storage):
        raise _UnsafeError("a tensor without a storage")
    dtype = _TORCH_DTYPES.get(named.name, "") if isinstance(named, _Global) else storage.dtype
    if not dtype:
        raise _UnsafeError("a tensor of an unknown dtype")
    view = TensorView(0, dtype, shape, strides, offset)
    numbers = (*shape, *strides, offset)
    if not all(type(n) is int for n in numbers):
        raise _UnsafeError("a tensor whose sizes, strides or offset are no whole numbers")
    if len(shape) != len(strides) or not all(0 <= n < 2**62 for n in numbers):
        raise _UnsafeError(f"a tensor of shape {shape}, strides {strides}, offset {offset}"[:120])
    code = np.dtype(DTYPES[dtype].numpy)
    have = len(storage.data) // code.itemsize
    if len(storage.data) % code.itemsize or view.extent > have:
        raise _UnsafeError(f"a tensor needs {view.extent} elements, its record {storage.record!r} holds {have}")
    if any(step == 0 and size > 1 for size, step in zip(shape, strides, strict=True)):
        raise _UnsafeError("a tensor of stride 0 repeats one element")
    if len(shape) != 2 and math.prod(shape) > have:  # rows may overlap, as windows do; nothing else may
        raise _UnsafeError(f"a tensor of shape {shape} overlaps itself over {have} elements"[:120])
    flat = np.frombuffer(storage.data, code)
    # A stride beyond the record is one that no element needs, and may be too large for numpy.
    steps = tuple(step * code.itemsize if step <= have else 0 for step in strides)
    array = np.lib.stride_tricks.as_strided(flat[offset:], shape, steps, writeable=flat.flags.writeable)
    return _Tensor(array, flat, dtype)
