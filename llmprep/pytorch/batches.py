"""Batches of windows, gathered at once, and what each trainer takes of windows that know their documents.

Each collate takes a `DocumentBatch`, which torch's loaders get of a `WindowDataset` made with ``documents=True``, or a
list of its items. Those whose labels the model itself shifts give all L + 1 tokens of a row, as each row's last target
would be lost otherwise. What only fills a packed row is left out where a trainer takes rows of any length, and is one
more document, without a target, where it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info

from llmprep.pytorch.documents import DocumentBatch, is_item
from llmprep.pytorch.rows import Batch
from llmprep.pytorch.transfer import SentBatch
from llmprep.windows.documents import NO_TARGET, DocumentRows, Places


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
    """Collate items as torch does, but take a gathered batch as it is.

    Windows become [inputs, targets], each (B, max_length); those that know their documents `DocumentBatch.collated`.
    """
    if isinstance(batch, WindowBatch):
        pair = [batch.inputs, batch.targets]
        return pair if get_worker_info() is None else SentBatch(pair)
    if isinstance(batch, DocumentBatch) or (isinstance(batch, list) and batch and is_item(batch[0])):
        return DocumentBatch.of(batch).collated()
    return default_collate(batch)


def collate_padding_free(
    batch: Any, *, return_seq_idx: bool = False, position_ids_start: int = 0
) -> dict[str, Tensor | int]:
    """Join a batch into one row of T tokens, for Hugging Face models: they shift ``labels`` themselves.

    Gives what ``DataCollatorWithFlattening(return_flash_attn_kwargs=True)`` of transformers 5.24 makes of the parts of
    documents: ``input_ids``, ``labels`` and ``position_ids`` (1, T) int64, where the first label of each part is -100
    and positions count from ``position_ids_start``; ``cu_seq_lens_q`` and ``_k`` (parts + 1,) int32, ``max_length_q``
    and ``_k``; with ``return_seq_idx``, ``seq_idx`` (1, T) int32, the number of each token's part. No attention_mask.
    """
    given = DocumentBatch.of(batch)
    rows, width = given.rows, given.rows.tokens.shape[1]
    real = np.arange(width) < rows.n_real[:, None]
    labels = _labels(given)
    labels[np.repeat(np.arange(len(rows.counts)), rows.counts), rows.starts] = NO_TARGET
    parts = rows.parts(width)
    positions = parts.position_ids()[real] + position_ids_start
    lengths = parts.joined()
    ends, longest = _cumulated(lengths), int(lengths.max())
    joined: dict[str, Tensor | int] = {
        "input_ids": torch.from_numpy(rows.tokens[real])[None],
        "labels": torch.from_numpy(labels[real])[None],
        "position_ids": torch.from_numpy(positions)[None],
    }
    if return_seq_idx:
        joined["seq_idx"] = torch.from_numpy(np.repeat(np.arange(len(lengths), dtype=np.int32), lengths))[None]
    return {**joined, "cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}


def collate_trl(batch: Any) -> list[dict[str, list[int]]]:
    """Return rows for ``DataCollatorForLanguageModeling`` of TRL 1.16, which pads them, or joins them ``padding_free``.

    Each has ``input_ids`` and ``labels``, unshifted, of its L + 1 tokens, and ``seq_lengths``, the lengths of the parts
    of documents in it: lists, as the rows are that TRL packs itself.
    """
    given = DocumentBatch.of(batch)
    labels = _labels(given)
    labels[:, 0] = given.rows.tokens[:, 0]
    return [
        {"input_ids": tokens[:n].tolist(), "labels": row[:n].tolist(), "seq_lengths": lengths}
        for tokens, row, n, lengths in zip(
            given.rows.tokens,
            labels,
            given.rows.n_real.tolist(),
            given.rows.parts(given.rows.tokens.shape[1]).lists(),
            strict=True,
        )
    ]


def collate_torchtitan(batch: Any) -> tuple[dict[str, Tensor], Tensor]:
    """Return ``({"input", "positions"}, labels)``, each (B, L) int64, as the loaders of torchtitan 0.3 do.

    Labels are shifted. Positions begin at 0 in each row and each document, which is how torchtitan finds documents.
    """
    collated = DocumentBatch.of(batch).collated()
    return {"input": collated["input_ids"], "positions": collated["position_ids"]}, collated["target_ids"]


def collate_megatron(batch: Any) -> dict[str, Tensor]:
    """Join a batch into one packed row of T = B * L tokens, as Megatron-LM takes it: a micro-batch of 1.

    ``tokens``, ``labels`` (shifted) and ``position_ids`` (1, T) int64; ``loss_mask`` (1, T) float32, 0 where the label
    is -100; ``cu_seqlens`` (1, parts + 1) int32 and ``max_seqlen`` (1,) int32. These are the keys of the packed samples
    of Megatron-LM's SFT data set, and what ``get_thd_batch_on_this_cp_rank`` of megatron-core 0.16 takes.
    """
    given = DocumentBatch.of(batch)
    collated = given.collated()
    targets = collated["target_ids"].reshape(1, -1)
    lengths = np.concatenate(_filled(given.rows, given.rows.tokens.shape[1] - 1))
    return {
        "tokens": collated["input_ids"].reshape(1, -1),
        "labels": targets,
        "loss_mask": (targets != NO_TARGET).float(),
        "position_ids": collated["position_ids"].reshape(1, -1),
        "cu_seqlens": _cumulated(lengths)[None],
        "max_seqlen": torch.tensor([lengths.max()], dtype=torch.int32),
    }


def collate_olmo(batch: Any) -> dict[str, Any]:
    """Return what ``DataCollator`` of OLMo-core 3.0 does, of rows of W = L + 1 tokens: it shifts labels itself.

    ``input_ids`` (B, W) int64; ``label_mask`` (B, W) bool, False for a token that is nothing's target; ``doc_lens``
    (B, most parts of a row) int32, padded with 0, which sum to W in each row, and ``max_doc_lens``, a list of B ints.
    """
    given = DocumentBatch.of(batch)
    lengths = _filled(given.rows, given.rows.tokens.shape[1])
    padded = np.zeros((len(lengths), max(map(len, lengths))), np.int32)
    for row, each in zip(padded, lengths, strict=True):
        row[: len(each)] = each
    return {
        "input_ids": torch.from_numpy(given.rows.tokens),
        "label_mask": torch.from_numpy(_labels(given) != NO_TARGET),
        "doc_lens": torch.from_numpy(padded),
        "max_doc_lens": padded.max(axis=1).tolist(),
    }


def document_mask(document_ids: Tensor) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Return a ``mask_mod`` for ``torch.nn.attention.flex_attention``: causal, and within one document.

    ``document_ids`` (B, L) are those of a batch, on the device where attention runs. What fills a packed row sees only
    what fills it, so no token is without one to attend to.
    """

    def same_document(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:  # noqa: ARG001 - flex's own
        return (q_idx >= kv_idx) & (document_ids[b, q_idx] == document_ids[b, kv_idx])

    return same_document


def _labels(batch: DocumentBatch) -> Places:
    """Return unshifted labels, (B, L + 1) int64: each token's own id, where it is a target of the row."""
    labels = np.full(batch.rows.tokens.shape, NO_TARGET, np.int64)
    labels[:, 1:] = batch.target_ids
    return labels


def _filled(rows: DocumentRows, width: int) -> list[Places]:
    """Return the lengths of each row's parts within ``width`` tokens, then of what fills it: they sum to ``width``."""
    fill = np.maximum(width - rows.n_real, 0).tolist()
    return [
        np.array([*lengths, *filter(None, [left])], np.int64)
        for lengths, left in zip(rows.parts(width).lists(), fill, strict=True)
    ]


def _cumulated(lengths: Places) -> Tensor:
    """Return where each part begins in the joined rows, and where the last one ends: (parts + 1,) int32."""
    return torch.from_numpy(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))
