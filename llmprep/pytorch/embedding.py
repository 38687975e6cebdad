"""Sizes, tables and the batches of ids that are embedded through them.

The tables, and the order in which they and the loader draw random numbers, are those of the data-loading chapter of
rasbt/LLMs-from-scratch, which has two orders: ``dataloader`` is that of its dataloader.ipynb, ``ch02`` that of its
ch02.ipynb, run from the top. With the same torch, seed, sizes and options of the loader the result is the notebook's,
bit for bit.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import Embedding

from llmprep.choices import DrawOrder, FloatDtype
from llmprep.errors import DataError, UsageError, plural
from llmprep.formats.weights import WEIGHT_KEYS, read_weights, weight_keys
from llmprep.ptfile.layout import DTYPES
from llmprep.ptfile.reading import PtFile
from llmprep.pytorch.embedded import Tables

DIM = 256
TORCH_BYTES, BLOCKS_BYTES = 190 * 10**6, 100 * 10**6
"""What torch takes of memory as soon as it is imported, and all else but the tables; measured, with some to spare."""
CONTEXT_LENGTH = 1024
ORDER: DrawOrder = "dataloader"
CH02_EXAMPLE = (6, 3)
"""The small layer that ch02.ipynb makes between its seed and its tables; it draws from the same generator."""


@dataclass(frozen=True, slots=True)
class EmbeddingOptions:
    """What may be chosen. Where ``dim`` and ``context_length`` are None, they are the weights' own, or the course's.

    ``batches`` is how many batches are embedded, None for all.
    """

    dim: int | None = None
    context_length: int | None = None
    batch_size: int = 8
    batches: int | None = None
    drop_last: bool = False
    dtype: FloatDtype = "float32"


@dataclass(frozen=True, slots=True)
class EmbeddingSizes:
    """What is computed: ``n_windows`` windows in batches, through tables of these sizes."""

    n_windows: int
    max_length: int
    n_vocab: int
    context_length: int
    dim: int
    batch_size: int
    dtype: FloatDtype

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the result, (N, L, D)."""
        return self.n_windows, self.max_length, self.dim

    def check_memory(self, limit: int | None) -> None:
        """Raise `UsageError` if the tables, with torch and the blocks under way, take more than a limit in bytes."""
        need = TORCH_BYTES + BLOCKS_BYTES + (self.n_vocab + self.context_length) * self.dim * 4
        if limit is not None and need > limit:
            least = -(-need // 10**6)
            raise UsageError(f"--memory {limit}: too little: torch and tables take up to {least} MB; give {least}MB")

    @property
    def n_bytes(self) -> int:
        """Size of the result."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


@dataclass(frozen=True, slots=True)
class Drawing:
    """How random numbers are drawn: under which seed, in whose order, and whether to shuffle windows with them."""

    seed: int
    order: DrawOrder = ORDER
    shuffle: bool = False


def find_sizes(
    rows: tuple[int, ...], n_vocab: int, weights: PtFile | None = None, options: EmbeddingOptions | None = None
) -> EmbeddingSizes:
    """Return the sizes for windows of shape ``rows`` (N, L); tables are as large as ``weights``, else as chosen.

    Raises `UsageError` for windows longer than the context, for tables larger than the memory and for sizes that are
    not those of the weights, `DataError` if there is no batch.
    """
    options = options or EmbeddingOptions()
    dim, context_length = options.dim, options.context_length
    if weights is not None:
        (n_vocab, own_dim), (own_context, _) = (table.shape for table in read_weights(weights))
        for name, wanted, own in (("dim", dim, own_dim), ("context-length", context_length, own_context)):
            if wanted is not None and wanted != own:
                raise UsageError(f"--{name} {wanted}: {weights.name} has {own}")
        dim, context_length = own_dim, own_context
    dim, context_length = dim or DIM, context_length or CONTEXT_LENGTH
    _check_sizes(n_vocab, dim, context_length, rows[1])
    n_windows = _count_windows(rows[0], options)
    return EmbeddingSizes(n_windows, rows[1], n_vocab, context_length, dim, options.batch_size, options.dtype)


def _count_windows(n_rows: int, options: EmbeddingOptions) -> int:
    size = options.batch_size
    if options.drop_last and n_rows < size:
        raise DataError(
            f"{plural(n_rows, 'window')} cannot fill a batch of {size}; leave out --drop-last or lower --batch-size"
        )
    n_windows = n_rows - n_rows % size if options.drop_last else n_rows
    return n_windows if options.batches is None else min(n_windows, options.batches * size)


def _check_sizes(n_vocab: int, dim: int, context_length: int, max_length: int) -> None:
    if max_length > context_length:
        raise UsageError(
            f"max_length {max_length} is larger than --context-length {context_length}; "
            f"each position of a window needs a row of the positional table"
        )
    need, have = (n_vocab + context_length) * dim * 4, _memory_bytes()
    if have is not None and need > have:
        raise UsageError(
            f"--dim {dim}: tables of ({n_vocab} + {context_length}) x {dim} float32 need {need / 1e9:.1f} GB, "
            f"this machine has {have / 1e9:.1f} GB"
        )


def _memory_bytes() -> int | None:
    """Return the size of this machine's memory, or None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system, or one without these names
        return None


def choose_order(order: DrawOrder | None, *, shuffle: bool, weights: str | None) -> DrawOrder:
    """Return the order of drawing, which is ``dataloader`` where none is given.

    Raises `UsageError` where no drawn number is used: the tables are a file's, and windows are not shuffled.
    """
    if order is not None and weights is not None and not shuffle:
        raise UsageError(f"--order {order}: --weights has both tables and nothing is shuffled; leave it out")
    return order or ORDER


def create_tables(
    sizes: EmbeddingSizes, loader: Iterable[Tensor], drawing: Drawing, weights: PtFile | None = None
) -> tuple[Tables, Iterator[Tensor]]:
    """Seed torch's global generator and draw from it; return the tables, and batches of the ids (N, L) to be embedded.

    ``dataloader`` draws the token table, the positional table, then what the loader needs. ``ch02`` draws a layer of
    (6, 3), the token table, what the loader needs up to its first batch, then the positional table.
    Tables given as ``weights`` are drawn all the same, so that windows are shuffled alike.
    """
    torch.manual_seed(drawing.seed)
    if drawing.order == "ch02":
        Embedding(*CH02_EXAMPLE)
    token = Embedding(sizes.n_vocab, sizes.dim)
    batches = _begin(loader) if drawing.order == "ch02" else loader
    tables = Tables(token, Embedding(sizes.context_length, sizes.dim))
    if weights is not None:
        _load_tables(tables, weights)
    return tables, _first(batches, sizes.n_windows)


def _begin(loader: Iterable[Tensor]) -> Iterator[Tensor]:
    """Take the first batch, for which a loader draws its seeds, and yield it with all others."""
    batches = iter(loader)
    first = next(batches)
    return itertools.chain([first], batches)


def _first(batches: Iterable[Tensor], n_windows: int) -> Iterator[Tensor]:
    """Yield batches until they are ``n_windows`` windows, of which the last batch may have too many."""
    for batch in batches:
        yield batch[:n_windows]
        n_windows -= len(batch)
        if n_windows <= 0:
            return


def _load_tables(tables: Tables, file: PtFile) -> None:
    for weights, table in zip(read_weights(file), (tables.token, tables.position), strict=True):
        table.weight.data = torch.tensor(weights, dtype=torch.float32)


def check_device(name: str) -> torch.device:
    """Return the device, or raise `UsageError` if torch has none of that name here."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"--device {name}: not available here ({str(error).splitlines()[0]})") from error
    return device


def weight_arrays(tables: Tables) -> dict[str, npt.NDArray[np.float32]]:
    """Return both tables by the names that a weights file has for them, float32."""
    named = zip(WEIGHT_KEYS[0], (tables.token, tables.position), strict=True)
    return {key: table.weight.detach().to("cpu").numpy() for key, table in named}


def content_options(sizes: EmbeddingSizes, drawing: Drawing, weights: PtFile | None = None) -> dict[str, object]:
    """Return the options that decide an embeddings file, for its ``meta``; ``order`` only if not the default."""
    order = {} if drawing.order == ORDER else {"order": drawing.order}
    return {
        "dim": sizes.dim,
        "context_length": sizes.context_length,
        "batch_size": sizes.batch_size,
        "n_windows": sizes.n_windows,
        "seed": drawing.seed,
        "shuffle": drawing.shuffle,
        "dtype": sizes.dtype,
        "weights_sha256": None if weights is None else _weights_sha256(weights),
        **order,
    }


def _weights_sha256(weights: PtFile) -> str:
    hashed = hashlib.sha256()
    for key in weight_keys(weights):
        hashed.update(np.ascontiguousarray(weights.tensors[key]).data)
    return hashed.hexdigest()
