"""Ids -> the bytes of their embeddings, in blocks that are computed while the last one is written.

On the CPU numpy gathers and adds, in threads that do not wait for each other: for float32 its sums are torch's, bit for
bit. torch rounds to the narrow dtypes, which numpy lacks or rounds slowly.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import Embedding

from llmprep.choices import FloatDtype
from llmprep.formats.ids import check_ids
from llmprep.tokens.cores import default_jobs
from llmprep.tokens.threads import map_in_order

BLOCK_BYTES = 1 << 20
"""Size of a block's float32 sums: few enough for a core's cache, and what a system takes most cheaply in one write."""
IDS_AT_ONCE = 1 << 16
"""Ids that are loaded at once, and the most of a block: where embeddings are short, ids take more memory than they."""
JOBS = 2
"""Threads that gather and add. More would wait: to write takes longer."""
SERIAL = 1 << 15
"""Most numbers that torch converts without threads of its own, which would wait for each other's cores."""

Piece: TypeAlias = tuple[Tensor, int]
"""Ids (B, L) int64, and the position of their first column in their windows. Where B > 1 they are whole windows."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Token table (n_vocab, dim) and positional table (context_length, dim), float32."""

    token: Embedding
    position: Embedding

    @property
    def dim(self) -> int:
        """Numbers per token."""
        return self.token.embedding_dim

    def embed(self, ids: Tensor, start: int = 0) -> Tensor:
        """Return token + position for ids (B, L) of the positions from ``start`` on: (B, L, dim)."""
        positions = torch.arange(start, start + ids.shape[1], device=ids.device)
        embedded: Tensor = self.token(ids) + self.position(positions)
        return embedded


def windows_at_once(max_length: int) -> int:
    """Return how many windows to load at once, so that what each batch costs besides does not count."""
    return max(1, IDS_AT_ONCE // max_length)


def embed_batches(
    batches: Iterable[Tensor], tables: Tables, *, device: torch.device, dtype: FloatDtype = "float32"
) -> Iterator[memoryview]:
    """Yield the bytes of token + position (B, L, dim) in ``dtype`` for batches of ids (B, L), one after the other.

    A block is a part of a batch; batches of `windows_at_once` are best. Its memory is used again: it holds until the
    next one is asked for.
    """
    tables.token.to(device)
    tables.position.to(device)
    embed = embed_on_cpu if device.type == "cpu" else embed_on_device
    return embed(cut_batches(batches, tables.dim), tables, getattr(torch, dtype))


def cut_batches(batches: Iterable[Tensor], dim: int) -> Iterator[Piece]:
    """Cut batches into pieces of a block's size, in the order of their ids."""
    most = _ids_of_block(dim)
    for batch in batches:
        max_length = batch.shape[1]
        for windows in torch.split(batch, max(1, most // max_length)):
            for start in range(0, max_length, most):
                yield windows[:, start : start + most], start


def _ids_of_block(dim: int) -> int:
    return max(1, min(IDS_AT_ONCE, BLOCK_BYTES // (4 * dim)))


def raw_bytes(tensor: Tensor) -> memoryview:
    """Return the bytes of a contiguous tensor on the CPU, bfloat16 included."""
    return tensor.view(torch.uint8).numpy().data.cast("B")


# --- on the CPU -----------------------------------------------------------------------------------


class _Place:
    """Memory for a block: its sums, and, for a narrow dtype, these rounded."""

    def __init__(self, n: int, dtype: torch.dtype) -> None:
        self.sums: npt.NDArray[np.float32] = np.empty(n, np.float32)
        self.rounded = None if dtype == torch.float32 else torch.empty(n, dtype=dtype)

    def give(self, n: int) -> memoryview:
        """Return the bytes of the first ``n`` numbers."""
        if self.rounded is None:
            return self.sums[:n].data.cast("B")
        sums = torch.from_numpy(self.sums[:n])
        for wide, narrow in zip(torch.split(sums, SERIAL), torch.split(self.rounded[:n], SERIAL), strict=True):
            narrow.copy_(wide)
        return raw_bytes(self.rounded[:n])


def embed_on_cpu(pieces: Iterator[Piece], tables: Tables, dtype: torch.dtype) -> Iterator[memoryview]:
    """Gather and add in threads; a place is used again once its block has been written."""
    token, position = (table.weight.detach().numpy() for table in (tables.token, tables.position))

    def embed(item: tuple[Piece, _Place]) -> memoryview:
        (ids, start), place = item
        length, dim, numbers = ids.shape[1], tables.dim, ids.numel() * tables.dim
        chosen = ids.reshape(-1).numpy()
        check_ids(chosen, len(token), "ids")  # "clip" checks nothing, and spares a copy
        sums = place.sums[:numbers].reshape(-1, length, dim)
        np.take(token, chosen, axis=0, out=sums.reshape(-1, dim), mode="clip")
        with np.errstate(over="ignore", invalid="ignore"):  # torch says nothing of these either
            np.add(sums, position[start : start + length], out=sums)
        return place.give(numbers)

    jobs = min(JOBS, default_jobs())
    most = _ids_of_block(tables.dim) * tables.dim
    places = [_Place(most, dtype) for _ in range(2 * jobs + 1)]  # as many as `map_in_order` has under way
    return map_in_order(embed, zip(pieces, itertools.cycle(places), strict=False), jobs)


# --- on another device ----------------------------------------------------------------------------


def embed_on_device(pieces: Iterator[Piece], tables: Tables, dtype: torch.dtype) -> Iterator[memoryview]:
    """Compute and copy a block while the one before it is written; on CUDA neither waits for this thread.

    There are two places on this side: the block that is written lies in one, the next one comes into the other.
    """
    device = tables.token.weight.device
    on_cuda = device.type == "cuda"
    most = _ids_of_block(tables.dim) * tables.dim
    places = [torch.empty(most, dtype=dtype, pin_memory=on_cuda) for _ in range(2)]
    last: tuple[Tensor, Any] | None = None
    for (ids, start), place in zip(pieces, itertools.cycle(places), strict=False):
        with torch.no_grad():
            embedded = tables.embed(ids.to(device), start).to(dtype).reshape(-1)
            block = place[: len(embedded)].copy_(embedded, non_blocking=on_cuda)
        copied = torch.cuda.current_stream(device).record_event() if on_cuda else None
        if last is not None:
            yield _wait(*last)
        last = block, copied
    if last is not None:
        yield _wait(*last)


def _wait(block: Tensor, copied: Any) -> memoryview:
    """Return a block's bytes once they have come."""
    if copied is not None:
        copied.synchronize()
    return raw_bytes(block)
