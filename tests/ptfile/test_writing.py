"""Promises of writing: torch, zipfile and our reader find what was written, in bytes that depend on it alone."""

import io
import itertools
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.ptfiles import pt_bytes

from llmprep.ptfile.layout import ALIGNMENT, DTYPES, Plain, TensorView, c_strides
from llmprep.ptfile.reading import read_pt
from llmprep.ptfile.writing import LARGE, write_pt


def bits(tensor: torch.Tensor) -> bytes:
    """A tensor's elements, one after the other."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_views_are_read_bit_for_bit(dtype: str, tmp_path: Path) -> None:
    """torch, mapping the file or not, and our reader give dtype, shape and bits of any view, of one storage."""
    raw, path = torch.randint(2 if dtype == "bool" else 256, (192,), dtype=torch.uint8), tmp_path / "x.pt"
    flat = raw.view(getattr(torch, dtype))
    views = {
        "all": flat, "grid": flat[:24].view(2, 3, 4), "windows": flat[1:].unfold(0, 4, 2), "one": flat[5],
        "none": flat[:0].view(3, 0),
    }  # fmt: skip
    described = {
        key: TensorView(0, dtype, tuple(view.shape), view.stride(), int(view.storage_offset()))
        for key, view in views.items()
    }
    path.write_bytes(pt_bytes([[raw.numpy().data]], described))
    expected = {key: (view.dtype, view.shape, bits(view)) for key, view in views.items()}
    for mmap in (False, True):
        loaded: dict[str, torch.Tensor] = torch.load(path, weights_only=True, mmap=mmap)
        assert {key: (tensor.dtype, tensor.shape, bits(tensor)) for key, tensor in loaded.items()} == expected
        assert len({tensor.untyped_storage().data_ptr() for tensor in loaded.values()}) == 1
    assert {key: array.tobytes() for key, array in read_pt(path).tensors.items()} == {k: bits(views[k]) for k in views}
    for contiguous in (flat, views["grid"], views["one"], views["none"]):
        assert c_strides(tuple(contiguous.shape)) == contiguous.stride()


def test_plain_values_come_back(tmp_path: Path) -> None:
    """Nested plain values come back equal, of the same types, from torch and our reader."""
    values: dict[str, Plain] = {
        "integers": [sign * 2**n + more for n in (0, 8, 31, 63, 200) for sign in (-1, 1) for more in (-1, 0)],
        "others": [None, True, False, -0.5, 1e300, float("inf"), "", "caf\u00e9 \0 \U0001f600", "x" * 300, [], {}],
        "": {"nested": [[], [1, {"a": {"b": [None]}, "c": 2}]]},
    }
    (tmp_path / "x.pt").write_bytes(pt_bytes([], values))
    assert repr(torch.load(tmp_path / "x.pt", weights_only=True)) == repr(values)
    assert repr(read_pt(tmp_path / "x.pt").values) == repr(values)


def test_the_zip_is_sound_and_aligned() -> None:
    """Python finds every record, stored, with a right checksum and no time, its data at a multiple of 64 bytes."""
    data = pt_bytes([[np.arange(37).data], [bytes(range(201))]], {"a": TensorView(1, "uint8", (201,), (1,))})
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    assert archive.read("archive/data/1") == bytes(range(201))
    names = [f"archive/{name}" for name in ("data/0", "data/1", "data.pkl", "byteorder", "version")]
    assert [(entry.filename, entry.compress_type) for entry in archive.infolist()] == [(name, 0) for name in names]
    for entry in archive.infolist():
        name_and_extra = struct.unpack_from("<HH", data, entry.header_offset + 26)
        assert (entry.header_offset + 30 + sum(name_and_extra)) % ALIGNMENT == 0, entry.filename
        assert entry.date_time == (1980, 1, 1, 0, 0, 0)


def test_bytes_do_not_depend_on_blocks_or_identity() -> None:
    """A storage in blocks of any size makes the same file, in a pipe too; so do equal values, one object or not."""
    raw, values, written = bytes(range(200)) * 2, {"x": TensorView(0, "int64", (50,), (1,))}, io.BytesIO()
    pipe = SimpleNamespace(write=lambda data: written.write(data) and None)  # it can neither seek nor tell
    blocks = [raw[a:b] for a, b in itertools.pairwise([0, 0, 1, 7, 7, 64, 333, 400])]
    assert write_pt(pipe, [blocks], lambda _: values) == len(written.getvalue())
    assert written.getvalue() == pt_bytes([[memoryview(raw).cast("Q")]], values)
    part: list[Plain] = ["story", 5]
    assert pt_bytes([], {"x": [part, part]}) == pt_bytes([], {"x": [part, ["".join(("st", "ory")), 5]]})


@pytest.mark.parametrize("jobs", [1, 2])
def test_large_blocks_may_use_memory_again(jobs: int) -> None:
    """Blocks of all sizes, each in the memory of the one before, are written and checked before the next is made."""
    memory, sizes = np.empty(LARGE + 3, np.uint8), [3, LARGE, LARGE + 3, LARGE - 1, 0, LARGE + 1, 7]

    def blocks() -> Iterator[memoryview]:
        for number, size in enumerate(sizes):
            memory[:] = number
            yield memory[:size].data

    written = io.BytesIO()
    write_pt(written, [blocks()], lambda _: {}, jobs=jobs)
    archive = zipfile.ZipFile(written)
    assert archive.testzip() is None
    assert archive.read("archive/data/0") == b"".join(bytes([number]) * size for number, size in enumerate(sizes))


@pytest.mark.slow
def test_more_than_four_gigabytes(tmp_path: Path) -> None:
    """A record beyond 4 GiB and one that starts after it are found by zipfile, by torch and by our reader."""
    zeros, end, path = bytes(1 << 26), np.arange(5), tmp_path / "large.pt"
    n_zeros = 65 * len(zeros) // 8  # 65 blocks of 64 MiB
    values = {"end": TensorView(0, "int64", (5,), (1,), n_zeros), "after": TensorView(1, "int64", (5,), (1,))}
    with path.open("wb") as file:
        # Zeros are written as holes: gigabytes that cost neither time nor disk.
        sparse = SimpleNamespace(write=lambda data: file.seek(len(data), 1) if data is zeros else file.write(data))
        size = write_pt(sparse, [[*[zeros] * 65, end.data], [end.data]], lambda _: values)
    assert size == path.stat().st_size > 2**32
    assert zipfile.ZipFile(path).getinfo("archive/data/0").file_size == 65 * len(zeros) + end.nbytes
    assert zipfile.ZipFile(path).read("archive/data/1") == end.tobytes()
    loaded = torch.load(path, weights_only=True, mmap=True)
    ours = read_pt(path, check_crc=False).tensors
    for key in values:
        assert loaded[key].tolist() == ours[key].tolist() == end.tolist()
