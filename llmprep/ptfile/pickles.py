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
"""Lists and dicts inside each other."""
MAX_STEPS = 1 << 23
"""Opcodes of one pickle: a large one of one-byte opcodes would become values that fill the memory."""


class UnsafePickleError(Exception):
    """The pickle asks for something that no file of tensors needs."""


@dataclass(frozen=True, slots=True)
class _Global:
    """A name the pickle may mention; it is never looked up."""

    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    """The bytes of one record. ``dtype`` is empty where the tensor names its own."""

    record: str
    dtype: str
    data: memoryview


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """A tensor: an array of any shape, the flat storage (n,) that it is a view of, and torch's name of its dtype."""

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
    """Carries out the opcodes that torch and llmprep write; everything else is refused.

    ``records`` are the bytes of the file's records, by name. The method ``_do_NAME`` carries out the opcode NAME.
    """

    records: Mapping[str, memoryview]
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, pickle: bytes) -> object:
        """Return the one value that the pickle describes: plain values, dicts and lists of them, and `PickledTensor`.

        Raises `UnsafePickleError` for what no file of tensors needs. One that is malformed may also raise ValueError,
        IndexError, KeyError, TypeError, AttributeError or OverflowError.
        """
        import pickletools

        for number, (opcode, argument, _) in enumerate(pickletools.genops(pickle)):
            if number >= MAX_STEPS:
                raise UnsafePickleError(f"the pickle takes more than {MAX_STEPS} steps")
            if opcode.name in _PUSHES:
                self.stack.append(argument)
            elif opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name])
            else:
                step = getattr(self, f"_do_{opcode.name.lower()}", None)
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

    def _do_proto(self, version: int) -> None:
        if version > 4:
            raise UnsafePickleError(f"pickle protocol {version}")

    def _do_frame(self, _: int) -> None:
        """Frames only group bytes."""

    def _do_stop(self, _: None) -> None:
        """The value stands on the stack."""

    def _do_mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    def _do_binunicode(self, text: str) -> None:
        text.encode()  # pickletools lets lone surrogates pass, which no UTF-8 output can hold
        self.stack.append(text)

    _do_short_binunicode = _do_binunicode

    def _do_global(self, name: str) -> None:
        if name not in _KNOWN:
            raise UnsafePickleError(f"the pickle names {name.replace(' ', '.')[:80]}")
        self.stack.append(_Global(name))

    def _do_binput(self, slot: int) -> None:
        self.memo[slot] = self.stack[-1]

    _do_long_binput = _do_binput

    def _do_memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _do_binget(self, slot: int) -> None:
        # A container used twice could unfold to any size; torch shares only names, numbers and tensors.
        value = self.memo[slot]
        if not isinstance(value, _SHAREABLE):
            raise UnsafePickleError(f"the pickle uses one {type(value).__name__} twice")
        self.stack.append(value)

    _do_long_binget = _do_binget

    def _do_empty_dict(self, _: None) -> None:
        self.stack.append({})

    def _do_empty_list(self, _: None) -> None:
        self.stack.append([])

    def _do_append(self, _: None) -> None:
        self._extend([self.stack.pop()])

    def _do_appends(self, _: None) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise UnsafePickleError("the pickle appends to something that is not a list")
        target.extend(map(_plain_or_tensor, items))

    def _do_setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def _do_setitems(self, _: None) -> None:
        self._set(self._since_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise UnsafePickleError("the pickle sets items of something that is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str) or key in target:
                raise UnsafePickleError("a key is not a string, or stands twice")
            target[key] = _plain_or_tensor(value)

    def _do_tuple(self, _: None) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _tuple_of(self, count: int) -> None:
        items = self.stack[-count:]
        if len(items) < count:
            raise IndexError("stack underflow")
        self.stack[-count:] = [tuple(items)]

    def _do_tuple1(self, _: None) -> None:
        self._tuple_of(1)

    def _do_tuple2(self, _: None) -> None:
        self._tuple_of(2)

    def _do_tuple3(self, _: None) -> None:
        self._tuple_of(3)

    def _do_binpersid(self, _: None) -> None:
        match self.stack.pop():
            case ("storage", _Global(kind), str(key), str(), int()) if f"data/{key}" in self.records:
                dtype = _STORAGES.get(kind, "")
                if not dtype and kind != _UNTYPED:
                    raise UnsafePickleError(f"the pickle takes {kind} for a storage")
                self.stack.append(_Storage(f"data/{key}", dtype, self.records[f"data/{key}"]))
            case other:
                raise UnsafePickleError(f"a storage that is not in the file ({type(other).__name__})")

    def _do_reduce(self, _: None) -> None:
        arguments, callee = self.stack.pop(), self.stack.pop()
        match callee, arguments:
            case _Global(name), () if name == _ORDERED_DICT:
                self.stack.append({})
            case _Global(name), tuple() if len(arguments) == _REBUILD.get(name):
                self.stack.append(_tensor(arguments))
            case _Global(name), (PickledTensor() as tensor, bool(), dict() as hooks) if (
                name == _PARAMETER and not hooks
            ):
                self.stack.append(tensor)  # a Parameter is its tensor, and whether it is trained
            case _:
                raise UnsafePickleError(f"the pickle calls {getattr(callee, 'name', 'something')}")

    def _do_build(self, _: None) -> None:
        """Attributes of a state dict (its ``_metadata``): dropped."""
        state = self.stack.pop()
        if not (isinstance(state, dict) and isinstance(self.stack[-1], dict) and set(state) <= {"_metadata"}):
            raise UnsafePickleError("the pickle sets attributes")


def _check_depth(value: object) -> None:
    """Refuse nesting that a recursive reader of plain values could not walk. Containers form a tree: this is linear."""
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


def _tensor(arguments: tuple[Any, ...]) -> PickledTensor:
    """Return what torch's ``_rebuild_tensor_v2``, or ``_v3`` with a dtype at the end, makes of these arguments."""
    storage, offset, shape, strides, _grad, _hooks, *named = arguments
    if not isinstance(storage, _Storage):
        raise UnsafePickleError("a tensor without a storage")
    dtype = storage.dtype
    if named and isinstance(named[0], _Global):
        dtype = _TORCH_DTYPES.get(named[0].name, "")
    if not dtype:
        raise UnsafePickleError("a tensor of an unknown dtype")
    numbers = (*shape, *strides, offset)
    if not all(type(n) is int for n in numbers):
        raise UnsafePickleError("a tensor whose sizes, strides or offset are no whole numbers")
    if len(shape) != len(strides) or not all(0 <= n < 2**62 for n in numbers):
        raise UnsafePickleError(f"a tensor of shape {shape}, strides {strides}, offset {offset}"[:120])
    return _view(storage, TensorView(0, dtype, shape, strides, offset))


def _view(storage: _Storage, view: TensorView) -> PickledTensor:
    """Return the view of a storage. Raises `UnsafePickleError` if it leaves the record, or repeats elements."""
    code = np.dtype(DTYPES[view.dtype].numpy)
    have = len(storage.data) // code.itemsize
    if len(storage.data) % code.itemsize or view.extent > have:
        raise UnsafePickleError(f"a tensor needs {view.extent} elements, its record {storage.record!r} holds {have}")
    if any(step == 0 and size > 1 for size, step in zip(view.shape, view.strides, strict=True)):
        raise UnsafePickleError("a tensor of stride 0 repeats one element")
    if len(view.shape) != 2 and math.prod(view.shape) > have:  # rows may overlap, as windows do; nothing else may
        raise UnsafePickleError(f"a tensor of shape {view.shape} overlaps itself over {have} elements"[:120])
    flat = np.frombuffer(storage.data, code)
    # A stride beyond the record is one that no element needs, and may be too large for numpy.
    steps = tuple(step * code.itemsize if step <= have else 0 for step in view.strides)
    array = np.lib.stride_tricks.as_strided(flat[view.offset :], view.shape, steps, writeable=flat.flags.writeable)
    return PickledTensor(array, flat, view.dtype)
