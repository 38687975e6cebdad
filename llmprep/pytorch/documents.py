"""What windows know of their documents, as values and as batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

import numpy as np
import torch

from llmprep.choices import SeparatorBelongs
from llmprep.errors import UsageError
from llmprep.windows.documents import DocumentRows, Places

Item: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Marking:
    """How the documents of windows are told.

    ``separator_belongs`` says whether the end-of-text id between two documents is the last token of the "old" one or
    the first of the "new" one. With ``mask_boundaries`` a target of another document than its input is -100.
    """

    separator_belongs: SeparatorBelongs = "old"
    mask_boundaries: bool = False

    def __post_init__(self) -> None:
        if self.separator_belongs not in get_args(SeparatorBelongs):
            raise UsageError(f"separator_belongs {self.separator_belongs!r:.40}: must be 'old' or 'new'")

    @classmethod
    def chosen(cls, documents: bool, separator_belongs: SeparatorBelongs, mask_boundaries: bool) -> Marking | None:
        """Return the marking that is asked for, or None. Raises `UsageError` for a choice that would do nothing."""
        marking = cls(separator_belongs, bool(mask_boundaries))
        if documents:
            return marking
        if marking != cls():
            name = "mask_boundaries" if mask_boundaries else "separator_belongs"
            raise UsageError(f"{name}: is of windows that know their documents; give documents=True too")
        return None


class DocumentBatch(Sequence[Item]):
    """A gathered batch of B windows that know their documents; it looks like the list of its items, which are dicts.

    An item has what `DocumentBatch.collated` has of one window, and what collates for trainers need beside: the row
    that the window was cut from, ``token_ids`` (max_length + 1,) int64; ``document_starts`` (k,) int64, where in it the
    part of each document begins, the first at 0; ``n_tokens``, how many of its tokens are of documents.
    """

    def __init__(self, rows: DocumentRows, target_ids: Places) -> None:
        self.rows = rows
        self.target_ids = target_ids

    @classmethod
    def gathered(cls, rows: DocumentRows, marking: Marking) -> DocumentBatch:
        """Return the batch of rows, with the targets that are asked for."""
        return cls(rows, rows.targets(mask_boundaries=marking.mask_boundaries))

    @classmethod
    def of(cls, batch: Any) -> DocumentBatch:
        """Return a batch as it is, or that of a list of items. Raises `UsageError` for windows that know nothing."""
        if isinstance(batch, cls):
            return batch
        if not isinstance(batch, list | tuple) or not batch or not is_item(batch[0]):
            raise UsageError(
                "collate: these windows do not tell document_starts; make the data set with documents=True, and keep "
                "transformers' Trainer from leaving columns out with remove_unused_columns=False"
            )
        starts = [np.asarray(item["document_starts"], np.int64) for item in batch]
        rows = DocumentRows(
            np.stack([np.asarray(item["token_ids"]) for item in batch]),
            np.concatenate(starts),
            np.array([len(each) for each in starts], np.int64),
            np.array([int(item["n_tokens"]) for item in batch], np.int64),
        )
        return cls(rows, np.stack([np.asarray(item["target_ids"]) for item in batch]))

    def collated(self) -> dict[str, Any]:
        """Return the batch as one dict, of L = max_length tokens a window.

        ``input_ids`` and ``target_ids`` (B, L) int64; ``document_ids`` (B, L) int32, numbered from 0 in each window,
        and -1 for what only fills a packed row; ``position_ids`` (B, L) int64, from 0 in each document and at a
        window's begin; ``seq_lengths``, for each window a list of the lengths of its documents' parts.
        """
        parts = self.rows.parts(self.rows.tokens.shape[1] - 1)
        return {
            "input_ids": torch.from_numpy(self.rows.tokens[:, :-1].copy()),
            "target_ids": torch.from_numpy(self.target_ids),
            "document_ids": torch.from_numpy(parts.document_ids()),
            "position_ids": torch.from_numpy(parts.position_ids()),
            "seq_lengths": parts.lists(),
        }

    def __len__(self) -> int:
        return len(self.rows.counts)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        return self._item(range(len(self))[index])

    def __iter__(self) -> Iterator[Item]:
        return map(self._item, range(len(self)))

    def _item(self, k: int) -> Item:
        first = int(self.rows.counts[:k].sum())
        starts = self.rows.starts[first : first + int(self.rows.counts[k])]
        one = DocumentRows(
            self.rows.tokens[k : k + 1], starts, self.rows.counts[k : k + 1], self.rows.n_real[k : k + 1]
        )
        collated = DocumentBatch(one, self.target_ids[k : k + 1].copy()).collated()
        return {
            **{key: value[0] for key, value in collated.items()},
            "token_ids": torch.from_numpy(one.tokens[0].copy()),
            "document_starts": torch.from_numpy(starts.copy()),
            "n_tokens": int(one.n_real[0]),
        }


def is_item(item: object) -> bool:
    """Whether this is a window that knows its documents."""
    return isinstance(item, dict) and "document_starts" in item
