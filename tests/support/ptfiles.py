"""Small .pt files, sound and otherwise: as llmprep writes them, and zips of any records with any pickle."""

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmprep.ptfile.layout import TensorView
from llmprep.ptfile.writing import Described, write_pt


def pt_bytes(storages: Sequence[Iterable[memoryview | bytes]], values: Described) -> bytes:
    """A .pt file of llmprep's, in memory."""
    sink = io.BytesIO()
    write_pt(sink, storages, lambda _: values)
    return sink.getvalue()


def small_file(path: Path) -> Path:
    """A file of llmprep's with overlapping views and plain values."""
    views = {key: TensorView(0, "uint16", (4, 3), (2, 1), offset) for offset, key in enumerate(("x", "y"))}
    meta = {"kind": "windows", "numbers": [1, 2**40, -1, 0.5], "part": None, "whole": True}
    path.write_bytes(pt_bytes([[np.arange(10, dtype="<u2").data]], {**views, "meta": meta}))  # type: ignore[dict-item]
    return path


def zip_bytes(records: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of records with right checksums, whatever they hold."""
    with zipfile.ZipFile(sink := io.BytesIO(), "w", method) as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    return sink.getvalue()


def zip_of(path: Path, records: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """The same, written to a file."""
    path.write_bytes(zip_bytes(records, method))
    return path


def pickled(path: Path, pickle: bytes) -> Path:
    """A file of any pickle and two records: the int64 0 to 3, and 31 bytes, which are no whole number of int64."""
    data = np.arange(4, dtype="<i8").tobytes()
    return zip_of(path, {"x/data.pkl": pickle, "x/data/0": data, "x/data/1": data[:-1], "x/version": b"3\n"})


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call
