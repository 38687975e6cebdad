"""The pickle of a .pt file -> its values, without running it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from llmprep.ptfile.layout import DTYPES, TensorView

Array = npt.NDArray[Any]
MAX_DEPTH = 32
MAX_STEPS = 1 << 23
"""Opcodes in a pickle: more than `MAX_PICKLE_BYTES` of plain values have, fewer than could fill the memory."""


class UnsafePickleError(Exception):
    """The pickle asks for something that no file of tensors needs."""


@dataclass(frozen=True, slots=True)
class _Global:
    """A name the pickle may mention; it is never looked up."""

    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    record: str
    dtype: str
    data: memoryview


@dataclass(frozen=True, slots=True)
class PickledTensor:
    array: Array
    storage: Array
    dtype: str


_REBUILD = {"torch._utils _rebuild_tensor_v2": 6, "torch._utils _rebuild_tensor_v3": 7}
_PARAMETER = "torch._utils _rebuild_parameter"
_ORDERED_DICT = "collections OrderedDict"
_UNTYPED = "torch.storage UntypedStorage"
_STORAGES = {f"torch {d.storage}": d.name for d in DTYPES.values() if d.storage}
_TORCH_DTYPES = {f"torch {name}": name for name in DTYPES}
_KNOWN = {*_REBUILD, _PARAMETER, _ORDERED_DICT, _UNTYPED, *_STORAGES, *_TORCH_DTYPES}
_SHAREABLE = (str, int, float, bool, type(None), _Global, _Storage, PickledTensor)
_PUSHES = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_CONSTANTS: dict[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


@dataclass(slots=True)
class PickleReader:
    """Runs the opcodes that torch and llmprep write; everything else is refused."""

    records: Mapping[str, memoryview]
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, pickle: bytes) -> object:
        """Return the one value that the pickle describes."""
        import pickletools

        for number, (opcode, argument, _) in enumerate(pickletools.genops(pickle)):
            if number > MAX_STEPS:
                raise UnsafePickleError(f"the pickle takes more than {MAX_STEPS} steps")
            if opcode.name in _PUSHES:
                self.stack.append(argument)
            elif opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name])
            else:
                step = getattr(self, f"do_{opcode.name.lower()}", None)
                if step is None:
                    raise UnsafePickleError(f"the pickle uses {opcode.name}")
                step(argument)
        (value,) = self.stack
        _check_depth(value)
        return value

    def _since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def do_proto(self, version: int) -> None:
        if version > 4:
            raise UnsafePickleError(f"pickle protocol {version}")

    def do_frame(self, _: int) -> None:
        """Frames only group bytes."""

    def do_stop(self, _: None) -> None:
        """The value stands on the stack."""

    def do_mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    def do_binunicode(self, text: str) -> None:
        text.encode()  # pickletools lets lone surrogates pass, which no UTF-8 output can hold
        self.stack.append(text)

    do_short_binunicode = do_binunicode

    def do_global(self, name: str) -> None:
        if name not in _KNOWN:
            raise UnsafePickleError(f"the pickle names {name.replace(' ', '.')[:80]}")
        self.stack.append(_Global(name))

    def do_binput(self, slot: int) -> None:
        self.memo[slot] = self.stack[-1]

    do_long_binput = do_binput

    def do_memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def do_binget(self, slot: int) -> None:
        # A container used twice could unfold to any size; torch shares only names, numbers and tensors.
        value = self.memo[slot]
        if not isinstance(value, _SHAREABLE):
            raise UnsafePickleError(f"the pickle uses one {type(value).__name__} twice")
        self.stack.append(value)

    do_long_binget = do_binget

    def do_empty_dict(self, _: None) -> None:
        self.stack.append({})

    def do_empty_list(self, _: None) -> None:
        self.stack.append([])

    def do_append(self, _: None) -> None:
        self._extend([self.stack.pop()])

    def do_appends(self, _: None) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise UnsafePickleError("the pickle appends to something that is not a list")
        target.extend(map(_plain_or_tensor, items))

    def do_setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def do_setitems(self, _: None) -> None:
        self._set(self._since_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise UnsafePickleError("the pickle sets items of something that is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str) or key in target:
                raise UnsafePickleError("a key is not a string, or stands twice")
            target[key] = _plain_or_tensor(value)

    def do_tuple(self, _: None) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _tuple_of(self, count: int) -> None:
        items = self.stack[-count:]
        if len(items) < count:
            raise IndexError("stack underflow")
        self.stack[-count:] = [tuple(items)]

    def do_tuple1(self, _: None) -> None:
        self._tuple_of(1)

    def do_tuple2(self, _: None) -> None:
        self._tuple_of(2)

    def do_tuple3(self, _: None) -> None:
        self._tuple_of(3)

    def do_binpersid(self, _: None) -> None:
        match self.stack.pop():
            case ("storage", _Global(kind), str(key), str(), int()) if f"data/{key}" in self.records:
                dtype = _STORAGES.get(kind, "")
                if not dtype and kind != _UNTYPED:
                    raise UnsafePickleError(f"the pickle takes {kind} for a storage")
                self.stack.append(_Storage(f"data/{key}", dtype, self.records[f"data/{key}"]))
            case other:
                raise UnsafePickleError(f"a storage that is not in the file ({type(other).__name__})")

    def do_reduce(self, _: None) -> None:
        arguments, callee = self.stack.pop(), self.stack.pop()
        match callee, arguments:
            case _Global("collections OrderedDict"), ():
                self.stack.append({})
            case _Global(name), tuple() if len(arguments) == _REBUILD.get(name):
                self.stack.append(_tensor(*arguments))
            case _Global("torch._utils _rebuild_parameter"), (PickledTensor() as tensor, bool(), dict() as hooks) if (
                not hooks
            ):
                self.stack.append(tensor)  # a Parameter is its tensor, and whether it is trained
            case _:
                raise UnsafePickleError(f"the pickle calls {getattr(callee, 'name', 'something')}")

    def do_build(self, _: None) -> None:
        """Attributes of a state dict (its ``_metadata``): dropped."""
        state = self.stack.pop()
        if not (isinstance(state, dict) and isinstance(self.stack[-1], dict) and set(state) <= {"_metadata"}):
            raise UnsafePickleError("the pickle sets attributes")


def _check_depth(value: object) -> None:
    """Refuse nesting that no reader of plain values could walk; containers form a tree, so this is linear."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [item for node in level if isinstance(node, dict | list) for item in _children(node)]
        if not level:
            return
    raise UnsafePickleError(f"values are nested more than {MAX_DEPTH} deep")


def _children(node: dict[str, Any] | list[Any]) -> Collection[Any]:
    return node.values() if isinstance(node, dict) else node


def _plain_or_tensor(value: object) -> object:
    if isinstance(value, tuple) and all(isinstance(item, _SHAREABLE) for item in value):
        value = list(value)
    if not isinstance(value, str | int | float | bool | list | dict | PickledTensor | None):
        raise UnsafePickleError(f"a value is neither plain nor a tensor: {type(value).__name__}")
    return value


def _tensor(
    storage: object, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], _grad: bool, _hooks: object,
    named: object = None,
) -> PickledTensor:  # fmt: skip
    """The checked equivalent of torch's ``_rebuild_tensor_v2`` and ``_v3``."""
    if not isinstance(storage, _Storage):
        raise UnsafePickleError("a tensor without a storage")
    dtype = _TORCH_DTYPES.get(named.name, "") if isinstance(named, _Global) else storage.dtype
    if not dtype:
        raise UnsafePickleError("a tensor of an unknown dtype")
    view = TensorView(0, dtype, shape, strides, offset)
    numbers = (*shape, *strides, offset)
    if not all(type(n) is int for n in numbers):
        raise UnsafePickleError("a tensor whose sizes, strides or offset are no whole numbers")
    if len(shape) != len(strides) or not all(0 <= n < 2**62 for n in numbers):
        raise UnsafePickleError(f"a tensor of shape {shape}, strides {strides}, offset {offset}"[:120])
    code = np.dtype(DTYPES[dtype].numpy)
    have = len(storage.data) // code.itemsize
    if len(storage.data) % code.itemsize or view.extent > have:
        raise UnsafePickleError(f"a tensor needs {view.extent} elements, its record {storage.record!r} holds {have}")
    if any(step == 0 and size > 1 for size, step in zip(shape, strides, strict=True)):
        raise UnsafePickleError("a tensor of stride 0 repeats one element")
    if len(shape) != 2 and math.prod(shape) > have:  # rows may overlap, as windows do; nothing else may
        raise UnsafePickleError(f"a tensor of shape {shape} overlaps itself over {have} elements"[:120])
    flat = np.frombuffer(storage.data, code)
    # A stride beyond the record is one that no element needs, and may be too large for numpy.
    steps = tuple(step * code.itemsize if step <= have else 0 for step in strides)
    array = np.lib.stride_tricks.as_strided(flat[offset:], shape, steps, writeable=flat.flags.writeable)
    return PickledTensor(array, flat, dtype)
