"""Documents in rows, the slow way: each token is walked with the number of the document that it is of."""

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from llmprep.choices import SeparatorBelongs
from llmprep.pytorch.documents import DocumentBatch
from llmprep.windows.documents import DocumentRows

Walked = list[tuple[int, int]]
"""Tokens, each with its document; -1 for what fills a row."""
EOT = 99


def walk(documents: Sequence[Sequence[int]], separator: str, belongs: SeparatorBelongs, eot: int = EOT) -> Walked:
    """The stream of documents, token by token."""
    walked: Walked = []
    for number, ids in enumerate(documents):
        if number and separator == "eot":
            walked.append((eot, number - 1 if belongs == "old" else number))
        walked += [(token_id, number) for token_id in ids]
    return walked


def starts_of(documents: Sequence[Sequence[int]], separator: str) -> list[int]:
    """Where each document begins in the stream, its separator left out."""
    gap = int(separator == "eot")
    return [sum(map(len, documents[:k])) + gap * k for k in range(len(documents))]


class Told(NamedTuple):
    """What is to be known of a row of L + 1 tokens."""

    tokens: list[int]
    numbers: list[int]
    """The number, in the row, of each token's part; -1 for fill."""
    places: list[int]
    """The place of each token in its part."""
    targets: list[int]

    def lengths(self, width: int) -> list[int]:
        """How long the parts are within so many tokens."""
        return [len(list(part)) for number, part in groupby(self.numbers[:width]) if number >= 0]

    def parts(self) -> list[list[int]]:
        """The tokens of each part."""
        return [
            [token for token, of in zip(self.tokens, self.numbers, strict=True) if of == number]
            for number in range(max(self.numbers) + 1)
        ]


def tell(row: Walked, *, mask: bool) -> Told:
    """What is to be known of a row."""
    numbers: list[int] = []
    places: list[int] = []
    for number, (owner, part) in enumerate(groupby(owner for _, owner in row)):
        n = len(list(part))
        numbers += [number if owner >= 0 else -1] * n
        places += range(n)
    targets = [
        -100 if owner < 0 or (mask and owner != before) else token for (_, before), (token, owner) in pairwise(row)
    ]
    return Told([token for token, _ in row], numbers, places, targets)


def batch_of(rows: Sequence[Walked], *, mask: bool) -> tuple[DocumentBatch, list[Told]]:
    """A batch of rows, and what is to be known of each."""
    told = [tell(row, mask=mask) for row in rows]
    lengths = [each.lengths(len(each.tokens)) for each in told]
    made = DocumentRows(
        np.array([each.tokens for each in told], np.int64),
        np.array([sum(each[:k]) for each in lengths for k in range(len(each))], np.int64),
        np.array([len(each) for each in lengths], np.int64),
        np.array([sum(each) for each in lengths], np.int64),
    )
    return DocumentBatch(made, made.targets(mask_boundaries=mask)), told


def plain(batch: dict[str, Any]) -> dict[str, Any]:
    """A batch's tensors as lists."""
    return {key: value.tolist() if isinstance(value, Tensor) else value for key, value in batch.items()}


def assert_item(item: dict[str, Any], told: Told) -> None:
    """An item, or a window of a collated batch, is what the walk tells."""
    width = len(told.tokens) - 1
    found = [item[key].tolist() for key in ("input_ids", "target_ids", "document_ids", "position_ids")]
    assert found == [told.tokens[:-1], told.targets, told.numbers[:-1], told.places[:-1]]
    assert item["seq_lengths"] == told.lengths(width)
