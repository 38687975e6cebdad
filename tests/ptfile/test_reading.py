from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmprep.errors import FileFormatError, InputError
from llmprep.ptfile.layout import DTYPES, Plain, TensorView
from llmprep.ptfile.pickles import MAX_DEPTH
from llmprep.ptfile.reading import PtFile, is_zip, read_pt
from llmprep.ptfile.writing import write_pt


def save(path: Path, value: object, **choices: Any) -> Path:
    """Write with ``torch.save``."""
    torch.save(value, path, **choices)
    return path


def zip_of(path: Path, records: Mapping[str, bytes]) -> Path:
    """Write a zip of stored records with right checksums, whatever they hold."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            archive.writestr(f"x/{name}", data)
    return path


def small_file(path: Path) -> Path:
    """A file of llmprep's with a tensor, overlapping views and plain values."""
    ids = np.arange(10, dtype="<u2")
    views = {key: TensorView(0, "uint16", (4, 3), (2, 1), offset) for offset, key in enumerate(("x", "y"))}
    meta: dict[str, Plain] = {"kind": "windows", "numbers": [1, 2**40, -1, 0.5], "part": None, "whole": True}
    sink = io.BytesIO()
    write_pt(sink, [[ids.data]], lambda _: {**views, "meta": meta})
    path.write_bytes(sink.getvalue())
    return path


def content(file: PtFile) -> tuple[object, ...]:
    """All that a file holds, in a form that can be compared."""
    return (
        {key: (array.shape, array.dtype, array.tobytes()) for key, array in file.tensors.items()},
        dict(file.dtypes),
        dict(file.values),
    )


# --- files of torch.save --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_reads_every_dtype_of_torch(dtype: str, tmp_path: Path) -> None:
    """A tensor that torch saved has the same bits, shape and dtype here."""
    bits = torch.randint(0, 2 if dtype == "bool" else 256, (3, 4, 16), dtype=torch.uint8)
    tensor = bits.view(getattr(torch, dtype))

    file = read_pt(save(tmp_path / "x.pt", {"x": tensor}))

    assert file.dtypes == {"x": dtype}
    assert file.tensors["x"].shape == tensor.shape
    assert file.tensors["x"].tobytes() == bits.numpy().tobytes()


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x[2:5, 1:],
        lambda x: x.t(),
        lambda x: x[:, ::2],
        lambda x: x.unfold(0, 3, 1)[0],
        lambda x: x.view(-1).unfold(0, 7, 2),
        lambda x: x[3, 4],
        lambda x: x[:0],
        lambda x: x.view(2, 3, 1, 8).permute(3, 1, 0, 2),
    ],
    ids=["slice", "transposed", "columns", "unfolded", "windows", "scalar", "empty", "permuted"],
)
def test_reads_views_of_torch(make: Any, tmp_path: Path) -> None:
    """Views that are not contiguous, with offsets and any strides, come back equal."""
    tensor = make(torch.arange(48).view(6, 8))

    array = read_pt(save(tmp_path / "x.pt", {"x": tensor})).tensors["x"]

    assert array.shape == tensor.shape
    assert array.tolist() == tensor.tolist()


def test_views_of_one_storage_stay_one(tmp_path: Path) -> None:
    """Overlapping windows that torch saved share memory here too, and it is the file's: nothing is copied."""
    ids = torch.arange(100)
    windows = ids.unfold(0, 5, 1)

    file = read_pt(save(tmp_path / "x.pt", {"x": windows[:, :-1], "y": windows[:, 1:], "ids": ids}))

    assert np.shares_memory(file.tensors["x"], file.tensors["y"])
    assert np.shares_memory(file.storages["x"], file.tensors["ids"])
    assert file.storages["y"].tolist() == list(range(100))
    assert not any(array.flags.writeable for array in (*file.tensors.values(), *file.storages.values()))


def test_reads_a_state_dict(tmp_path: Path) -> None:
    """A module's ``state_dict``, an OrderedDict with ``_metadata`` as attribute, is read as its tensors."""
    state = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).state_dict()
    assert isinstance(state, OrderedDict)
    assert hasattr(state, "_metadata")

    file = read_pt(save(tmp_path / "x.pt", state))

    assert {key: array.tolist() for key, array in file.tensors.items()} == {k: t.tolist() for k, t in state.items()}
    assert not file.values


@pytest.mark.parametrize("protocol", [2, 3])
def test_reads_plain_values_of_torch(protocol: int, tmp_path: Path) -> None:
    """Plain values beside tensors come back equal; a flat tuple becomes a list."""
    meta = {"n": 2**70, "f": -0.5, "s": "caf\u00e9", "l": [1, [True, None]], "d": {"": {}}, "long": "x" * 300}

    file = read_pt(save(tmp_path / "x.pt", {"meta": meta, "t": (1, "a")}, pickle_protocol=protocol))

    assert dict(file.values) == {"meta": meta, "t": [1, "a"]}
    assert file.meta == meta


def test_a_file_without_meta_has_an_empty_one(tmp_path: Path) -> None:
    """Where ``meta`` is missing or no dict, `PtFile.meta` is empty."""
    file = read_pt(save(tmp_path / "x.pt", {"meta": [1]}))

    assert file.meta == {}


def test_reads_an_open_file_without_a_name(tmp_path: Path) -> None:
    """An unnamed file is read through its descriptor; the arrays outlive it."""
    with save(tmp_path / "x.pt", {"x": torch.arange(5)}).open("rb") as opened:
        (tmp_path / "x.pt").unlink()
        file = read_pt(opened, "standard input")

    assert file.name == "standard input"
    assert file.tensors["x"].tolist() == [0, 1, 2, 3, 4]


def test_values_that_torch_shares_are_read(tmp_path: Path) -> None:
    """One tensor and one string under several keys, which torch stores once, are read under each."""
    tensor, text = torch.arange(3), "story.txt"

    file = read_pt(save(tmp_path / "x.pt", {"a": tensor, "b": tensor, "c": text, "d": [text, text]}))

    assert file.tensors["a"].tolist() == file.tensors["b"].tolist() == [0, 1, 2]
    assert file.values == {"c": text, "d": [text, text]}


# --- what is no such file -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"", b"P", b"PK\x03\x04", b"PK\x03\x04" * 100, b"A plain text.\n" * 99, b'{"x": [1, 2]}', b"\x80\x02}q\x00."],
    ids=["empty", "one byte", "magic", "magics", "text", "json", "pickle"],
)
def test_refuses_what_is_no_zip(data: bytes, tmp_path: Path) -> None:
    """Anything but a zip is ``not a .pt file``."""
    path = tmp_path / "x.pt"
    path.write_bytes(data)

    with pytest.raises(FileFormatError, match=r"x\.pt: not a \.pt file"):
        read_pt(path)


def test_refuses_the_format_before_zip(tmp_path: Path) -> None:
    """The old format of torch, a bare pickle, is ``not a .pt file``."""
    path = save(tmp_path / "x.pt", {"x": torch.arange(3)}, _use_new_zipfile_serialization=False)

    with pytest.raises(FileFormatError, match=r"not a \.pt file"):
        read_pt(path)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    """A path that cannot be opened is an `InputError` that names it, with the system's reason."""
    with pytest.raises(InputError, match=r"none\.pt: No such file"):
        read_pt(tmp_path / "none.pt")


def test_first_bytes_tell_a_zip(tmp_path: Path) -> None:
    """`is_zip` knows a .pt file by its beginning, and no text."""
    assert is_zip(small_file(tmp_path / "x.pt").read_bytes()[:4])
    assert not is_zip(b"PK")
    assert not is_zip(b"The ")


def test_truncation_at_every_length_is_an_error(tmp_path: Path) -> None:
    """No beginning of a file, however long, passes for a file."""
    path = small_file(tmp_path / "x.pt")

    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        with pytest.raises(FileFormatError):
            read_pt(path)


def flips(path: Path, places: Iterator[tuple[int, int]]) -> Iterator[str]:
    """Flip each (byte, bit) of a file in turn; yield where that gave other content without an error."""
    whole = content(read_pt(path))
    data = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for byte, bit in places:
            os.pwrite(file.fileno(), bytes([data[byte] ^ 1 << bit]), byte)
            file.seek(0)
            try:
                if content(read_pt(file, "flipped")) != whole:
                    yield f"bit {bit} of byte {byte}"
            except FileFormatError:
                pass
            os.pwrite(file.fileno(), data[byte : byte + 1], byte)


@pytest.mark.parametrize("writer", ["ours", "torch"])
def test_every_flipped_bit_is_found(writer: str, tmp_path: Path) -> None:
    """One flipped bit is a `FileFormatError` or changes nothing: never other ids, never a crash."""
    path = tmp_path / "x.pt"
    small_file(path) if writer == "ours" else save(path, {"x": torch.arange(5), "n": 1})
    places = ((byte, bit) for byte in range(path.stat().st_size) for bit in range(8))

    assert list(flips(path, places)) == []


@pytest.mark.parametrize("record", ["data/0", "data.pkl", "byteorder", "version"])
def test_damage_in_a_record_names_it(record: str, tmp_path: Path) -> None:
    """A changed byte of any record is a checksum error with the record's name."""
    path = small_file(tmp_path / "x.pt")
    whole = path.read_bytes()
    held = zipfile.ZipFile(path).read(f"archive/{record}")
    place = whole.index(held, whole.index(f"archive/{record}".encode()))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])

    with pytest.raises(FileFormatError, match=rf"checksum of record 'archive/{record}'"):
        read_pt(path)


def test_the_checksum_can_be_left_out(tmp_path: Path) -> None:
    """``check_crc=False`` reads damaged data as it is: for files that were checked before."""
    path = small_file(tmp_path / "x.pt")
    whole = path.read_bytes()
    place = whole.index(np.arange(10, dtype="<u2").tobytes())
    path.write_bytes(whole[:place] + b"\x07" + whole[place + 1 :])

    assert read_pt(path, check_crc=False).tensors["x"][0, 0] == 7


# --- hostile zips ---------------------------------------------------------------------------------

EMPTY = b"\x80\x02}."


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ({"x/data.pkl": EMPTY, "x/../evil": b""}, "unsafe"),
        ({"x/data.pkl": EMPTY, "../evil": b""}, "unsafe"),
        ({"x/data.pkl": EMPTY, "y/data.pkl": EMPTY}, "duplicate"),
        ({"x/data.pkl": EMPTY, "y/version": b"3\n"}, "no data.pkl"),
        ({"x/data.pkl": EMPTY, "top": b""}, "unsafe"),
        ({"x/version": b"3\n"}, "no data.pkl"),
        ({}, "not a .pt file"),
        ({"x/data.pkl": EMPTY, "x/byteorder": b"big"}, "big-endian"),
    ],
)
def test_refuses_records_that_no_pt_file_has(records: dict[str, bytes], reason: str, tmp_path: Path) -> None:
    """Names that leave the archive, stand twice or miss are refused, as are big-endian files."""
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        for name, data in records.items():
            archive.writestr(name, data)

    with pytest.raises(FileFormatError, match=reason):
        read_pt(tmp_path / "x.pt")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_refuses_compressed_records(method: int, tmp_path: Path) -> None:
    """A compressed record, which could unfold to any size, is refused before it is opened."""
    with zipfile.ZipFile(tmp_path / "x.pt", "w", method) as archive:
        archive.writestr("x/data.pkl", EMPTY)

    with pytest.raises(FileFormatError, match="is compressed or encrypted"):
        read_pt(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("count", "reason"), [(10_000, "its records overlap"), (100_001, "100001 records; a")], ids=["many", "too many"]
)
def test_refuses_a_directory_that_lies(count: int, reason: str, tmp_path: Path) -> None:
    """Many directory entries for the same bytes, which would be read once for each, are refused."""
    path = zip_of(tmp_path / "x.pt", {"data.pkl": EMPTY, "data/0": bytes(1 << 20)})
    whole = path.read_bytes()
    first = whole.index(b"PK\x01\x02")
    second, end = whole.index(b"PK\x01\x02", first + 1), whole.index(b"PK\x05\x06")
    copies = (whole[second:end].replace(b"data/0", b"%06x" % k) for k in range(count - 1))
    directory = whole[first:second] + b"".join(copies)
    n = min(count, 0xFFFF)
    closing = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, n, n, len(directory), first, 0)
    path.write_bytes(whole[:first] + directory + closing)

    with pytest.raises(FileFormatError, match=reason):
        read_pt(path)


# --- hostile pickles ------------------------------------------------------------------------------


def utf8(text: str) -> bytes:
    """The opcode that pushes a short text."""
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def integer(number: int) -> bytes:
    """The opcode that pushes a number."""
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(values: tuple[int, ...]) -> bytes:
    """The opcodes that push a tuple of numbers."""
    return b"(" + b"".join(map(integer, values)) + b"t"


def storage(kind: str = "torch\nLongStorage") -> bytes:
    """The opcodes that push the storage of record data/0."""
    return b"(" + utf8("storage") + f"c{kind}\n".encode() + utf8("0") + utf8("cpu") + integer(4) + b"tQ"


def tensor(
    shape: tuple[int, ...] = (2,),
    strides: tuple[int, ...] = (1,),
    offset: int = 0,
    kind: str = "torch\nLongStorage",
    dtype: str = "",
) -> bytes:
    """The opcodes that push a tensor over record data/0; one with a dtype of its own is torch's third version."""
    place = integer(offset) + numbers(shape) + numbers(strides)
    arguments = storage(kind) + place + b"\x89ccollections\nOrderedDict\n)R"
    version = 3 if dtype else 2
    named = f"ctorch\n{dtype}\n".encode() if dtype else b""
    return f"ctorch._utils\n_rebuild_tensor_v{version}\n(".encode() + arguments + named + b"tR"


def dict_with(value: bytes) -> bytes:
    """A pickle of a dict with one value under the key ``x``."""
    return b"\x80\x02}" + utf8("x") + value + b"s."


def read_pickle(path: Path, data: bytes, record: bytes = bytes(32)) -> PtFile:
    """Read a file of that pickle and one record of four int64."""
    return read_pt(zip_of(path / "x.pt", {"data.pkl": data, "data/0": record, "version": b"3\n"}))


def test_the_tensor_that_the_hostile_ones_start_from_is_sound(tmp_path: Path) -> None:
    """The builder of the tests below makes a readable tensor, so what they change is what is refused."""
    file = read_pickle(tmp_path, dict_with(tensor(shape=(2,), offset=2)), np.arange(4, dtype="<i8").tobytes())

    assert file.tensors["x"].tolist() == [2, 3]


def test_a_named_dtype_counts_as_in_torch(tmp_path: Path) -> None:
    """Where storage and tensor name different dtypes, the tensor's counts, as in ``torch.load``."""
    data = dict_with(tensor(shape=(3,), offset=1, dtype="int32"))

    file = read_pickle(tmp_path, data, np.arange(8, dtype="<i4").tobytes())

    loaded = torch.load(tmp_path / "x.pt", weights_only=True)["x"]
    assert file.dtypes == {"x": "int32"}
    assert file.tensors["x"].tolist() == loaded.tolist() == [1, 2, 3]


def parameter(value: bytes, *, trained: bytes = b"\x88", hooks: bytes = b"ccollections\nOrderedDict\n)R") -> bytes:
    """The opcodes that make a Parameter of a value."""
    return b"ctorch._utils\n_rebuild_parameter\n(" + value + trained + hooks + b"tR"


def test_a_parameter_is_its_tensor(tmp_path: Path) -> None:
    """Parameters, trained or not, and tied to each other, are read as the tensors that torch reads."""
    tied = torch.nn.Embedding(4, 3).weight
    torch.save(
        {"a": tied, "b": tied, "c": torch.nn.Parameter(torch.arange(4.0), requires_grad=False)}, tmp_path / "x.pt"
    )

    file = read_pt(tmp_path / "x.pt")

    loaded = torch.load(tmp_path / "x.pt", weights_only=True)
    assert {key: array.tolist() for key, array in file.tensors.items()} == {k: v.tolist() for k, v in loaded.items()}
    assert set(file.dtypes.values()) == {"float32"}


@pytest.mark.parametrize(
    "value",
    [
        parameter(integer(1)),
        parameter(tensor(), trained=integer(1)),
        parameter(tensor(), hooks=b"}" + utf8("k") + integer(1) + b"s"),
        parameter(tensor(shape=(5,))),
        parameter(storage()),
        b"ctorch._utils\n_rebuild_parameter\n(" + tensor() + b"tR",
        b"ctorch._utils\n_rebuild_parameter_with_state\n(" + tensor() + b"\x88}}tR",
    ],
    ids=["a number", "no flag", "hooks", "too large", "a storage", "one argument", "with state"],
)
def test_a_parameter_of_something_else_is_refused(value: bytes, tmp_path: Path) -> None:
    """Only a tensor, a flag and no hooks make a Parameter."""
    with pytest.raises(FileFormatError, match="nothing was run"):
        read_pickle(tmp_path, dict_with(value))


edits = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3), st.binary(max_size=3)), max_size=4)


@given(edits=edits)
def test_a_changed_pickle_is_refused_or_means_the_same_to_torch(
    edits: list[tuple[float, int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However a pickle is edited, there is no crash, and what torch reads too it reads alike."""
    folder, sink = tmp_path_factory.getbasetemp(), io.BytesIO()
    x = torch.arange(12)
    torch.save({"s": torch.nn.Linear(2, 2).state_dict(), "x": x[2:], "y": x.view(3, 4)[1:], "m": {"a": [1, 0.5]}}, sink)
    archive = zipfile.ZipFile(sink)
    records = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    changed = bytearray(records["data.pkl"])
    for place, dropped, added in edits:
        start = int(place * len(changed))
        changed[start : start + dropped] = added

    path = zip_of(folder / "changed.pt", {**records, "data.pkl": bytes(changed)})
    loaded: dict[str, torch.Tensor] | None = None
    with suppress(Exception):  # torch refuses in many ways
        loaded = torch.load(path, weights_only=True)
    try:
        file = read_pt(path)
    except FileFormatError:
        return
    if loaded is not None:
        assert {k: v.tolist() for k, v in file.tensors.items()} == {k: loaded[k].tolist() for k in file.tensors}


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": (5,)},
        {"shape": (4,), "offset": 1},
        {"shape": (3,), "strides": (2,)},
        {"shape": (2, 2), "strides": (3, 1)},
        {"shape": (0,), "offset": 5},
        {"shape": (10**12,)},
        {"shape": (10**6, 10**6), "strides": (0, 0)},
        {"shape": (2,), "strides": (0,)},
        {"shape": (2,), "offset": -1},
        {"shape": (-1,)},
        {"shape": (-2, -2), "strides": (1, 1)},
        {"shape": (2,), "strides": (-1,), "offset": 1},
        {"shape": (2, 1)},
        {"shape": (), "strides": (1,)},
        {"shape": (2**62,)},
        {"shape": (2**32, 2**32), "strides": (2**32, 1)},
        {"shape": (2**64 + 1,)},
        {"shape": (1,) * 70, "strides": (1,) * 70},
        {"shape": (2, 2, 2), "strides": (1, 1, 1)},
        {"kind": "torch\nComplexFloatStorage"},
        {"kind": "torch\nint64"},
        {"dtype": "complex64"},
        {"dtype": "LongStorage"},
        {"kind": "torch.storage\nUntypedStorage"},
    ],
    ids=str,
)
def test_refuses_tensors_that_do_not_fit(wrong: dict[str, Any], tmp_path: Path) -> None:
    """Sizes, strides and offsets that leave the record, or repeat it, are refused."""
    with pytest.raises(FileFormatError, match=r"x\.pt: refused, nothing was run|x\.pt: its pickle is malformed"):
        read_pickle(tmp_path, dict_with(tensor(**wrong)))


@pytest.mark.parametrize(
    "odd",
    [
        {"shape": (1, 3), "strides": (2**61, 1)},
        {"shape": (0, 2**61), "strides": (1, 1)},
        {"shape": (0, 2), "strides": (2**61, 2**61)},
        {"shape": (3, 1), "strides": (1, 2**61)},
        {"shape": (0, 2**40, 2**40), "strides": (1, 1, 1)},
        {"shape": (2**61, 0), "strides": (0, 2**61)},
    ],
    ids=str,
)
def test_odd_sizes_of_what_holds_nothing(odd: dict[str, Any], tmp_path: Path) -> None:
    """A stride that no element needs is no fault, however large; what cannot be held is refused like any other."""
    try:
        file = read_pickle(tmp_path, dict_with(tensor(**odd)))
    except FileFormatError:
        assert 0 in odd["shape"]
        return
    (array,) = file.tensors.values()
    assert array.shape == odd["shape"]


def test_refuses_a_record_of_half_an_element(tmp_path: Path) -> None:
    """A record whose size is no multiple of its dtype's is refused."""
    with pytest.raises(FileFormatError, match="its record"):
        read_pickle(tmp_path, dict_with(tensor()), bytes(31))


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        """What pickle writes."""
        return self._call


DEEP = 100_000
MALFORMED = {
    "no stop": b"\x80\x02}",
    "nothing": b"",
    "only stop": b".",
    "two values": b"\x80\x02}}.",
    "mark missing": b"\x80\x02}u.",
    "odd items": b"\x80\x02}(" + utf8("x") + b"u.",
    "memo missing": b"\x80\x02}" + utf8("x") + b"h\x07s.",
    "reduce nothing": b"\x80\x02R.",
    "tuple of nothing": b"\x80\x02\x87.",
    "text cut short": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "text not UTF-8": dict_with(b"X\x01\x00\x00\x00\xff"),
    "lone surrogate": dict_with(b"X\x03\x00\x00\x00\xed\xa0\x80"),
    "unknown opcode": b"\x80\x02\xff.",
    "protocol 5": b"\x80\x05}.",
    "pop": dict_with(b"N0N"),
    "bytes": pickle.dumps({"x": b"data"}, 4),
    "set": pickle.dumps({"x": {1}}, 4),
    "key is a number": pickle.dumps({1: 1}, 2),
    "key stands twice": b"\x80\x02}(" + (utf8("x") + b"N") * 2 + b"u.",
    "not a dict": pickle.dumps([1], 2),
    "a tensor alone": b"\x80\x02" + tensor() + b".",
    "append to a dict": b"\x80\x02}Na.",
    "set on a list": b"\x80\x02]" + utf8("x") + b"Ns.",
    "attributes": b"\x80\x02}}" + utf8("x") + b"Nsb.",
    "a name as value": dict_with(b"ctorch\nLongStorage\n"),
    "a tensor without a storage": dict_with(tensor().replace(storage(), b"N")),
    "a storage as value": dict_with(storage()),
    "storage of another record": dict_with(tensor().replace(utf8("0"), utf8("1"))),
    "storage outside": dict_with(tensor().replace(utf8("0"), utf8("../data.pkl"))),
    "storage id is a text": dict_with(utf8("storage") + b"Q"),
    "dict called": dict_with(b"}" + b")R"),
    "ordered dict with items": dict_with(b"ccollections\nOrderedDict\n(]tR"),
    "deep lists": dict_with(b"]" * DEEP + b"a" * (DEEP - 1)),
    "deep dicts": dict_with((b"}" + utf8("x")) * DEEP + b"N" + b"s" * DEEP),
    "deep tuples": dict_with(b")" + b"\x85" * DEEP),
    "deep shape": dict_with(tensor().replace(numbers((2,)), b")" + b"\x85" * DEEP, 1)),
    "a list holds itself": b"\x80\x02}" + utf8("x") + b"]q\x00h\x00as.",
    "a list in itself many times": b"\x80\x02}" + utf8("x") + b"]q\x00" + b"(" + b"h\x00" * 9 + b"es.",
    "a name without end": dict_with(b"cos\n" + b"x" * DEEP + b"\n"),
    "numbers beyond any shape": dict_with(tensor().replace(numbers((2,)), b"(" + b"\x8a\xfe" + b"\x7f" * 254 + b"t")),
}  # fmt: skip


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_refuses_pickles_of_anything_else(data: bytes, tmp_path: Path) -> None:
    """A pickle that is malformed, or describes more than tensors and plain values, is a `FileFormatError`."""
    with pytest.raises(FileFormatError, match=r"^x\.pt: [^\n]{,400}$"):
        read_pt(zip_of(tmp_path / "x.pt", {"data.pkl": data, "data/0": bytes(32)}), "x.pt")


@pytest.mark.parametrize("levels", [MAX_DEPTH - 2, MAX_DEPTH])
def test_nesting_has_a_limit(levels: int, tmp_path: Path) -> None:
    """Values nested as deep as the limit are read, deeper ones are refused."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    pickled = pickle.dumps({"x": value}, 2)

    if levels < MAX_DEPTH - 1:
        assert read_pickle(tmp_path, pickled).values == {"x": value}
    else:
        with pytest.raises(FileFormatError, match=f"nested more than {MAX_DEPTH} deep"):
            read_pickle(tmp_path, pickled)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function", [os.mkdir, eval, exec, getattr, __import__, print, bytes, dict], ids=repr)
def test_runs_no_function(function: Any, protocol: int, tmp_path: Path) -> None:
    """No function is called, in whatever protocol and at whatever place the pickle asks for it."""
    canary = tmp_path / "canary"
    argument = f"__import__('os').mkdir({str(canary)!r})" if function in (eval, exec) else str(canary)
    data = pickle.dumps({"x": [Calls(function, argument)]}, protocol)

    with pytest.raises(FileFormatError):
        read_pickle(tmp_path, data)

    assert not canary.exists()


def test_a_refusal_says_which_name_the_pickle_asked_for(tmp_path: Path) -> None:
    """The error names the function, so that a reader can judge the file."""
    with pytest.raises(FileFormatError, match=r"refused, nothing was run: the pickle names posix\.system"):
        read_pickle(tmp_path, pickle.dumps(Calls(os.system, "true"), 2))


def test_values_of_torch_that_are_no_tensors_are_refused(tmp_path: Path) -> None:
    """A whole module is more than tensors: save its ``state_dict`` instead."""
    for value in ({"x": torch.nn.Linear(2, 2)}, torch.nn.Linear(2, 2)):
        with pytest.raises(FileFormatError, match="the pickle names torch"):
            read_pt(save(tmp_path / "x.pt", value))
