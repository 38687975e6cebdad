"""A source -> the first batches of its loader, and what an epoch of them is."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from llmprep.choices import SEED
from llmprep.pytorch.loaders import create_dataloader
from llmprep.pytorch.rows import Batch

NARROWEST = 20
"""Columns that a tensor is given at least: a number and its brackets."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How windows make batches, and the seed that torch is given before."""

    batch_size: int
    shuffle: bool = False
    drop_last: bool = False
    seed: int = SEED


@dataclass(frozen=True, slots=True)
class Epoch:
    """The first batches of an epoch, each [inputs, targets], (B, L) int64 each, and how many batches it has.

    ``n_last`` is how many windows the last batch has, ``n_dropped`` how many windows are in none.
    """

    first: list[Batch]
    n_windows: int
    n_batches: int
    n_last: int
    n_dropped: int


def first_batches(path: os.PathLike[str], max_length: int, stride: int, batching: Batching, count: int) -> Epoch:
    """Return the first ``count`` batches, fewer if there are no more, as a training loop gets them.

    They are those of `create_dataloader` of a tokens or windows file, or a store, after ``torch.manual_seed``. Raises
    as it does.
    """
    torch.manual_seed(batching.seed)
    size, drop_last = batching.batch_size, batching.drop_last
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no batch: ")
        loader = create_dataloader(path, size, max_length, stride, batching.shuffle, drop_last)
    dataset: Any = loader.dataset
    n_windows, n_batches = len(dataset), len(loader)
    n_dropped = n_windows - n_batches * size if drop_last else 0
    n_last = n_windows - n_dropped - (n_batches - 1) * size if n_batches else 0
    return Epoch(list(islice(loader, count)), n_windows, n_batches, n_last, n_dropped)


def tensor_lines(tensor: torch.Tensor, width: int) -> list[str]:
    """Return what ``print(tensor)`` shows, in lines of at most ``width`` columns where a number allows it.

    Torch's own width is 80, so no more is used.
    """
    with _line_width(min(80, max(NARROWEST, width))):
        return repr(tensor).split("\n")


@contextmanager
def _line_width(width: int) -> Iterator[None]:
    own = torch._tensor_str.PRINT_OPTS.linewidth  # noqa: SLF001 - torch sets the width, and does not tell it
    torch.set_printoptions(linewidth=width)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        torch.set_printoptions(linewidth=own)  # type: ignore[no-untyped-call]
