"""Small .pt files, sound and otherwise: as llmprep writes them, and zips of any records with any pickle."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from llmprep.ptfile.layout import Plain, TensorView
from llmprep.ptfile.writing import Described, write_pt


def pt_bytes(storages: Sequence[Iterable[memoryview | bytes]], values: Described) -> bytes:
    """A .pt file of llmprep's, in memory."""
    sink = io.BytesIO()
    write_pt(sink, storages, lambda _: values)
    return sink.getvalue()


def small_file(path: Path) -> Path:
    """A file of llmprep's with overlapping views and plain values."""
    ids = np.arange(10, dtype="<u2")
    views = {key: TensorView(0, "uint16", (4, 3), (2, 1), offset) for offset, key in enumerate(("x", "y"))}
    meta: dict[str, Plain] = {"kind": "windows", "numbers": [1, 2**40, -1, 0.5], "part": None, "whole": True}
    path.write_bytes(pt_bytes([[ids.data]], {**views, "meta": meta}))
    return path


def zip_of(path: Path, records: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """A zip of records with right checksums, whatever they hold."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    return path


def pickled(path: Path, pickle: bytes, record: bytes = bytes(32)) -> Path:
    """A file of any pickle and one record, of four int64."""
    return zip_of(path, {"x/data.pkl": pickle, "x/data/0": record, "x/version": b"3\n"})


# Opcodes: each function returns those that push its value.


def utf8(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def integer(number: int) -> bytes:
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t"


def storage(kind: str = "torch\nLongStorage") -> bytes:
    return b"(" + utf8("storage") + f"c{kind}\n".encode() + utf8("0") + utf8("cpu") + integer(4) + b"tQ"


def tensor(
    shape: tuple[int, ...] = (2,), strides: tuple[int, ...] = (1,), offset: int = 0, kind: str = "torch\nLongStorage",
    dtype: str = "",
) -> bytes:  # fmt: skip
    """A tensor over record data/0; one with a dtype of its own is torch's third version."""
    arguments = (
        storage(kind) + integer(offset) + numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)R"
    )
    named = f"ctorch\n{dtype}\n".encode() if dtype else b""
    return b"ctorch._utils\n_rebuild_tensor_v%d\n(" % (3 if dtype else 2) + arguments + named + b"tR"


def parameter(value: bytes, *, trained: bytes = b"\x88", hooks: bytes = b"ccollections\nOrderedDict\n)R") -> bytes:
    return b"ctorch._utils\n_rebuild_parameter\n(" + value + trained + hooks + b"tR"


def dict_with(value: bytes) -> bytes:
    """A whole pickle, of a dict with one value under the key ``x``."""
    return b"\x80\x02}" + utf8("x") + value + b"s."
