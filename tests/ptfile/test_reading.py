"""Promises of reading: what torch saved comes back bit for bit, and what is damaged or no .pt file is refused."""

import io
import os
import zipfile
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.ptfiles import pt_bytes, small_file, zip_bytes

from llmprep.errors import FileFormatError, InputError
from llmprep.ptfile import reading
from llmprep.ptfile.layout import DTYPES, TensorView
from llmprep.ptfile.reading import file_state, read_pt

BITS = torch.arange(192, dtype=torch.uint8).view(3, 4, 16)
GRID = torch.arange(48).view(6, 8)
PLAIN: dict[str, Any] = {
    "meta": {"n": 2**70, "f": -0.5, "s": "caf\u00e9", "l": [1, [True, None]], "d": {"": {}}, "long": "x" * 300},
    "t": (1, "a"),
    **{str(number): number for number in (0, 255, 256, 65535, 65536, -1, 2**31, -(2**40))},
}


@pytest.mark.parametrize(
    ("values", "protocol"),
    [
        ({dtype: (BITS % 2 if dtype == "bool" else BITS).clone().view(getattr(torch, dtype)) for dtype in DTYPES}, 2),
        ({"a": GRID[2:5, 1:], "b": GRID.t(), "c": GRID[:, ::2], "d": GRID.unfold(0, 3, 1)[0], "e": GRID[3, 4],
          "f": GRID, "g": GRID.view(-1).unfold(0, 7, 2), "h": GRID.view(2, 3, 1, 8).permute(3, 1, 0, 2),
          "i": GRID[:0], "j": GRID, "k": ["x", "x"], "meta": [1]}, 3),
        (torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).state_dict(), 2),
        (dict.fromkeys("ab", torch.nn.Embedding(4, 3).weight) | {"c": torch.nn.Parameter(BITS / 2, False)}, 2),  # noqa: FBT003
        *((PLAIN, protocol) for protocol in (2, 3, 4)),
    ],
)  # fmt: skip
def test_what_torch_saved_is_read(values: dict[str, Any], protocol: int, tmp_path: Path) -> None:
    """Tensors of any dtype and strides, shared ones, Parameters and plain values are as saved; a tuple is a list."""
    torch.save(values, tmp_path / "x.pt", pickle_protocol=protocol)
    file = read_pt(tmp_path / "x.pt")
    assert [*file.tensors, *file.values] == list(values)
    assert file.meta == (PLAIN["meta"] if values is PLAIN else {})
    for key, value in values.items():
        if isinstance(value, torch.Tensor):
            bits = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            assert (f"torch.{file.dtypes[key]}", file.tensors[key].shape) == (str(value.dtype), value.shape)
            assert file.tensors[key].tobytes() == bits
        else:
            assert file.values[key] == (list(value) if isinstance(value, tuple) else value)


def test_arrays_are_views_of_the_file(tmp_path: Path) -> None:
    """Overlapping windows share memory, of the file, though it has no name any more; private ones may be written."""
    ids, path = torch.arange(100), tmp_path / "x.pt"
    windows = ids.unfold(0, 5, 1)
    torch.save({"x": windows[:, :-1], "y": windows[:, 1:], "ids": ids}, path)
    with path.open("rb") as opened:
        path.unlink()
        private = read_pt(opened, private=True)
        opened.seek(0)
        shown = read_pt(opened)
    for file in (private, shown):
        assert file.tensors["x"].tolist() == windows[:, :-1].tolist()
        assert file.storages["y"].tolist() == ids.tolist()
        assert np.shares_memory(file.tensors["x"], file.tensors["y"])
        assert np.shares_memory(file.storages["x"], file.tensors["ids"])
        writeable = {array.flags.writeable for array in (*file.tensors.values(), *file.storages.values())}
        assert writeable == {file is private}


def test_what_is_known_is_not_checked_again(tmp_path: Path) -> None:
    """Damage is found, unless the caller leaves the check out or knows the very file; each file says what was done."""
    sound = read_pt(path := small_file(tmp_path / "x.pt"))
    path.write_bytes(path.read_bytes().replace(bytes([0, 0, 1, 0, 2, 0]), bytes([7, 0, 1, 0, 2, 0])))  # the first id
    state = file_state(path.stat())
    assert sound.checked
    assert sound.state != state
    for file in (read_pt(path, check_crc=False), read_pt(path, known=state)):
        assert (file.checked, file.state, file.tensors["x"][0, 0]) == (False, state, 7)
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


def shown(path: Path) -> str:
    """All that a small file holds."""
    file = read_pt(path)
    return repr((file.tensors, file.dtypes, file.values))


@pytest.mark.parametrize("step", [7, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("theirs", [False, True])
def test_damage_is_found(theirs: bool, step: int, tmp_path: Path) -> None:
    """One flipped bit of any byte is an error or changes nothing: no other ids, no crash. A part is an error."""
    path = small_file(tmp_path / "x.pt")
    if theirs:
        torch.save({"x": torch.arange(5), "n": 1}, path)
    data, sound = path.read_bytes(), shown(path)
    with path.open("r+b", buffering=0) as file:
        for byte, bit in (divmod(place, 8) for place in range(0, 8 * len(data), step)):
            os.pwrite(file.fileno(), bytes([data[byte] ^ 1 << bit]), byte)
            with suppress(FileFormatError):
                assert shown(path) == sound
            os.pwrite(file.fileno(), data[byte : byte + 1], byte)
    for length in reversed(range(len(data))):
        os.truncate(path, length)
        with pytest.raises(FileFormatError, match=r"x\.pt: not a \.pt file"):
            read_pt(path)


def records(*names: str, byteorder: bytes = b"little", method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of records with these names."""
    return zip_bytes({name: byteorder if "byteorder" in name else b"\x80\x02}." for name in names}, method)


def patched(magic: bytes, offset: int, value: bytes) -> bytes:
    """A zip of which some bytes are others, counted from the first header that begins so."""
    data = bytearray(records("x/data.pkl", "x/version"))
    place = data.index(magic) + offset
    data[place : place + len(value)] = value
    return bytes(data)


def overlapping() -> bytes:
    """A zip with two entries for the same bytes, each of which would be read."""
    with zipfile.ZipFile(sink := io.BytesIO(), "w") as archive:
        archive.writestr("x/data.pkl", bytes(1 << 20))
        archive.filelist.append(twin := copy(archive.filelist[0]))
        twin.filename = "x/0"
    return sink.getvalue()


NO_PT, NO_PICKLE, BIG = r"not a \.pt file", "it has no data.pkl", "was written on a big-endian machine; convert it"
ODD_NAME, PACKED, PAST_END = "unsafe or duplicate record name", "is compressed or encrypted", "reaches past the end"
HEADER, ENTRY, NO_HEADER = b"PK\x03\x04", b"PK\x01\x02", "has no header where it should be"
REFUSED = {
    "a zip at the end of a text": (b"A text.\n" + pt_bytes([], {}), NO_PT),
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
    "overlapping records": (overlapping(), "its records overlap"),
    "many records": (records(*(f"x/{k}" for k in range(100))), NO_PICKLE),
    "too many records": (records(*(f"x/{k}" for k in range(101))), "101 records; a .pt file of tensors has a few"),
    "a large pickle": (zip_bytes({"x/data.pkl": bytes(1000)}), "its pickle is malformed"),
    "a huge pickle": (zip_bytes({"x/data.pkl": bytes(1001)}), "its pickle has 1001 bytes, more than any file of"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_no_pt_file_is_refused(data: bytes, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no zip, and a zip that no writer of .pt files makes, is an error that says why; so is what is missing."""
    assert (reading.MAX_RECORDS, reading.MAX_PICKLE_BYTES) == (100_000, 64 << 20)
    monkeypatch.setattr(reading, "MAX_RECORDS", 100)  # smaller files do for both
    monkeypatch.setattr(reading, "MAX_PICKLE_BYTES", 1000)
    (tmp_path / "x.pt").write_bytes(data)
    with pytest.raises(FileFormatError, match=rf"^{tmp_path}/x\.pt: .*{reason}"):
        read_pt(tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"^the input: No such file"):
        read_pt(tmp_path / "none.pt", "the input")
