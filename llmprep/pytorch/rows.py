"""The rows of a data set: those of a windows file, or cut from a stream when they are asked for."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmprep.errors import UsageError
from llmprep.formats.ids import Array
from llmprep.pytorch.starts import StoreStarts
from llmprep.store.reading import TokenStore
from llmprep.tokens.content import ChainHash, hash_ids
from llmprep.windows.documents import DocumentRows, KnownStarts, mark_documents

Places: TypeAlias = npt.NDArray[np.int64]
Batch: TypeAlias = tuple[Tensor, Tensor]
"""Inputs and targets, each (B, L) or (L,), int64."""


class Rows(Protocol):
    """Windows by number: each an input and a target of ``max_length`` tokens."""

    @property
    def stated(self) -> str:
        """The hash of the ids, as their source states it; empty where it states none."""

    @property
    def first(self) -> int:
        """The place of the first token in the ids that are hashed."""

    @property
    def max_length(self) -> int:
        """Tokens of an input."""

    @property
    def stride(self) -> int | None:
        """Tokens from a window to the next, where that is known."""

    @property
    def n_tokens(self) -> int | None:
        """Tokens of the stream, where that is known."""

    def __len__(self) -> int: ...

    def gather(self, places: Places) -> Batch:
        """Return inputs and targets of the windows at these places, each (B, max_length) int64, as copies."""

    def document_rows(self, places: Places) -> DocumentRows:
        """Return the windows at these places with the documents in them, each a row of max_length + 1 tokens.

        Raises `UsageError` where documents are not known.
        """

    def peek(self, count: int, length: int) -> list[tuple[list[int], list[int]]]:
        """Return the first ``count`` windows, each cut to ``length`` tokens: to be shown, without a check."""

    def content_sha256(self) -> str:
        """Work the hash of the ids out."""


@dataclass(frozen=True, slots=True)
class FileRows:
    """Rows of a windows file, (N, L) each."""

    inputs: Array
    targets: Array
    stated: str
    stride: int | None
    n_tokens: int | None

    @property
    def first(self) -> int:
        """Rows are hashed from their first on."""
        return 0

    @property
    def max_length(self) -> int:
        """Tokens of an input."""
        return int(self.inputs.shape[1])

    def content_sha256(self) -> str:
        """Return the hash of all inputs, then all targets: the stream they were cut from is not known."""
        content = ChainHash()
        for rows in (self.inputs, self.targets):
            content.update(rows)
        return content.hexdigest()

    def __len__(self) -> int:
        return len(self.inputs)

    def gather(self, places: Places) -> Batch:
        """Return the rows at these places."""
        return as_int64(self.inputs[places]), as_int64(self.targets[places])

    def document_rows(self, places: Places) -> DocumentRows:  # noqa: ARG002 - as others have it
        """Refuse: a windows file holds what was cut from a stream, and not where its documents begin."""
        raise unknown_documents("a windows file")

    def peek(self, count: int, length: int) -> list[tuple[list[int], list[int]]]:
        """Return the first windows, each cut."""
        return [(self.inputs[k, :length].tolist(), self.targets[k, :length].tolist()) for k in range(len(self))[:count]]


@dataclass(frozen=True, slots=True)
class StreamRows:
    """Rows cut from a stream when they are asked for: each is read once, one token longer than an input.

    ``documents`` tell where its documents begin, where that is asked for and known; the part of one in a row begins
    ``opens`` tokens before it.
    """

    ids: TokenStore | Array
    max_length: int
    stride: int
    count: int
    stated: str
    documents: KnownStarts | StoreStarts | None = None
    opens: int = 0

    @property
    def first(self) -> int:
        """The first token of a split, in its store."""
        return self.ids.first if isinstance(self.ids, TokenStore) else 0

    @property
    def n_tokens(self) -> int:
        """Tokens of the stream."""
        return len(self.ids)

    def content_sha256(self) -> str:
        """Return the hash of the stream."""
        return self.ids.content_sha256 if isinstance(self.ids, TokenStore) else hash_ids(self.ids)

    def __len__(self) -> int:
        return self.count

    def gather(self, places: Places) -> Batch:
        """Return the rows at these places."""
        both = torch.from_numpy(self._tokens(places))
        return both[:, :-1].contiguous(), both[:, 1:].contiguous()

    def document_rows(self, places: Places) -> DocumentRows:
        """Return the rows at these places, with the documents in them."""
        if self.documents is None:
            raise unknown_documents("an array of ids")
        firsts, width = places * self.stride, self.max_length + 1
        if isinstance(self.documents, StoreStarts):
            return mark_documents(*self.documents.gather(firsts, width, self.opens))
        return mark_documents(self._tokens(places), *self.documents.within(firsts + self.opens, width))

    def _tokens(self, places: Places) -> Places:
        """Return the tokens of rows, (B, max_length + 1)."""
        starts = places * self.stride
        if isinstance(self.ids, TokenStore):
            return self.ids.gather(starts, self.max_length + 1)
        rows = np.empty((len(starts), self.max_length + 1), np.int64)
        for row, start in zip(rows, starts.tolist(), strict=True):
            row[:] = self.ids[start : start + self.max_length + 1]
        return rows

    def peek(self, count: int, length: int) -> list[tuple[list[int], list[int]]]:
        """Return the first windows, each cut."""
        width = min(length, self.max_length) + 1
        starts = range(0, self.count * self.stride, self.stride)[:count]
        if isinstance(self.ids, TokenStore):
            rows = [self.ids.peek(start, width).tolist() for start in starts]
        else:
            rows = [self.ids[start : start + width].tolist() for start in starts]
        return [(row[:-1], row[1:]) for row in rows]


def unknown_documents(what: str) -> UsageError:
    """Return the error for windows of ``what`` that are to know their documents."""
    return UsageError(
        f"documents: {what} does not tell where documents begin; name texts, a tokens .pt file or a token store"
    )


def as_int64(ids: Array) -> Tensor:
    """Return a copy of ids, of any shape, as a tensor of int64."""
    return torch.from_numpy(ids.astype(np.int64))


def find_places(indices: Iterable[Any], count: int) -> Places:
    """Return the places of windows by their numbers, of which negative ones count from the end.

    Raises IndexError for a number that none of ``count`` windows has, and TypeError for what is no whole number.
    """
    numbers = [index if type(index) is int else _whole(index) for index in indices]
    try:
        places = np.array(numbers, np.int64)
    except OverflowError as error:
        raise IndexError(f"window {max(numbers, key=abs)} of {count}") from error
    outside = (places < -count) | (places >= count)
    if outside.any():
        raise IndexError(f"window {places[outside][0]} of {count}")
    return places % count


def _whole(index: Any) -> int:
    try:
        number = operator.index(index)
    except TypeError as error:
        raise TypeError(f"a window's number is a whole number, not a {type(index).__name__}") from error
    if isinstance(index, bool | np.bool_):
        raise TypeError(f"a window's number is a whole number, not a {type(index).__name__}")
    return number
