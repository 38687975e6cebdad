"""Data sets whose windows tell their numbers, and loaders compared batch by batch."""

import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from llmprep.pytorch.datasets import WindowDataset


def numbered(n: int) -> WindowDataset:
    """A data set of n windows whose first ids tell their numbers."""
    return WindowDataset(np.arange(10 * n + 1, dtype=np.uint16), 10, 10)


def numbers(batch: Any) -> list[int]:
    """The numbers of a batch's windows."""
    return [int(first) // 10 for first in batch[0][:, 0]]


def sent(value: Any) -> Any:
    """What another process gets of a value."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


def same_items(dataset: Any, expected: Any) -> bool:
    """Two data sets have as many items, and the first, one in the middle and the last are equal."""
    places = (0, len(expected) // 2, -1)
    return len(dataset) == len(expected) and all(
        torch.equal(ours, theirs) for k in places for ours, theirs in zip(dataset[k], expected[k], strict=True)
    )


def assert_same_batches(ours: Iterable[Any], theirs: Iterable[Any]) -> None:
    """Both loaders yield, under the same seed, the same list of [inputs, targets], int64."""
    batches = []
    for loader in (ours, theirs):
        torch.manual_seed(123)
        batches.append(list(loader))
    assert len(batches[0]) == len(batches[1]) > 0
    for batch, expected in zip(*batches, strict=True):
        assert type(batch) is type(expected) is list
        for tensor, wanted in zip(batch, expected, strict=True):
            assert tensor.dtype == wanted.dtype == torch.int64
            assert torch.equal(tensor, wanted)
