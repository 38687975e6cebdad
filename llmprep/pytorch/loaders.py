"""Windows -> torch DataLoaders, with the parameters and the batches of the course."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from llmprep.choices import MAX_LENGTH, Packing, SeparatorBelongs, TokenizerFile
from llmprep.errors import UsageError, plural
from llmprep.formats.ids import Array
from llmprep.formats.vocabularies import check_file_ids
from llmprep.formats.windows import read_windows
from llmprep.ptfile.reading import read_pt
from llmprep.pytorch.batches import collate_windows
from llmprep.pytorch.datasets import WindowDataset
from llmprep.pytorch.rows import Batch, as_int64, unknown_documents
from llmprep.pytorch.sampler import WindowSampler
from llmprep.showing import Tokens
from llmprep.store.reading import absolute
from llmprep.tokens.encoding import encode_text
from llmprep.windows.counts import DefaultSize

DEFAULT_LENGTH, DEFAULT_STRIDE = DefaultSize(MAX_LENGTH), DefaultSize(128)
MAX_NAME = 4096
NAME_ENDINGS = (
    ".txt", ".md", ".pt", ".json", ".jsonl", ".ndjson", ".parquet", ".gz", ".bz2", ".xz", ".zst", ".py", ".csv", "/",
)  # fmt: skip
"""What a text that is no word of its own ends with, if it was meant as a path."""


def load_windows(path: str | os.PathLike[str], *, dense: bool = False) -> Batch:
    """Return (input_ids, target_ids) of a windows file, each (N, L), as ``torch.load`` with ``mmap=True`` would.

    Unlike it, the file's checksums, sizes and ids are checked first. The tensors are views of one storage, mapped from
    the file: a token stands there once, however many windows hold it, as input and as target. To write into one changes
    it in all of them, in this process's memory, and never in the file. With ``dense=True`` the tensors are copies, each
    with numbers of its own, to be written into freely.
    """
    file = read_pt(absolute(path), private=not dense)
    inputs, targets = read_windows(file)
    check_file_ids(file)
    if dense:
        inputs, targets = inputs.copy(), targets.copy()
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def create_dataloader(  # noqa: PLR0913 - the reference's parameters
    txt: str | os.PathLike[str] | Array | Tensor | Tokens | Sequence[int],
    batch_size: int = 4,
    max_length: int = DEFAULT_LENGTH,
    stride: int = DEFAULT_STRIDE,
    shuffle: bool = True,
    drop_last: bool = True,
    num_workers: int = 0,
    *,
    encoding: str | None = None,
    tokenizer: str | os.PathLike[str] | TokenizerFile | None = None,
    split: str | None = None,
    vocab_dir: str | os.PathLike[str] | None = None,
    documents: bool = False,
    separator_belongs: SeparatorBelongs = "old",
    mask_boundaries: bool = False,
    packing: Packing = "stream",
    collate_fn: Callable[[Any], Any] = collate_windows,
) -> DataLoader[Any]:
    """Return a DataLoader of [inputs, targets], each (batch_size, max_length) int64.

    Parameters, defaults and batches are those of ``create_dataloader_v1`` in rasbt/LLMs-from-scratch: under the
    same ``torch.manual_seed`` it yields the same batches, and, but for a store, draws from torch's generator what that
    loader draws, so tables made before or after it begins are the same too. A str is the text itself; a `Path` names
    what `WindowDataset` takes (a text, a folder of texts, a tokens or windows .pt, a token store); an array, Tensor,
    list or `Tokens` holds ids. A windows file has its own max_length and stride: the defaults give way to them, and
    others than these are refused. The windows of a store are shuffled by a `WindowSampler`, which needs no memory for
    them, under a seed drawn from torch's generator.

    With ``documents=True`` a batch is the dict of `DocumentBatch.collated`, or what another ``collate_fn`` makes of it
    for a trainer; ``separator_belongs``, ``mask_boundaries`` and ``packing`` are those of `WindowDataset`.

    Raises `UsageError` for a str that is a path rather than a text, and for a max_length or stride, given, that is not
    the windows file's. Warns if there is no batch at all.
    """
    source: os.PathLike[str] | Array | Tensor | Tokens | Sequence[int]
    if isinstance(txt, str):
        _refuse_path(txt)
        if documents:
            raise unknown_documents("a text in memory")
        source = encode_text(txt, encoding, tokenizer=tokenizer, vocab_dir=vocab_dir)
    else:
        source = txt
    dataset = WindowDataset(
        source, max_length, stride, split=split, encoding=encoding, tokenizer=tokenizer, vocab_dir=vocab_dir,
        documents=documents, separator_belongs=separator_belongs, mask_boundaries=mask_boundaries,
        packing=packing,
    )  # fmt: skip
    own_order = shuffle and dataset.kind == "store"
    seed = int(torch.empty((), dtype=torch.int64).random_()) if own_order else 0
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=shuffle and not own_order,
        sampler=WindowSampler(dataset, seed=seed) if own_order else None,
        drop_last=drop_last,
        num_workers=num_workers,
        collate_fn=collate_fn,
    )
    if not len(loader):
        warnings.warn(
            f"no batch: {plural(len(dataset), 'window')} of {dataset.max_length}, batch_size {batch_size}, and "
            f"drop_last leaves out what fills no batch; lower batch_size or stride, or give drop_last=False",
            stacklevel=2,
        )
    return loader


def _refuse_path(text: str) -> None:
    """Raise `UsageError` for a text of one line that names a file: one that is there, or one by its ending."""
    if "\n" in text or len(text) > MAX_NAME:
        return
    named = text.lower().endswith(NAME_ENDINGS) and not any(map(str.isspace, text))
    if named or os.path.exists(text):  # noqa: PTH110 - a text need not be a path
        raise UsageError(f"{text!r:.80}: a str is the text itself, as in the course; did you mean Path({text!r:.80})?")


class RowDataset(Dataset[Tensor]):
    """The rows of one array (N, L), as int64, gathered a batch at a time."""

    def __init__(self, rows: Array) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Tensor:
        return as_int64(self._rows[index])

    def __getitems__(self, indices: list[int]) -> Tensor:
        return as_int64(self._rows[indices])


def create_row_loader(rows: Array, *, batch_size: int, shuffle: bool) -> DataLoader[Tensor]:
    """Return a DataLoader of all rows, in batches (B, L) int64, in the order that `create_dataloader` would take.

    Order, and what is drawn for it, are the same for any ``batch_size``.
    """
    return DataLoader(RowDataset(rows), batch_size=batch_size, shuffle=shuffle, collate_fn=_as_is)


def _as_is(batch: Any) -> Any:
    return batch
