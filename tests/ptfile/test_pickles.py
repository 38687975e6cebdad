"""Promises of pickles: nothing in them is run, and what is not plain values and sound tensors is refused."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ptfiles import dict_with, integer, numbers, parameter, pickled, storage, tensor, utf8, zip_of

from llmprep.errors import FileFormatError
from llmprep.ptfile import pickles
from llmprep.ptfile.reading import read_pt


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


SOUND: list[tuple[dict[str, Any], list[Any]]] = [
    ({"shape": (4,)}, [0, 1, 2, 3]),
    ({"shape": (3, 2), "strides": (1, 1)}, [[0, 1], [1, 2], [2, 3]]),
    ({"shape": (3,), "offset": 1, "dtype": "int32"}, [0, 1, 0]),
    ({"shape": (1, 3), "strides": (2**61, 1)}, [[0, 1, 2]]),
    ({"shape": (3, 1), "strides": (1, 2**61)}, [[0], [1], [2]]),
    ({"shape": (2, 1), "strides": (3, 0)}, [[0], [3]]),
    ({"shape": (0, 2), "strides": (2**61, 2**61)}, []),
    ({"shape": (0,), "offset": 4}, []),
]


@pytest.mark.parametrize(("chosen", "values"), SOUND, ids=str)
def test_sound_tensors_are_as_torch_reads_them(chosen: dict[str, Any], values: list[Any], tmp_path: Path) -> None:
    """A tensor may fill its record, name another dtype than its storage, and have a stride that no element needs."""
    path = pickled(tmp_path / "x.pt", dict_with(tensor(**chosen)), np.arange(4, dtype="<i8").tobytes())
    file = read_pt(path)
    assert file.dtypes == {"x": chosen.get("dtype", "int64")}
    assert file.tensors["x"].tolist() == torch.load(path, weights_only=True)["x"].tolist() == values


REBUILD = b"ctorch._utils\n_rebuild_parameter"
UNFIT = [
    {"shape": (5,)}, {"shape": (4,), "offset": 1}, {"shape": (3,), "strides": (2,)}, {"shape": (0,), "offset": 5},
    {"shape": (2, 2), "strides": (3, 1)}, {"shape": (10**12,)}, {"shape": (10**6, 10**6), "strides": (0, 0)},
    {"shape": (2,), "strides": (0,)}, {"shape": (2, 2), "strides": (0, 1)}, {"shape": (2,), "offset": -1},
    {"shape": (-1,)}, {"shape": (-2, -2), "strides": (1, 1)}, {"shape": (2,), "strides": (-1,), "offset": 1},
    {"shape": (2, 1)}, {"shape": (), "strides": (1,)}, {"shape": (2**62,)}, {"shape": (2**64 + 1,)},
    {"shape": (2**32, 2**32), "strides": (2**32, 1)}, {"shape": (1,) * 70, "strides": (1,) * 70},
    {"shape": (2, 2, 2), "strides": (1, 1, 1)}, {"shape": (0, 2**40, 2**40), "strides": (1, 1, 1)},
    {"shape": (1,), "strides": (2**62,)}, {"kind": "torch\nComplexFloatStorage"}, {"kind": "torch\nint64"},
    {"kind": "torch.storage\nUntypedStorage"}, {"dtype": "complex64"}, {"dtype": "LongStorage"},
]  # fmt: skip
NO_PARAMETER = {
    "a number": parameter(integer(1)), "no flag": parameter(tensor(), trained=integer(1)),
    "hooks": parameter(tensor(), hooks=b"}" + utf8("k") + integer(1) + b"s"), "a storage": parameter(storage()),
    "one too large": parameter(tensor(shape=(5,))), "nothing more": REBUILD + b"\n(" + tensor() + b"tR",
    "state": REBUILD + b"_with_state\n(" + tensor() + b"\x88}}tR",
}  # fmt: skip
DEEP = 20_000
MALFORMED = {
    "no stop": b"\x80\x02}", "nothing": b"", "only stop": b".", "two values": b"\x80\x02}}.",
    "mark missing": b"\x80\x02}u.", "odd items": b"\x80\x02}(" + utf8("x") + b"u.", "reduce nothing": b"\x80\x02R.",
    "memo missing": b"\x80\x02}" + utf8("x") + b"h\x07s.", "tuple of nothing": b"\x80\x02\x87.",
    "text cut short": b"\x80\x02X\xff\xff\xff\x7fabc.", "text not UTF-8": dict_with(b"X\x01\x00\x00\x00\xff"),
    "lone surrogate": dict_with(b"X\x03\x00\x00\x00\xed\xa0\x80"), "unknown opcode": b"\x80\x02\xff.",
    "protocol 5": b"\x80\x05}.", "pop": dict_with(b"N0N"), "bytes": pickle.dumps({"x": b"data"}, 4),
    "key is a number": pickle.dumps({1: 1}, 2), "key stands twice": b"\x80\x02}(" + (utf8("x") + b"N") * 2 + b"u.",
    "append to a dict": b"\x80\x02}Na.", "set on a list": b"\x80\x02]" + utf8("x") + b"Ns.",
    "attributes": b"\x80\x02}}" + utf8("x") + b"Nsb.", "attributes of a list": dict_with(b"]}b"),
    "attributes that are no dict": dict_with(b"}]b"), "a tuple of lists": dict_with(b"]\x85"),
    "a name as value": dict_with(b"ctorch\nLongStorage\n"), "a storage as value": dict_with(storage()),
    "a tensor without a storage": dict_with(tensor().replace(storage(), b"N")),
    "a shape that is no number": dict_with(tensor().replace(numbers((2,)), b"\x88\x85", 1)),
    "storage of another record": dict_with(tensor().replace(utf8("0"), utf8("1"))),
    "storage outside": dict_with(tensor().replace(utf8("0"), utf8("../data.pkl"))),
    "storage id is a text": dict_with(utf8("storage") + b"Q"), "dict called": dict_with(b"}" + b")R"),
    "ordered dict with items": dict_with(b"ccollections\nOrderedDict\n(]tR"),
    "deep lists": dict_with(b"]" * DEEP + b"a" * (DEEP - 1)), "deep tuples": dict_with(b")" + b"\x85" * DEEP),
    "deep dicts": dict_with((b"}" + utf8("x")) * DEEP + b"N" + b"s" * DEEP),
    "deep shape": dict_with(tensor().replace(numbers((2,)), b")" + b"\x85" * DEEP, 1)),
    "a list holds itself": b"\x80\x02}" + utf8("x") + b"]q\x00h\x00as.",
    "a list in itself many times": b"\x80\x02}" + utf8("x") + b"]q\x00" + b"(" + b"h\x00" * 9 + b"es.",
    "a name without end": dict_with(b"cos\n" + b"x" * DEEP + b"\n"),
    "numbers beyond any shape": dict_with(tensor().replace(numbers((2,)), b"(" + b"\x8a\xfe" + b"\x7f" * 254 + b"t")),
    "a whole module": pickle.dumps({"x": torch.nn.Linear(2, 2)}, 2),
}  # fmt: skip
REFUSED = {
    **{f"a tensor of {wrong}": dict_with(tensor(**wrong)) for wrong in UNFIT},  # type: ignore[arg-type]
    **{f"a parameter of {name}": dict_with(value) for name, value in NO_PARAMETER.items()},
    **MALFORMED,
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_everything_else_is_refused(data: bytes, tmp_path: Path) -> None:
    """Tensors that leave or repeat their record, what is neither tensor nor plain value, and what is malformed."""
    with pytest.raises(FileFormatError, match=r"^x\.pt: [^\n]{,400}$"):
        read_pt(pickled(tmp_path / "x.pt", data), "x.pt")


CALL = pickle.dumps(Calls(os.system, "true"), 2)


@pytest.mark.parametrize(
    ("data", "size", "reason"),
    [
        (CALL, 32, r"refused, nothing was run: the pickle names (posix|nt)\.system$"),
        (pickle.dumps({"x": {1}}, 4), 32, "the pickle uses EMPTY_SET"),
        (dict_with(tensor(shape=(5,))), 32, "a tensor needs 5 elements, its record 'data/0' holds 4"),
        (dict_with(tensor(shape=(2,))), 31, "a tensor needs 2 elements, its record 'data/0' holds 3"),
        (dict_with(tensor(shape=(2,), strides=(0,))), 32, "a tensor of stride 0 repeats one element"),
        (pickle.dumps([1], 2), 32, "holds a list, not a dict of tensors"),
        (b"\x80\x02" + tensor() + b".", 32, "holds a tensor, not a dict of tensors"),
        (b"\x80\x02}", 32, "its pickle is malformed"),
    ],
)
def test_a_refusal_says_why(data: bytes, size: int, reason: str, tmp_path: Path) -> None:
    """The error names the function, opcode or size, so that a reader can judge the file and its record."""
    with pytest.raises(FileFormatError, match=reason):
        read_pt(pickled(tmp_path / "x.pt", data, bytes(size)))


def test_depth_and_steps_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values at a limit are read, those beyond are refused: they could fill the stack, or the memory."""
    path = pickled(tmp_path / "x.pt", dict_with(b"]" * 11 + b"a" * 10))  # 12 containers, 26 opcodes
    assert (pickles.MAX_DEPTH, pickles.MAX_STEPS) == (32, 1 << 23)
    for limit, needed, reason in (("MAX_DEPTH", 12, "nested more than 11"), ("MAX_STEPS", 26, "more than 25 steps")):
        monkeypatch.setattr(pickles, limit, needed)
        assert "x" in read_pt(path).values
        monkeypatch.setattr(pickles, limit, needed - 1)
        with pytest.raises(FileFormatError, match=reason):
            read_pt(path)
        monkeypatch.undo()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function", [os.mkdir, eval, getattr, dict], ids=repr)
def test_no_function_is_run(function: Any, protocol: int, tmp_path: Path) -> None:
    """No function is called, in whatever protocol and at whatever place the pickle asks for it."""
    canary = tmp_path / "canary"
    argument = f"__import__('os').mkdir({str(canary)!r})" if function is eval else str(canary)
    with pytest.raises(FileFormatError):
        read_pt(pickled(tmp_path / "x.pt", pickle.dumps({"x": [Calls(function, argument)]}, protocol)))
    assert not canary.exists()


edits = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3), st.binary(max_size=3)), max_size=4)


@settings(max_examples=50)
@given(edits=edits)
def test_a_changed_pickle_is_safe(
    edits: list[tuple[float, int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However a pickle is edited, there is no crash, and what torch reads too it reads alike."""
    path, sink, x = tmp_path_factory.getbasetemp() / "changed.pt", io.BytesIO(), torch.arange(12)
    torch.save({"s": torch.nn.Linear(2, 2).state_dict(), "x": x[2:], "y": x.view(3, 4)[1:], "m": {"a": [1, 0.5]}}, sink)
    archive = zipfile.ZipFile(sink)
    records = {name: archive.read(name) for name in archive.namelist()}
    changed = bytearray(records["archive/data.pkl"])
    for place, dropped, added in edits:
        start = int(place * len(changed))
        changed[start : start + dropped] = added
    zip_of(path, {**records, "archive/data.pkl": bytes(changed)})

    loaded: dict[str, torch.Tensor] | None = None
    with suppress(Exception):  # torch refuses in many ways
        loaded = torch.load(path, weights_only=True)
    with suppress(FileFormatError):
        tensors = {key: array.tolist() for key, array in read_pt(path).tensors.items()}
        assert loaded is None or tensors == {key: loaded[key].tolist() for key in tensors}
