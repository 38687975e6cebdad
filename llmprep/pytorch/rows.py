"""The rows of a data set: of a windows file, or cut from a stream when asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmprep.formats.ids import hash_ids
from llmprep.store.reading import TokenStore

Array = npt.NDArray[Any]
Places = npt.NDArray[np.int64]
Batch = tuple[Tensor, Tensor]
ROWS = 1024


class Rows(Protocol):
    @property
    def stated(self) -> str:
        """The hash of the ids that their source states; empty where it states none."""

    @property
    def first(self) -> int:
        """The place of the first token in what is hashed."""

    @property
    def max_length(self) -> int:
        """Tokens of an input."""

    @property
    def stride(self) -> int | None:
        """Tokens from a window to the next, where that is known."""

    def __len__(self) -> int: ...
    def gather(self, places: Places) -> Batch: ...
    def content_sha256(self) -> str: ...


@dataclass(frozen=True, slots=True)
class FileRows:
    """Rows of a windows file, (N, L) each."""

    inputs: Array
    targets: Array
    stated: str
    stride: int | None

    @property
    def first(self) -> int:
        return 0

    @property
    def max_length(self) -> int:
        return int(self.inputs.shape[1])

    def content_sha256(self) -> str:
        """The hash of all inputs, then all targets: what stream they were cut from is not known."""
        digest = hashlib.sha256()
        for rows in (self.inputs, self.targets):
            for start in range(0, len(rows), ROWS):
                hash_ids(rows[start : start + ROWS].reshape(-1), digest)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.inputs)

    def gather(self, places: Places) -> Batch:
        return as_int64(self.inputs[places]), as_int64(self.targets[places])


@dataclass(frozen=True, slots=True)
class StreamRows:
    """Rows cut from a stream when asked for: each is read once, one token longer than an input."""

    ids: TokenStore | Array
    max_length: int
    stride: int
    count: int
    stated: str

    @property
    def first(self) -> int:
        return self.ids.first if isinstance(self.ids, TokenStore) else 0

    def content_sha256(self) -> str:
        return self.ids.content_sha256 if isinstance(self.ids, TokenStore) else hash_ids(self.ids)

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


def as_int64(ids: Array) -> Tensor:
    return torch.from_numpy(ids.astype(np.int64))
