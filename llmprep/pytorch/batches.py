"""Batches of windows, gathered at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import default_collate, get_worker_info

from llmprep.pytorch.rows import Batch
from llmprep.pytorch.transfer import SentBatch


class WindowBatch(Sequence[Batch]):
    """A gathered batch that looks like the list of its items, for code that collates lists."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs = inputs
        self.targets = targets

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: Any) -> Any:
        return self.inputs[index], self.targets[index]

    def __iter__(self) -> Iterator[Batch]:
        return zip(self.inputs, self.targets, strict=True)


def collate_windows(batch: Any) -> Any:
    """Collate items as torch does, but take a `WindowBatch` as it is: [inputs, targets], each (B, max_length)."""
    if not isinstance(batch, WindowBatch):
        return default_collate(batch)
    pair = [batch.inputs, batch.targets]
    return pair if get_worker_info() is None else SentBatch(pair)
