"""Batches on their way from a worker process: few bytes through its pipe, and no shared memory.

torch hands each tensor over as a file of shared memory, which costs a connection, a mapping and a fault for each page:
several times what it costs to gather the batch again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmprep.formats.ids import Array

NARROW = (np.uint16, np.int32)
"""What ids are sent as, if all of them fit: the first that will do."""


class SentBatch(list[Tensor]):
    """[inputs, targets], each (B, L) int64, which another process receives as a plain list of new tensors.

    Targets that are the inputs moved by one are sent with them, as rows of L + 1. Anything else that a list may hold by
    then is sent as torch sends it.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        if not _is_pair(self):
            return list, (list(self),)
        inputs, targets = (tensor.numpy() for tensor in self)
        if np.array_equal(inputs[:, 1:], targets[:, :-1]):
            return _cut, (_narrowed(np.concatenate([inputs, targets[:, -1:]], axis=1)),)
        return _widen, (_narrowed(inputs), _narrowed(targets))


def _is_pair(batch: list[Any]) -> bool:
    return len(batch) == 2 and all(
        type(tensor) is Tensor and tensor.dtype == torch.int64 and tensor.ndim == 2 and tensor.shape == batch[0].shape
        for tensor in batch
    )


def _narrowed(ids: Array) -> Array:
    """Return the same ids, in as few bytes as each needs."""
    for dtype in NARROW:
        if ids.size and np.iinfo(dtype).min <= ids.min() and ids.max() <= np.iinfo(dtype).max:
            return ids.astype(dtype)
    return ids


def _cut(rows: Array) -> list[Tensor]:
    return _widen(rows[:, :-1], rows[:, 1:])


def _widen(inputs: Array, targets: Array) -> list[Tensor]:
    return [torch.from_numpy(ids.astype(np.int64, order="C")) for ids in (inputs, targets)]
