"""Data sets whose windows tell their numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from llmprep.pytorch.datasets import WindowDataset


def numbered(n: int) -> WindowDataset:
    """A data set of n windows whose first ids tell their numbers."""
    return WindowDataset(np.arange(10 * n + 1, dtype=np.uint16), 10, 10)


def numbers(batch: Any) -> list[int]:
    """The numbers of a batch's windows."""
    return [int(first) // 10 for first in batch[0][:, 0]]
