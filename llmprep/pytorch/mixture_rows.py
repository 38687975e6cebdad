"""Windows of several data sets -> one batch, each row read where it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from llmprep.formats.ids import Array
from llmprep.pytorch.batches import WindowBatch
from llmprep.pytorch.datasets import WindowDataset
from llmprep.pytorch.rows import Places, StreamRows
from llmprep.store.reading import TokenStore

Read = Callable[[int, int], Array]


class MixedRows:
    """The rows of several data sets, which are known by their numbers.

    Rows that are cut from streams are read one by one, as those of a single stream are; others are gathered a data set
    at a time, and put in order.
    """

    def __init__(self, datasets: Sequence[WindowDataset]) -> None:
        self._datasets = list(datasets)
        rows = [dataset.rows for dataset in self._datasets]
        streams = [each for each in rows if isinstance(each, StreamRows)]
        self._streams = [(_reader(each), each.stride) for each in streams] if len(streams) == len(rows) else None

    def gather(self, numbers: Places, windows: Places) -> WindowBatch:
        """Return windows (B,) of the data sets with these numbers (B,), in this order, as copies."""
        if self._streams is None:
            return self._gather_each(numbers, windows)
        length = self._datasets[0].max_length + 1
        tokens = np.empty((len(numbers), length), np.int64)
        for row, number, window in zip(tokens, numbers.tolist(), windows.tolist(), strict=True):
            read, stride = self._streams[number]
            row[:] = read(window * stride, length)
        both = torch.from_numpy(tokens)
        return WindowBatch(both[:, :-1].contiguous(), both[:, 1:].contiguous())

    def _gather_each(self, numbers: Places, windows: Places) -> WindowBatch:
        order = np.argsort(numbers, kind="stable")
        parts = [self._datasets[n].__getitems__(windows[numbers == n].tolist()) for n in np.unique(numbers).tolist()]
        back = torch.from_numpy(np.argsort(order))
        inputs, targets = (
            torch.cat(columns)[back] for columns in zip(*((p.inputs, p.targets) for p in parts), strict=True)
        )
        return WindowBatch(inputs, targets)


def _reader(rows: StreamRows) -> Read:
    ids = rows.ids
    return ids.read if isinstance(ids, TokenStore) else lambda start, count: ids[start : start + count]
