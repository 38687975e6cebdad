from __future__ import annotations

import io
import itertools
import math
import os
import pickletools
import struct
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmprep.ptfile.layout import ALIGNMENT, DTYPES, Plain, TensorView, c_strides
from llmprep.ptfile.reading import read_pt
from llmprep.ptfile.writing import Described, write_pt

Array = npt.NDArray[Any]

scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8)
plain_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)
plain_dicts = st.dictionaries(st.text(max_size=4), plain_values, max_size=5)
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)


def random_array(dtype: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Random bits of a dtype, not-a-numbers and infinities among them; bfloat16 comes as uint16."""
    code = np.dtype(DTYPES[dtype].numpy)
    raw = np.random.default_rng(seed).integers(0, 256, math.prod(shape) * code.itemsize, np.uint8)
    return (raw % 2 if dtype == "bool" else raw).view(code).reshape(shape)


def described(named: Mapping[str, tuple[str, Array]]) -> tuple[list[list[memoryview]], dict[str, TensorView]]:
    """A storage and a contiguous tensor for each array, by key with its torch dtype."""
    views = {
        key: TensorView(number, dtype, array.shape, c_strides(array.shape))
        for number, (key, (dtype, array)) in enumerate(named.items())
    }
    return [[array.data] for _, array in named.values()], views


def pt_bytes(storages: Sequence[Iterable[memoryview | bytes]], values: Described) -> bytes:
    """A .pt file in memory."""
    sink = io.BytesIO()
    write_pt(sink, storages, lambda _: values)
    return sink.getvalue()


def sample_bytes() -> bytes:
    """A file with two storages of odd sizes and some plain values."""
    storages, views = described({"a": ("int64", np.arange(37)), "b": ("uint8", np.arange(201, dtype=np.uint8))})
    return pt_bytes(storages, {**views, "meta": {"name": "story.txt", "sizes": [1, 300, 2**40]}})


def pickle_of(data: bytes) -> bytes:
    """The pickle inside a .pt file."""
    return zipfile.ZipFile(io.BytesIO(data)).read("archive/data.pkl")


def raw_bits(tensor: torch.Tensor) -> bytes:
    """The bytes of a tensor's elements in row-major order."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


# --- what torch makes of it -----------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_loads_every_dtype_bit_for_bit(dtype: str, mmap: bool, tmp_path: Path) -> None:
    """``torch.load(weights_only=True)`` gives the dtype, shape and bits that were written."""
    array = random_array(dtype, (3, 5, 7))
    storages, views = described({"x": (dtype, array)})
    path = tmp_path / "x.pt"
    path.write_bytes(pt_bytes(storages, views))

    loaded = torch.load(path, weights_only=True, mmap=mmap)

    assert list(loaded) == ["x"]
    assert loaded["x"].dtype is getattr(torch, dtype)
    assert loaded["x"].shape == (3, 5, 7)
    assert raw_bits(loaded["x"]) == array.tobytes()


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("dtype", ["int64", "uint16", "bfloat16"])
def test_overlapping_views_share_one_storage(dtype: str, mmap: bool, tmp_path: Path) -> None:
    """Two views of one record load as two tensors of one storage, one element apart."""
    ids = random_array(dtype, (50,))
    views = {key: TensorView(0, dtype, (45, 4), (1, 1), offset) for offset, key in enumerate(("x", "y"))}
    path = tmp_path / "x.pt"
    path.write_bytes(pt_bytes([[ids.data]], views))

    loaded = torch.load(path, weights_only=True, mmap=mmap)

    x, y = loaded["x"], loaded["y"]
    assert x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()
    assert y.data_ptr() - x.data_ptr() == ids.itemsize
    assert x.untyped_storage().nbytes() == ids.nbytes
    windows = np.lib.stride_tricks.sliding_window_view(ids, 4)
    assert raw_bits(x) == windows[:45].tobytes()
    assert raw_bits(y) == windows[1:46].tobytes()


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "uint16"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,)], ids=str)
def test_torch_loads_scalars_and_empty_tensors(shape: tuple[int, ...], dtype: str, mmap: bool, tmp_path: Path) -> None:
    """A tensor without dimensions or without elements keeps its shape, dtype and bits."""
    array = random_array(dtype, shape)
    storages, views = described({"x": (dtype, array)})
    path = tmp_path / "x.pt"
    path.write_bytes(pt_bytes(storages, views))

    loaded = torch.load(path, weights_only=True, mmap=mmap)["x"]

    assert (loaded.shape, loaded.dtype) == (shape, getattr(torch, dtype))
    assert raw_bits(loaded) == array.tobytes()


@given(values=plain_dicts)
def test_torch_loads_plain_values(values: dict[str, Any]) -> None:
    """Nested plain values come back equal, and of the same types, from ``torch.load``."""
    loaded = torch.load(io.BytesIO(pt_bytes([], values)), weights_only=True)

    assert repr(loaded) == repr(values)


# --- what our reader makes of it ------------------------------------------------------------------


@given(values=plain_dicts)
def test_plain_values_survive_a_round_trip(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nested plain values come back equal, and of the same types, from `read_pt`."""
    path = tmp_path_factory.getbasetemp() / "plain.pt"
    path.write_bytes(pt_bytes([], values))

    assert repr(read_pt(path).values) == repr(values)


@given(
    parts=st.dictionaries(st.text(max_size=6), st.tuples(st.sampled_from(sorted(DTYPES)), shapes), max_size=4),
    seed=st.integers(0, 9),
)
def test_arrays_survive_a_round_trip(
    parts: dict[str, tuple[str, tuple[int, ...]]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Arrays of any dtype and shape, empty ones included, come back from `read_pt` bit for bit."""
    named = {key: (dtype, random_array(dtype, shape, seed)) for key, (dtype, shape) in parts.items()}
    path = tmp_path_factory.getbasetemp() / "arrays.pt"
    path.write_bytes(pt_bytes(*described(named)))

    file = read_pt(path)

    assert dict(file.dtypes) == {key: dtype for key, (dtype, _) in named.items()}
    for key, (_, array) in named.items():
        assert file.tensors[key].dtype == array.dtype
        assert file.tensors[key].shape == array.shape
        assert file.tensors[key].tobytes() == array.tobytes()


@pytest.mark.parametrize("number", [0, 255, 256, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63, -(2**63), 2**200])
def test_whole_numbers_of_any_size(number: int) -> None:
    """A number at each edge of the pickle's encodings is read by torch as itself."""
    loaded = torch.load(io.BytesIO(pt_bytes([], {"n": number})), weights_only=True)

    assert loaded == {"n": number}


# --- the zip --------------------------------------------------------------------------------------


def test_data_records_are_aligned() -> None:
    """Every record's data starts at a multiple of 64 bytes, as torch needs for mapping."""
    data = sample_bytes()

    for entry in zipfile.ZipFile(io.BytesIO(data)).infolist():
        name_and_extra = struct.unpack("<HH", data[entry.header_offset + 26 : entry.header_offset + 30])
        assert (entry.header_offset + 30 + sum(name_and_extra)) % ALIGNMENT == 0, entry.filename


def test_the_zip_is_sound() -> None:
    """Python's own zip reader finds every record, stored, with a right checksum."""
    archive = zipfile.ZipFile(io.BytesIO(sample_bytes()))

    assert archive.testzip() is None
    assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    assert sorted(archive.namelist()) == sorted(
        f"archive/{name}" for name in ("data/0", "data/1", "data.pkl", "byteorder", "version")
    )
    assert archive.read("archive/data/1") == bytes(range(201))


@given(cuts=st.lists(st.integers(0, 400), max_size=12))
def test_bytes_do_not_depend_on_blocks(cuts: list[int]) -> None:
    """A storage that comes in blocks of any size, empty ones included, makes the same file."""
    raw = random_array("uint8", (400,)).tobytes()
    values = {"x": TensorView(0, "int64", (50,), (1,))}
    edges = [0, *sorted(cuts), len(raw)]
    blocks = [raw[begin:end] for begin, end in itertools.pairwise(edges)]

    assert pt_bytes([blocks], values) == pt_bytes([[raw]], values)


def test_describe_is_called_when_the_data_has_passed() -> None:
    """The dict may state what is known only at the end: ``describe`` runs last, with the sizes in bytes."""
    passed: list[str] = []

    def blocks() -> Iterable[bytes]:
        yield b"12345678"
        yield b"1234"
        passed.append("data")

    def describe(sizes: Sequence[int]) -> Described:
        passed.append("describe")
        return {"sizes": list(sizes), "x": TensorView(0, "int32", (sizes[0] // 4,), (1,))}

    sink = io.BytesIO()
    write_pt(sink, [blocks(), []], describe)

    assert passed == ["data", "describe"]
    assert torch.load(io.BytesIO(sink.getvalue()), weights_only=True)["sizes"] == [12, 0]


def test_a_sink_needs_only_write() -> None:
    """A pipe, which can neither seek nor tell, gets the same bytes; the size returned is theirs."""

    class Pipe:
        def __init__(self) -> None:
            self.data = b""

        def write(self, data: bytes | memoryview, /) -> None:
            self.data += bytes(data)

    pipe, ids = Pipe(), np.arange(100)
    values = {"x": TensorView(0, "int64", (100,), (1,))}

    size = write_pt(pipe, [[ids.data]], lambda _: values)

    assert pipe.data == pt_bytes([[ids.data]], values)
    assert size == len(pipe.data)


def test_bytes_do_not_depend_on_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file made at another time has the same bytes; its entries carry the earliest time a zip can hold."""
    before = sample_bytes()
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda _=None: time.gmtime(2_000_000_000))

    assert sample_bytes() == before
    assert {entry.date_time for entry in zipfile.ZipFile(io.BytesIO(before)).infolist()} == {(1980, 1, 1, 0, 0, 0)}


class SparseFile:
    """Writes large blocks, which must be zeros, as holes: gigabytes that cost neither time nor disk."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes | memoryview, /) -> None:
        """Write, or skip what is large."""
        if len(data) < 1 << 20:
            self._file.write(data)
        else:
            self._file.seek(len(data), io.SEEK_CUR)


@pytest.mark.slow
def test_more_than_four_gigabytes(tmp_path: Path) -> None:
    """A record beyond 4 GiB and one that starts behind it are found by zipfile, by torch and by our reader."""
    zeros, end = bytes(1 << 26), np.arange(5)
    n_zeros = 65 * len(zeros) // 8  # 65 blocks of 64 MiB
    path = tmp_path / "large.pt"
    values = {
        "end": TensorView(0, "int64", (5,), (1,), n_zeros),
        "behind": TensorView(1, "int64", (5,), (1,)),
    }

    with path.open("wb") as file:
        size = write_pt(SparseFile(file), [[*[zeros] * 65, end.data], [end.data]], lambda _: values)

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


# --- the pickle -----------------------------------------------------------------------------------


def test_the_pickle_has_no_memo() -> None:
    """No opcode stores or recalls an object, so bytes cannot depend on which objects are the same one."""
    names = {opcode.name for opcode, _, _ in pickletools.genops(pickle_of(sample_bytes()))}

    assert not {name for name in names if "PUT" in name or "GET" in name or "MEMO" in name}


@given(values=plain_dicts)
def test_the_pickle_is_well_formed(values: dict[str, Any]) -> None:
    """Python's own disassembler, which checks stack and marks, accepts the pickle as protocol 2."""
    pickle = pickle_of(pt_bytes([], values))

    pickletools.dis(pickle, out=io.StringIO())
    assert pickle.startswith(b"\x80\x02")


def test_bytes_do_not_depend_on_identity() -> None:
    """One list or string used twice makes the same bytes as two equal ones."""
    part: list[Plain] = ["story", 5]
    shared = pt_bytes([], {"a": part, "b": part})
    apart = pt_bytes([], {"a": ["".join(("sto", "ry")), 5], "b": ["".join(("st", "ory")), 5]})

    assert shared == apart


# --- the layout -----------------------------------------------------------------------------------


@given(shape=st.lists(st.integers(1, 5), max_size=4).map(tuple))
def test_c_strides_are_those_of_numpy(shape: tuple[int, ...]) -> None:
    """Strides of a contiguous array, counted in elements, are numpy's."""
    assert c_strides(shape) == tuple(step // 8 for step in np.empty(shape, np.int64).strides)


@given(
    sizes=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 9)), max_size=3),
    offset=st.integers(0, 20),
)
def test_extent_is_one_past_the_last_element(sizes: list[tuple[int, int]], offset: int) -> None:
    """A view's extent is the largest index that any of its elements has in the storage, plus one."""
    shape, strides = tuple(size for size, _ in sizes), tuple(step for _, step in sizes)
    places = [offset + sum(i * step for i, step in zip(index, strides, strict=True)) for index in np.ndindex(*shape)]

    assert TensorView(0, "int64", shape, strides, offset).extent == max(places, default=offset - 1) + 1
