"""Windows of several data sets -> one batch, each row read where it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from llmprep.formats.ids import Array
from llmprep.pytorch.batches import WindowBatch
from llmprep.pytorch.datasets import WindowDataset
from llmprep.pytorch.documents import DocumentBatch
from llmprep.pytorch.rows import Places, StreamRows
from llmprep.store.reading import TokenStore
from llmprep.windows.documents import DocumentRows

Read = Callable[[int, int], Array]


class MixedRows:
    """The rows of several data sets, which are known by their numbers.

    Rows that are cut from streams are read one by one, as those of a single stream are; others, and those that know
    their documents, are gathered a data set at a time, and put in order.
    """

    def __init__(self, datasets: Sequence[WindowDataset]) -> None:
        self._datasets = list(datasets)
        plain = [dataset.rows for dataset in self._datasets if dataset.marking is None]
        streams = [rows for rows in plain if isinstance(rows, StreamRows)]
        self._streams = [(_reader(rows), rows.stride) for rows in streams] if len(streams) == len(datasets) else None

    def gather(self, numbers: Places, windows: Places) -> WindowBatch | DocumentBatch:
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

    def _gather_each(self, numbers: Places, windows: Places) -> WindowBatch | DocumentBatch:
        present = np.unique(numbers).tolist() or [0]
        parts = [self._datasets[number].__getitems__(windows[numbers == number].tolist()) for number in present]
        back = np.argsort(np.argsort(numbers, kind="stable"))
        told = [part for part in parts if isinstance(part, DocumentBatch)]
        if told:
            rows = _join([part.rows for part in told], back)
            return DocumentBatch(rows, np.concatenate([part.target_ids for part in told])[back])
        plain = [part for part in parts if isinstance(part, WindowBatch)]
        inputs, order = torch.cat([part.inputs for part in plain]), torch.from_numpy(back)
        return WindowBatch(inputs[order], torch.cat([part.targets for part in plain])[order])


def _join(parts: Sequence[DocumentRows], order: Places) -> DocumentRows:
    """Return all rows of some parts, in the order of their numbers."""
    counts = np.concatenate([rows.counts for rows in parts])
    firsts, counts = (np.cumsum(counts) - counts)[order], counts[order]
    moved = np.repeat(firsts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    return DocumentRows(
        np.concatenate([rows.tokens for rows in parts])[order],
        np.concatenate([rows.starts for rows in parts])[moved],
        counts,
        np.concatenate([rows.n_real for rows in parts])[order],
    )


def _reader(rows: StreamRows) -> Read:
    ids = rows.ids
    return ids.read if isinstance(ids, TokenStore) else lambda start, count: ids[start : start + count]
