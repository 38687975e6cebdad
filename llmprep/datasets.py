"""Windows -> torch Dataset and DataLoader. Imports torch.

The Dataset holds one array, mapped from the file where there is one, and no tokenizer. Batches are gathered at
once and widened to int64 per batch, so a uint16 file stays uint16 in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from llmprep.documents import close_source, find_sources, peek
from llmprep.errors import UsageError
from llmprep.kinds import file_tokens, file_windows
from llmprep.ptfile import is_zip, read_pt
from llmprep.sampler import WindowSampler
from llmprep.store.reading import TokenStore
from llmprep.tokens import encode_text, stream_text
from llmprep.vocabulary import load_vocabulary
from llmprep.windows import check_window, require_windows

Array = npt.NDArray[Any]
Places = npt.NDArray[np.int64]
Batch = tuple[Tensor, Tensor]


class WindowDataset(Dataset[Batch]):
    """Windows of one token stream; item k is (input, target), each (max_length,) int64.

    ``source`` is a 1-d array of ids, or the path of a text, a tokens .pt, a windows .pt or a token store; ``split``
    chooses a part of a store that has them. A windows file knows its max_length and stride; of all others, they are
    chosen here, so nothing is rebuilt to try another. Pickles by path, where it has one. Raises `DataError` if there
    is no window.

    >>> dataset = WindowDataset(np.arange(6), max_length=4, stride=1)
    >>> len(dataset), dataset[1][1].tolist()
    (2, [2, 3, 4, 5])
    """

    def __init__(
        self,
        source: Path | Array,
        max_length: int | None = None,
        stride: int | None = None,
        *,
        split: str | None = None,
        encoding: str = "gpt2",
    ) -> None:
        if isinstance(source, Path) and not source.is_dir():
            (found,) = find_sources([str(source)])
            if not is_zip(peek(found, 4)):
                source = np.concatenate(list(stream_text([found], load_vocabulary(encoding))))
            close_source(found)
        self._origin = (source, max_length, stride, split)
        self._rows = self._open(check_crc=True)

    def _open(self, *, check_crc: bool) -> _Rows:
        source, max_length, stride, split = self._origin
        name = str(source) if isinstance(source, Path) else "ids"
        if split is not None and not (isinstance(source, Path) and source.is_dir()):
            raise UsageError(f"split {split}: only a token store has splits")
        ids: TokenStore | Array
        if isinstance(source, Path) and source.is_dir():
            ids = TokenStore(source, split)
        elif isinstance(source, Path):
            file = read_pt(source, check_crc=check_crc)
            if "input_ids" in file.tensors:
                return _FileRows(*file_windows(file, max_length, stride))
            ids = file_tokens(file)
        else:
            ids = source
        if max_length is None:
            raise UsageError("max_length: needed, as the source is not a windows file")
        stride = max_length if stride is None else stride
        check_window(max_length, stride)
        count = require_windows(len(ids), max_length, stride, name)
        return _StreamRows(ids, max_length, stride, count)

    def __getstate__(self) -> dict[str, Any]:
        return {"origin": self._origin}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._origin = state["origin"]
        self._rows = self._open(check_crc=False)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Batch:
        inputs, targets = self._rows.gather(self._checked([index]))
        return inputs[0], targets[0]

    def __getitems__(self, indices: list[int]) -> WindowBatch:
        """Gather a whole batch; torch's fetcher calls this where it exists."""
        return WindowBatch(*self._rows.gather(self._checked(indices)))

    def _checked(self, indices: Sequence[int]) -> Places:
        """Window numbers, those from the end counted from the start. Raises IndexError for one that is not there."""
        places = np.asarray(indices, np.int64)
        outside = (places < -len(self)) | (places >= len(self))
        if outside.any():
            raise IndexError(f"window {places[outside][0]} of {len(self)}")
        return places % len(self)


class _Rows(Protocol):
    def __len__(self) -> int: ...
    def gather(self, places: Places) -> Batch: ...


@dataclass(frozen=True, slots=True)
class _FileRows:
    """Rows of a windows file, (N, L) each."""

    inputs: Array
    targets: Array

    def __len__(self) -> int:
        return len(self.inputs)

    def gather(self, places: Places) -> Batch:
        return _long(self.inputs[places]), _long(self.targets[places])


@dataclass(frozen=True, slots=True)
class _StreamRows:
    """Rows cut from a stream when asked for: each is read once, one token longer than an input."""

    ids: TokenStore | Array
    max_length: int
    stride: int
    count: int

    def __len__(self) -> int:
        return self.count

    def gather(self, places: Places) -> Batch:
        starts = places * self.stride
        if isinstance(self.ids, TokenStore):
            rows = self.ids.gather(starts, self.max_length + 1)
        else:
            rows = np.empty((len(starts), self.max_length + 1), np.int64)
            for row, start in zip(rows, starts.tolist(), strict=True):
                row[:] = self.ids[start : start + self.max_length + 1]
        both = torch.from_numpy(rows)
        return both[:, :-1].contiguous(), both[:, 1:].contiguous()


def _long(ids: Array) -> Tensor:
    return torch.from_numpy(ids.astype(np.int64))


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
    return [batch.inputs, batch.targets] if isinstance(batch, WindowBatch) else default_collate(batch)


def load_windows(path: str | Path) -> Batch:
    """Return (input_ids, target_ids) of a windows file, each (N, L), as ``torch.load`` with ``mmap=True`` would.

    Unlike it, the file's checksums and sizes are checked first. The tensors are views of one storage: read them, or
    ``clone()`` them before writing.
    """
    inputs, targets = file_windows(read_pt(Path(path)))
    return _view_as_tensor(inputs), _view_as_tensor(targets)


def _view_as_tensor(array: Array) -> Tensor:
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def create_dataloader(  # noqa: PLR0913 - the reference's parameters
    txt: str | Path | Array,
    batch_size: int = 4,
    max_length: int = 256,
    stride: int = 128,
    shuffle: bool = True,
    drop_last: bool = True,
    num_workers: int = 0,
    *,
    encoding: str = "gpt2",
    split: str | None = None,
) -> DataLoader[Batch]:
    """Return a DataLoader of [inputs, targets], each (batch_size, max_length) int64.

    Parameters, defaults and batches are those of ``create_dataloader_v1`` in rasbt/LLMs-from-scratch: under the
    same ``torch.manual_seed`` it yields the same batches. A str is the text itself; a `Path` names a file (text,
    tokens .pt or windows .pt, or a token store); an array holds ids. The windows of a store are shuffled by a
    `WindowSampler`, which needs no memory for them, under a seed drawn from torch's generator.
    """
    source = encode_text(txt, encoding) if isinstance(txt, str) else txt
    dataset = WindowDataset(source, max_length, stride, split=split, encoding=encoding)
    own_order = shuffle and isinstance(source, Path) and source.is_dir()
    seed = int(torch.empty((), dtype=torch.int64).random_()) if own_order else 0
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=shuffle and not own_order,
        sampler=WindowSampler(dataset, seed=seed) if own_order else None,
        drop_last=drop_last,
        num_workers=num_workers,
        collate_fn=collate_windows,
    )


class RowDataset(Dataset[Tensor]):
    """The rows of one array (N, L), as int64, gathered a batch at a time."""

    def __init__(self, rows: Array) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Tensor:
        return _long(self._rows[index])

    def __getitems__(self, indices: list[int]) -> Tensor:
        return _long(self._rows[indices])


def create_row_loader(rows: Array, *, batch_size: int, shuffle: bool, drop_last: bool) -> DataLoader[Tensor]:
    """Return a DataLoader of (B, L) int64 batches of rows, in the order that `create_dataloader` would take."""
    return DataLoader(RowDataset(rows), batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, collate_fn=_as_is)


def _as_is(batch: Any) -> Any:
    return batch
