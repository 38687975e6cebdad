"""What the writer and the reader of .pt files must agree on."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

ARCHIVE = "archive"
"""Folder inside the zip; torch accepts any, and a fixed one keeps bytes independent of the file name."""
ALIGNMENT = 64
"""Bytes; each data record starts at a multiple of it, as torch.save does since 2.1."""
Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
"""A value that stands in a file beside its tensors."""


@dataclass(frozen=True, slots=True)
class Dtype:
    """One tensor dtype: torch's storage class for it, and numpy's little-endian code.

    torch has no storage class for uint16 and uint32; such a tensor names its dtype instead (``storage`` is empty).
    bfloat16 has no numpy type; its bytes travel as uint16 (``numpy`` is ``<u2``).
    """

    name: str
    storage: str
    numpy: str

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return np.dtype(self.numpy).itemsize


DTYPES = {
    d.name: d
    for d in (
        Dtype("int64", "LongStorage", "<i8"),
        Dtype("int32", "IntStorage", "<i4"),
        Dtype("int16", "ShortStorage", "<i2"),
        Dtype("uint8", "ByteStorage", "|u1"),
        Dtype("uint16", "", "<u2"),
        Dtype("uint32", "", "<u4"),
        Dtype("bool", "BoolStorage", "|b1"),
        Dtype("float64", "DoubleStorage", "<f8"),
        Dtype("float32", "FloatStorage", "<f4"),
        Dtype("float16", "HalfStorage", "<f2"),
        Dtype("bfloat16", "BFloat16Storage", "<u2"),
    )
}
"""The dtypes that can be written and read, by torch's name."""


@dataclass(frozen=True, slots=True)
class TensorView:
    """A tensor as a view of the storage with number ``record``; sizes, strides and offset count elements, not bytes."""

    record: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @property
    def extent(self) -> int:
        """Elements that the storage must hold, so that every index of the view lies inside it."""
        if 0 in self.shape:
            return self.offset
        last = sum((size - 1) * step for size, step in zip(self.shape, self.strides, strict=True))
        return self.offset + last + 1


def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides, in elements, of a contiguous row-major array of this shape.

    >>> c_strides((8, 4, 256))
    (1024, 256, 1)
    """
    steps = itertools.accumulate(reversed(shape[1:]), lambda step, size: step * max(size, 1), initial=1)
    return tuple(reversed(list(steps))) if shape else ()
