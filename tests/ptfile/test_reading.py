"""Promises of reading: what torch saved comes back bit for bit, and what is damaged or no .pt file is refused."""

from __future__ import annotations

import itertools
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.ptfiles import pickled, pt_bytes, small_file, zip_of

from llmprep.errors import FileFormatError, InputError
from llmprep.ptfile import reading
from llmprep.ptfile.layout import DTYPES, TensorView
from llmprep.ptfile.reading import PtFile, file_state, read_pt

Make = Callable[[Path], object]
EMPTY = b"\x80\x02}."
BITS = torch.arange(192, dtype=torch.uint8).view(3, 4, 16)
GRID = torch.arange(48).view(6, 8)
PLAIN: dict[str, Any] = {
    "meta": {"n": 2**70, "f": -0.5, "s": "caf\u00e9", "l": [1, [True, None]], "d": {"": {}}, "long": "x" * 300},
    "t": (1, "a"),
    **{str(number): number for number in (0, 255, 256, 65535, 65536, -1, 2**31, -(2**40))},
}


def content(file: PtFile) -> tuple[object, ...]:
    """All that a file holds, in a form that can be compared."""
    arrays = {key: (file.dtypes[key], array.shape, array.tobytes()) for key, array in file.tensors.items()}
    return arrays, dict(file.values)


def saved_content(values: dict[str, Any]) -> tuple[object, ...]:
    """All that torch was given to save, in the same form."""
    tensors = {key: value.detach() for key, value in values.items() if isinstance(value, torch.Tensor)}
    bits = {key: tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for key, tensor in tensors.items()}
    arrays = {key: (str(tensor.dtype)[6:], tuple(tensor.shape), bits[key]) for key, tensor in tensors.items()}
    plain = {key: value for key, value in values.items() if key not in tensors}
    return arrays, {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}


@pytest.mark.parametrize(
    ("values", "protocol"),
    [
        ({dtype: (BITS % 2 if dtype == "bool" else BITS).clone().view(getattr(torch, dtype)) for dtype in DTYPES}, 2),
        ({"a": GRID[2:5, 1:], "b": GRID.t(), "c": GRID[:, ::2], "d": GRID.unfold(0, 3, 1)[0], "e": GRID[3, 4]}, 3),
        ({"a": GRID.view(-1).unfold(0, 7, 2), "b": GRID.view(2, 3, 1, 8).permute(3, 1, 0, 2), "c": GRID[:0]}, 2),
        ({"a": GRID, "b": GRID, "c": ["x", "x"], "meta": [1]}, 2),
        (torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).state_dict(), 2),
        (dict.fromkeys("ab", torch.nn.Embedding(4, 3).weight) | {"c": torch.nn.Parameter(BITS / 2, False)}, 2),  # noqa: FBT003
        *((PLAIN, protocol) for protocol in (2, 3, 4)),
    ],
    ids=["dtypes", "views", "more views", "shared", "a state dict", "tied parameters", "plain", "plain 3", "plain 4"],
)
def test_what_torch_saved_is_read(values: dict[str, Any], protocol: int, tmp_path: Path) -> None:
    """Tensors of any dtype and strides, shared ones, Parameters, a state dict and plain values come back as they were.

    A flat tuple becomes a list, and a ``meta`` that is no dict is no `PtFile.meta`.
    """
    torch.save(values, tmp_path / "x.pt", pickle_protocol=protocol)
    file = read_pt(tmp_path / "x.pt")
    assert content(file) == saved_content(values)
    assert file.meta == (PLAIN["meta"] if values is PLAIN else {})


@pytest.mark.parametrize("private", [False, True])
def test_arrays_are_views_of_the_file(private: bool, tmp_path: Path) -> None:
    """Overlapping windows share memory, of the file, though it has no name any more; private ones may be written."""
    ids, path = torch.arange(100), tmp_path / "x.pt"
    windows = ids.unfold(0, 5, 1)
    torch.save({"x": windows[:, :-1], "y": windows[:, 1:], "ids": ids}, path)

    with path.open("rb") as opened:
        path.unlink()
        file = read_pt(opened, "standard input", private=private)
        opened.seek(0)
        again = read_pt(opened).tensors["x"]
        assert (again.tolist(), again.flags.writeable) == (windows[:, :-1].tolist(), False)

    assert file.name == "standard input"
    assert np.shares_memory(file.tensors["x"], file.tensors["y"])
    assert np.shares_memory(file.storages["x"], file.tensors["ids"])
    assert file.storages["y"].tolist() == list(range(100))
    assert {array.flags.writeable for array in (*file.tensors.values(), *file.storages.values())} == {private}


def test_what_is_known_is_not_checked_again(tmp_path: Path) -> None:
    """Damage is found, unless the caller leaves the check out or knows the very file; each file says what was done."""
    path = small_file(tmp_path / "x.pt")
    sound, data = read_pt(path), path.read_bytes()
    path.write_bytes(data.replace(bytes([0, 0, 1, 0, 2, 0]), bytes([7, 0, 1, 0, 2, 0])))  # the first id
    state = file_state(path.stat())

    unchecked, known = read_pt(path, check_crc=False), read_pt(path, known=state)

    assert (sound.checked, unchecked.checked, known.checked) == (True, False, False)
    assert unchecked.state == known.state == state != sound.state
    assert unchecked.tensors["x"][0, 0] == known.tensors["x"][0, 0] == 7
    for other in (sound.state, None):
        with pytest.raises(FileFormatError, match=r"x\.pt: checksum of record 'archive/data/0' does not match"):
            read_pt(path, known=other)


def test_the_list_of_records_tells_what_is_in_them(tmp_path: Path) -> None:
    """Files with the same records have the same hash of them; other data, sizes or names give another."""
    hashes, path = [], tmp_path / "x.pt"
    for storages in ([[b"ab"]], [[b"a", b"b"]], [[b"ac"]], [[b"abc"]], [[b"ab"], []]):
        path.write_bytes(pt_bytes(storages, {"x": TensorView(0, "uint8", (2,), (1,))}))
        hashes.append(read_pt(path).records_sha256)
    assert hashes[0] == hashes[1]
    assert len({*hashes}) == 4


def test_truncation_at_every_length_is_an_error(tmp_path: Path) -> None:
    """No beginning of a file, however long, passes for a file."""
    path = small_file(tmp_path / "x.pt")
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        with pytest.raises(FileFormatError, match=r"x\.pt: not a \.pt file"):
            read_pt(path)


@pytest.mark.parametrize("bits", [1, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", [small_file, lambda path: torch.save({"x": torch.arange(5), "n": 1}, path)])
def test_every_flipped_bit_is_found(make: Make, bits: int, tmp_path: Path) -> None:
    """One flipped bit of a byte is a `FileFormatError` or changes nothing: never other ids, never a crash."""
    make(path := tmp_path / "x.pt")
    whole, data, unnoticed = content(read_pt(path)), path.read_bytes(), []
    with path.open("r+b", buffering=0) as file:
        for byte, turn in itertools.product(range(len(data)), range(bits)):
            bit = (byte + turn) % 8
            os.pwrite(file.fileno(), bytes([data[byte] ^ 1 << bit]), byte)
            file.seek(0)
            with suppress(FileFormatError):
                if content(read_pt(file, "flipped")) != whole:
                    unnoticed.append((byte, bit))
            os.pwrite(file.fileno(), data[byte : byte + 1], byte)
    assert unnoticed == []


def records(*names: str, byteorder: bytes = b"little", method: int = zipfile.ZIP_STORED) -> Make:
    """A zip of records with these names."""
    held = {name: byteorder if "byteorder" in name else EMPTY for name in names}
    return lambda path: zip_of(path, held, method)


def patched(magic: bytes, offset: int, value: bytes) -> Make:
    """A zip of which some bytes are others, counted from the first header that begins so."""

    def make(path: Path) -> None:
        data = bytearray(zip_of(path, {"x/data.pkl": EMPTY, "x/version": b"3\n"}).read_bytes())
        place = data.index(magic) + offset
        data[place : place + len(value)] = value
        path.write_bytes(data)

    return make


def overlapping(count: int) -> Make:
    """A zip with many entries for the same bytes, each of which would be read."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data.pkl", EMPTY)
            archive.writestr("x/0", bytes(1 << 20))
            for k in range(1, count - 1):
                archive.filelist.append(twin := copy(archive.filelist[1]))
                twin.filename = f"x/{k}"

    return make


NO_PT, NO_PICKLE, BIG = r"not a \.pt file", "it has no data.pkl", "was written on a big-endian machine; convert it"
ODD_NAME, PACKED, PAST_END = "unsafe or duplicate record name", "is compressed or encrypted", "reaches past the end"
HEADER, ENTRY, NO_HEADER = b"PK\x03\x04", b"PK\x01\x02", "has no header where it should be"
REFUSED: dict[str, tuple[Make, str]] = {
    "empty": (lambda path: path.write_bytes(b""), NO_PT),
    "magic": (lambda path: path.write_bytes(HEADER * 100), NO_PT),
    "a zip at the end of a text": (lambda path: path.write_bytes(b"A text.\n" + small_file(path).read_bytes()), NO_PT),
    "torch's old format": (lambda path: torch.save({}, path, _use_new_zipfile_serialization=False), NO_PT),
    "no record": (records(), NO_PT),
    "a name that leaves the archive": (records("x/data.pkl", "x/../evil"), ODD_NAME),
    "no folder": (records("x/data.pkl", "top"), ODD_NAME),
    "a name twice": (records("x/data.pkl", "y/data.pkl"), ODD_NAME),
    "two folders": (records("x/data.pkl", "y/version"), NO_PICKLE),
    "no pickle": (records("x/version"), NO_PICKLE),
    "big-endian": (records("x/data.pkl", "x/byteorder", byteorder=b"big"), BIG),
    "neither": (records("x/data.pkl", "x/byteorder", byteorder=b"little?"), BIG),
    "deflated": (records("x/data.pkl", method=zipfile.ZIP_DEFLATED), PACKED),
    "encrypted": (patched(ENTRY, 8, b"\x01"), PACKED),
    "two sizes": (patched(ENTRY, 20, b"\x03"), PAST_END),
    "a size past the end": (patched(ENTRY, 20, b"\xff\x00\x00\x00\xff"), PAST_END),
    "a name past the end": (patched(HEADER, 26, b"\xff\xff"), PAST_END),
    "a start elsewhere": (patched(ENTRY, 42, b"\x01"), NO_HEADER),
    "a start past the end": (patched(ENTRY, 42, b"\xff"), NO_HEADER),
    "overlapping records": (overlapping(3), "its records overlap"),
    "many records": (overlapping(100), "its records overlap"),
    "very many records": (overlapping(101), "101 records; a .pt file of tensors has a few"),
    "a large pickle": (lambda path: pickled(path, bytes(1000)), "its pickle is malformed"),
    "a huge pickle": (lambda path: pickled(path, bytes(1001)), "its pickle has 1001 bytes, more than any file of"),
}


@pytest.mark.parametrize(("make", "reason"), REFUSED.values(), ids=REFUSED)
def test_no_pt_file_is_refused(make: Make, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no zip, and a zip that no writer of .pt files makes, is a `FileFormatError` that says why.

    A path that cannot be opened is an `InputError`, with the system's reason.
    """
    assert (reading.MAX_RECORDS, reading.MAX_PICKLE_BYTES) == (100_000, 64 << 20)
    monkeypatch.setattr(reading, "MAX_RECORDS", 100)  # smaller files do for both
    monkeypatch.setattr(reading, "MAX_PICKLE_BYTES", 1000)
    make(tmp_path / "x.pt")
    with pytest.raises(FileFormatError, match=rf"^{tmp_path}/x\.pt: .*{reason}"):
        read_pt(tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"none\.pt: No such file"):
        read_pt(tmp_path / "none.pt")
