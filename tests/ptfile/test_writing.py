"""Promises of writing: torch, zipfile and our reader find what was written, in bytes that depend on it alone."""

from __future__ import annotations

import io
import itertools
import os
import pickletools
import struct
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.ptfiles import pt_bytes

from llmprep.ptfile.layout import ALIGNMENT, DTYPES, Plain, TensorView, c_strides
from llmprep.ptfile.reading import read_pt
from llmprep.ptfile.writing import write_pt

SHAPES: list[tuple[int, ...]] = [(3, 5, 7), (1,), (0,), (3, 0), ()]

scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8)
plain_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)
EDGES = [sign * 2**bits + more for bits in (0, 8, 31, 63, 200) for sign in (-1, 1) for more in (-1, 0)]


def sample_bytes() -> bytes:
    """A file with two storages of odd sizes and some plain values."""
    views = {"a": TensorView(0, "int64", (37,), (1,)), "b": TensorView(1, "uint8", (201,), (1,))}
    meta: dict[str, Plain] = {"name": "story.txt", "sizes": [1, 300, 2**40]}
    return pt_bytes([[np.arange(37).data], [bytes(range(201))]], {**views, "meta": meta})


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_are_read_bit_for_bit(dtype: str, tmp_path: Path) -> None:
    """torch, mapping the file or not, and our reader give dtype, shape and bits of any array, empty or overlapping."""
    raw = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 256, 3 * 5 * 7 * 8, np.uint8)
    arrays = [raw.view(DTYPES[dtype].numpy)[: np.prod(shape, dtype=int)].reshape(shape) for shape in SHAPES]
    views = {str(n): TensorView(n, dtype, array.shape, c_strides(array.shape)) for n, array in enumerate(arrays)}
    views["windows"] = TensorView(0, dtype, (51, 4), (2, 1), 1)
    windows = np.lib.stride_tricks.sliding_window_view(arrays[0].reshape(-1), 4)[1::2][:51]
    path = tmp_path / "x.pt"
    path.write_bytes(pt_bytes([[array.tobytes()] for array in arrays], views))
    ours, loads = read_pt(path), [torch.load(path, weights_only=True, mmap=mmap) for mmap in (False, True)]

    assert dict(ours.dtypes) == dict.fromkeys(views, dtype)
    for key, array in zip(views, [*arrays, windows], strict=True):
        assert (ours.tensors[key].shape, ours.tensors[key].tobytes()) == (array.shape, array.tobytes())
        for loaded in loads:
            tensor = loaded[key]
            assert (tensor.dtype, tensor.shape) == (getattr(torch, dtype), array.shape)
            assert tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() == array.tobytes()
            assert loaded["windows"].untyped_storage().data_ptr() == loaded["0"].untyped_storage().data_ptr()


@settings(max_examples=15)
@given(values=st.dictionaries(st.text(max_size=4), plain_values, max_size=5))
@example(values={"edges": EDGES})
def test_plain_values_come_back(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nested plain values come back equal, of the same types, from torch and our reader; the pickle is well formed."""
    path = tmp_path_factory.getbasetemp() / "plain.pt"
    path.write_bytes(pt_bytes([], values))

    assert repr(torch.load(path, weights_only=True)) == repr(values)
    assert repr(read_pt(path).values) == repr(values)
    pickle = zipfile.ZipFile(path).read("archive/data.pkl")
    pickletools.dis(pickle, out=io.StringIO())
    assert pickle.startswith(b"\x80\x02")


def test_the_zip_is_sound_and_aligned() -> None:
    """Python finds every record, stored, with a right checksum, its data starting at a multiple of 64 bytes."""
    data = sample_bytes()
    archive = zipfile.ZipFile(io.BytesIO(data))

    assert archive.testzip() is None
    assert archive.read("archive/data/1") == bytes(range(201))
    names = [f"archive/{name}" for name in ("data/0", "data/1", "data.pkl", "byteorder", "version")]
    assert [(entry.filename, entry.compress_type) for entry in archive.infolist()] == [(name, 0) for name in names]
    for entry in archive.infolist():
        name_and_extra = struct.unpack_from("<HH", data, entry.header_offset + 26)
        assert (entry.header_offset + 30 + sum(name_and_extra)) % ALIGNMENT == 0, entry.filename


def test_bytes_do_not_depend_on_blocks() -> None:
    """A storage in blocks of any size makes the same file, in a pipe too; the size of the file is returned."""
    raw, values, written = bytes(range(200)) * 2, {"x": TensorView(0, "int64", (50,), (1,))}, io.BytesIO()
    pipe = SimpleNamespace(write=lambda data: written.write(data) and None)  # it can neither seek nor tell
    blocks = [raw[a:b] for a, b in itertools.pairwise([0, 0, 1, 7, 7, 64, 333, 400])]
    assert write_pt(pipe, [blocks], lambda _: values) == len(written.getvalue())
    assert written.getvalue() == pt_bytes([[memoryview(raw).cast("Q")]], values)


def test_bytes_do_not_depend_on_the_clock_or_on_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same values make the same bytes at another time, and whether two equal ones are one object or not."""
    before = sample_bytes()
    part: list[Plain] = ["story", 5]
    twin: list[Plain] = ["".join(("st", "ory")), 5]
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda _=None: time.gmtime(2_000_000_000))
    assert sample_bytes() == before
    assert {entry.date_time for entry in zipfile.ZipFile(io.BytesIO(before)).infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert pt_bytes([], {"x": [part, part]}) == pt_bytes([], {"x": [part, twin]})


@pytest.mark.slow
def test_more_than_four_gigabytes(tmp_path: Path) -> None:
    """A record beyond 4 GiB and one that starts after it are found by zipfile, by torch and by our reader."""
    zeros, end = bytes(1 << 26), np.arange(5)
    n_zeros = 65 * len(zeros) // 8  # 65 blocks of 64 MiB
    path = tmp_path / "large.pt"
    values = {"end": TensorView(0, "int64", (5,), (1,), n_zeros), "after": TensorView(1, "int64", (5,), (1,))}

    with path.open("wb") as file:
        # Zeros are written as holes: gigabytes that cost neither time nor disk.
        sparse = SimpleNamespace(write=lambda data: file.seek(len(data), 1) if data is zeros else file.write(data))
        size = write_pt(sparse, [[*[zeros] * 65, end.data], [end.data]], lambda _: values)

    assert size == path.stat().st_size > 2**32
    with path.open("rb") as file:
        file.seek(-22, os.SEEK_END)
        assert struct.unpack("<I12xIH", file.read(22)) == (0x06054B50, 0xFFFFFFFF, 0)  # its true place is in zip64's
    entries = {entry.filename: entry for entry in zipfile.ZipFile(path).infolist()}
    assert entries["archive/data/0"].file_size == 65 * len(zeros) + end.nbytes
    assert entries["archive/data/1"].header_offset > 2**32
    assert zipfile.ZipFile(path).read("archive/data/1") == end.tobytes()
    loaded = torch.load(path, weights_only=True, mmap=True)
    ours = read_pt(path, check_crc=False).tensors
    for key in values:
        assert loaded[key].tolist() == ours[key].tolist() == end.tolist()
