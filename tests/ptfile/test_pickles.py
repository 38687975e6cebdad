"""Promises of pickles: nothing in them is run, and what is not plain values and sound tensors is refused."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.golden import check_golden
from support.ptfiles import Calls, pickled, zip_of

from llmprep.errors import FileFormatError
from llmprep.ptfile import pickles
from llmprep.ptfile.reading import read_pt


@dataclass
class Storage:
    """Pickles as the bytes of a record."""

    kind: Any = torch.LongStorage
    record: str = "0"


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> Any:
        return ("storage", value.kind, value.record, "cpu", 4) if isinstance(value, Storage) else None


def dumps(value: object, protocol: int = 2) -> bytes:
    _Pickler(sink := io.BytesIO(), protocol).dump(value)
    return sink.getvalue()


def tensor(shape: Any = (2,), strides: Any = (1,), offset: int = 0, storage: Any = None, dtype: Any = None) -> Calls:
    """Pickles as a tensor; one with a dtype of its own is of torch's third version."""
    arguments: tuple[Any, ...] = storage or Storage(), offset, shape, strides, False, OrderedDict()
    if dtype is None:
        return Calls(torch._utils._rebuild_tensor_v2, *arguments)
    return Calls(torch._utils._rebuild_tensor_v3, *arguments, dtype)


SOUND: list[tuple[dict[str, Any], list[Any]]] = [
    ({"shape": (4,)}, [0, 1, 2, 3]),
    ({"shape": (3, 2), "strides": (1, 1)}, [[0, 1], [1, 2], [2, 3]]),
    ({"shape": (3,), "offset": 1, "dtype": torch.int32}, [0, 1, 0]),
    ({"shape": (3, 1), "strides": (1, 2**61)}, [[0], [1], [2]]),
    ({"shape": (2, 1), "strides": (3, 0)}, [[0], [3]]),
    ({"shape": (0, 2), "strides": (2**61, 2**61)}, []),
    ({"shape": (0,), "offset": 4}, []),
]


@pytest.mark.parametrize(("chosen", "values"), SOUND, ids=str)
def test_sound_tensors_are_as_torch_reads_them(chosen: dict[str, Any], values: list[Any], tmp_path: Path) -> None:
    """A tensor may fill its record, name another dtype than its storage, and have a stride that no element needs."""
    file = read_pt(path := pickled(tmp_path / "x.pt", dumps({"x": tensor(**chosen)})))
    assert file.dtypes == {"x": "int32" if "dtype" in chosen else "int64"}
    assert file.tensors["x"].tolist() == torch.load(path, weights_only=True)["x"].tolist() == values


UNFIT: list[dict[str, Any]] = [
    {"shape": (5,)}, {"shape": (4,), "offset": 1}, {"shape": (3,), "strides": (2,)}, {"shape": (0,), "offset": 5},
    {"shape": (2, 2), "strides": (3, 1)}, {"shape": (2,), "strides": (0,)}, {"shape": (-2, -2), "strides": (1, 1)},
    {"shape": (10**6, 10**6), "strides": (0, 0)}, {"shape": (2,), "offset": -1}, {"shape": (2, 1)},
    {"shape": (2,), "strides": (-1,), "offset": 1}, {"shape": (), "strides": (1,)}, {"shape": (2**64 + 1,)},
    {"shape": (2**32, 2**32), "strides": (2**32, 1)}, {"shape": (1,) * 70, "strides": tuple(range(70))},
    {"shape": (2, 2, 2), "strides": (1, 1, 1)}, {"shape": (1,), "strides": (2**62,)}, {"shape": (2**2000,)},
    {"shape": (True,)}, {"shape": ((((0,),),),)}, {"storage": "none"}, {"storage": Storage(record="2")},
    {"storage": Storage(torch.ComplexFloatStorage)}, {"storage": Storage(torch.int64)},
    {"storage": Storage(torch.UntypedStorage)}, {"dtype": torch.complex64}, {"dtype": torch.LongStorage},
]  # fmt: skip
REBUILD = torch._utils._rebuild_parameter
NO_PARAMETER: dict[str, tuple[Any, ...]] = {
    "a number": (1, True, OrderedDict()), "no flag": (tensor(), 1, OrderedDict()), "nothing more": (tensor(),),
    "hooks": (tensor(), True, {"k": 1}), "a storage": (Storage(), True, OrderedDict()),
}  # fmt: skip
DEEP, X = 20_000, b"X\x01\x00\x00\x00x"
VALUES = {
    "text not UTF-8": b"X\x01\x00\x00\x00\xff", "lone surrogate": b"X\x03\x00\x00\x00\xed\xa0\x80", "pop": b"N0N",
    "attributes of a list": b"]}b", "attributes that are no dict": b"}]b", "attributes": b"}}" + X + b"Nsb",
    "a tuple of lists": b"]\x85", "a name as value": b"ctorch\nLongStorage\n", "storage id is a text": X + b"Q",
    "dict called": b"})R", "memo missing": b"h\x07", "ordered dict with items": b"ccollections\nOrderedDict\n(]tR",
    "deep lists": b"]" * DEEP + b"a" * (DEEP - 1), "deep tuples": b")" + b"\x85" * DEEP,
    "deep dicts": (b"}" + X) * DEEP + b"N" + b"s" * DEEP, "a list holds itself": b"]q\x00h\x00a",
    "a long name": b"cos\n" + b"x" * DEEP + b"\n",
}  # fmt: skip
REFUSED = {
    **{f"a tensor of {wrong!s:.80}": dumps({"x": tensor(**wrong)}) for wrong in UNFIT},
    **{f"a parameter of {name}": dumps({"x": Calls(REBUILD, *given)}) for name, given in NO_PARAMETER.items()},
    **{name: b"\x80\x02}" + X + opcodes + b"s." for name, opcodes in VALUES.items()},
    "no stop": b"\x80\x02}", "nothing": b"", "only stop": b".", "two values": b"\x80\x02}}.",
    "no mark": b"\x80\x02}u.", "odd items": b"\x80\x02}(" + X + b"u.", "reduce nothing": b"\x80\x02R.",
    "tuple of nothing": b"\x80\x02\x87.", "text cut short": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "unknown opcode": b"\x80\x02\xff.", "protocol 5": b"\x80\x05}.", "append to a dict": b"\x80\x02}Na.",
    "set on a list": b"\x80\x02]" + X + b"Ns.", "key stands twice": b"\x80\x02}(" + (X + b"N") * 2 + b"u.",
    "key is a number": dumps({1: 1}), "bytes": dumps({"x": b"data"}, 4), "a set": dumps({"x": {1}}, 4),
    "a storage": dumps({"x": Storage()}), "a module": pickle.dumps({"x": torch.nn.Linear(2, 2)}, 2),
    "a list": dumps([1]), "a tensor": dumps(tensor()), "a call": dumps(Calls(os.system, "true")),
    "a record of 31 bytes": dumps({"x": tensor(storage=Storage(record="1"))}), "a builtin": dumps({"x": Calls(dict)}),
    **{f"a call in protocol {n}": dumps({"x": [Calls(os.mkdir, "canary")]}, n) for n in range(6)},
    "another call": dumps({"x": Calls(torch._utils._rebuild_parameter_with_state, tensor())}),
}  # fmt: skip


def test_everything_else_is_refused() -> None:
    """Tensors that leave or repeat their record, what is neither tensor nor plain value, and what is malformed."""
    lines = []
    for what, pickle_bytes in REFUSED.items():
        with pytest.raises(FileFormatError, match=r"^x\.pt: [^\n]{,400}$") as raised:
            read_pt(pickled(Path("x.pt"), pickle_bytes))
        reason, malformed, _ = str(raised.value).partition("malformed")  # what comes after it is Python's
        lines.append(f"{what:.60}: {reason.removeprefix('x.pt: ')}{malformed}\n")
    assert not Path("canary").exists()
    check_golden("refused_pickles.txt", "".join(lines))


def test_depth_and_steps_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values at a limit are read, those beyond are refused: they could fill the stack, or the memory."""
    path = pickled(tmp_path / "x.pt", b"\x80\x02}" + X + b"]" * 11 + b"a" * 10 + b"s.")  # 12 containers, 26 opcodes
    assert (pickles.MAX_DEPTH, pickles.MAX_STEPS) == (32, 1 << 23)
    for limit, needed, reason in (("MAX_DEPTH", 12, "nested more than 11"), ("MAX_STEPS", 26, "more than 25 steps")):
        monkeypatch.setattr(pickles, limit, needed)
        assert "x" in read_pt(path).values
        monkeypatch.setattr(pickles, limit, needed - 1)
        with pytest.raises(FileFormatError, match=reason):
            read_pt(path)
        monkeypatch.undo()


edits = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3), st.binary(max_size=3))


@settings(max_examples=50)
@given(edits=st.lists(edits, max_size=4))
def test_a_changed_pickle_is_safe(edits: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    """However a pickle is edited, there is no crash, and what torch reads too it reads alike."""
    path, sink, x = tmp_path_factory.getbasetemp() / "changed.pt", io.BytesIO(), torch.arange(12)
    torch.save({"s": torch.nn.Linear(2, 2).state_dict(), "x": x[2:], "y": x.view(3, 4)[1:], "m": {"a": [1, 0.5]}}, sink)
    archive = zipfile.ZipFile(sink)
    changed = bytearray(archive.read("archive/data.pkl"))
    for place, dropped, added in edits:
        start = int(place * len(changed))
        changed[start : start + dropped] = added
    records = {name: archive.read(name) for name in archive.namelist()}
    zip_of(path, {**records, "archive/data.pkl": bytes(changed)})

    theirs: dict[str, torch.Tensor] | None = None
    with suppress(Exception):  # torch refuses in many ways
        theirs = torch.load(path, weights_only=True)
    with suppress(FileFormatError):
        ours = {key: array.tolist() for key, array in read_pt(path).tensors.items()}
        assert theirs is None or ours == {key: theirs[key].tolist() for key in ours}
