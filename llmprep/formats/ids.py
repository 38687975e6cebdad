"""Arrays of token ids, (n,) or windows (N, L) of them: taken from what a caller has, checked, cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from llmprep.choices import IdDtype
from llmprep.errors import FileFormatError, UsageError

Array = npt.NDArray[Any]
ID_DTYPES = get_args(IdDtype)
IDS_PER_BLOCK = 1 << 18
MAX_ID = (1 << 63) - 1
"""The largest id that an int64 holds."""


def id_blocks(ids: Array) -> Iterator[npt.NDArray[np.uint32]]:
    """Yield ids (n,) in blocks of uint32, for a `TokenStream`."""
    return (ids[k : k + IDS_PER_BLOCK].astype(np.uint32) for k in range(0, len(ids), IDS_PER_BLOCK))


def to_ids(source: object, n_vocab: int | None = None, *, check: bool = True) -> Array:
    """Return ids (n,), of any integer dtype, of an array, a tensor, or a sequence of whole numbers.

    An array is not copied.

    Raises `UsageError` for anything else, and, unless ``check`` is false, for an id that is negative or not in a
    vocabulary of ``n_vocab``.
    """
    ids = _as_array(source)
    if ids.ndim != 1 or (ids.dtype.kind not in "iu" and ids.size):
        raise UsageError(f"ids: shape {ids.shape}, dtype {ids.dtype}; need (n,) whole numbers")
    if check and ids.size:
        try:
            check_ids(ids, n_vocab or MAX_ID + 1, "ids")
        except FileFormatError as error:
            raise UsageError(str(error)) from error
    return ids


def _as_array(source: object) -> Array:
    if isinstance(source, np.ndarray):
        return source
    if hasattr(source, "__array__") and not isinstance(source, np.generic):
        try:
            return np.asarray(source)
        except (TypeError, RuntimeError) as error:  # a tensor on a GPU, or of a dtype that numpy has not
            raise UsageError(f"ids: {str(error).splitlines()[0]:.120}; give an array or a list of ids") from error
    if isinstance(source, bytes | bytearray | memoryview | str) or not isinstance(source, Sequence):
        raise UsageError(f"ids: a {type(source).__name__} holds no token ids; give an array or a list of ids")
    types = set(map(type, source))
    wrong = {each for each in types if issubclass(each, bool) or not issubclass(each, int | np.integer)}
    if wrong:
        place, found = next((place, type(item)) for place, item in enumerate(source) if type(item) in wrong)
        raise UsageError(f"ids: item {place} is a {found.__name__}; need whole numbers")
    try:
        return np.fromiter(source, np.int64, len(source))
    except OverflowError as error:
        raise UsageError(f"ids: one of them is larger than any vocabulary: {max(source)}") from error


def check_ids(ids: Array, n_vocab: int, name: str) -> None:
    """Raise `FileFormatError` that names the first id outside 0..n_vocab-1 and where it stands."""
    if ids.dtype.kind == "u" and np.iinfo(ids.dtype).max < n_vocab:
        return  # no number of this dtype can be wrong, so none is read
    rows = max(1, IDS_PER_BLOCK // max(1, ids[0].size if len(ids) else 1))
    for start in range(0, len(ids), rows):
        part = ids[start : start + rows]
        if part.min() >= 0 and part.max() < n_vocab:
            continue
        place = np.argwhere((part < 0) | (part >= n_vocab))[0].tolist()
        value, where = int(part[tuple(place)]), [start + place[0], *place[1:]]
        reason = "is negative" if value < 0 else f">= vocabulary {n_vocab}"
        raise FileFormatError(f"{name}: id {value} at {where} {reason}")
