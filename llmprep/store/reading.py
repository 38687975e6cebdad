"""A finished store -> one token stream, mapped from its shards, read across their boundaries."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmprep.errors import FileFormatError
from llmprep.kinds import check_ids
from llmprep.ptfile import read_pt
from llmprep.store.manifest import Manifest, check_files, read_manifest

Array = npt.NDArray[Any]

MAX_MAPS = 16_384
"""Shards mapped at the same time: a system allows a process some 65,000 maps."""


def shard_ids(path: Path, n_tokens: int, *, check_crc: bool = False) -> Array:
    """Return the ids of one shard, mapped. Raises `FileFormatError` if they are not as many as stated."""
    ids = read_pt(path, check_crc=check_crc).tensors.get("token_ids")
    if ids is None or ids.shape != (n_tokens,):
        raise FileFormatError(f"{path}: does not hold the {n_tokens} token_ids that are stated")
    return ids


class TokenStore:
    """The ids of a store, or of a split of it, as one sequence of length n.

    Shards are mapped when first touched, and never copied. Each is then read through once, to see that its checksum
    holds and its ids are in the vocabulary; ``check=False`` leaves that out. Pickles as its path: another process
    checks what it touches itself. Raises `FileFormatError` for a store that is not whole and sound.
    """

    def __init__(self, folder: Path, split: str | None = None, *, check: bool = True) -> None:
        self.folder = folder
        self.split = split
        self._check = check
        self.manifest: Manifest = read_manifest(folder)
        check_files(folder, self.manifest)
        self.first, self._behind = self.manifest.span(split)
        ends = np.cumsum([0, *(shard["tokens"] for shard in self.manifest.shards)])
        self._starts: list[int] = ends.tolist()
        self._mapped: dict[int, Array] = {}
        self._checked: set[int] = set()

    def __reduce__(self) -> tuple[Callable[..., TokenStore], tuple[Path, str | None]]:
        return partial(TokenStore, check=self._check), (self.folder, self.split)

    @property
    def content_sha256(self) -> str:
        """The hash of the whole store's ids, as its manifest states it."""
        return str(self.manifest.values["content_sha256"])

    def __len__(self) -> int:
        return self._behind - self.first

    def shard(self, number: int) -> Array:
        """The ids of one shard, mapped. Raises `FileFormatError` if it is damaged."""
        held = self._mapped.get(number)
        return self._map(number) if held is None else held

    def _map(self, number: int) -> Array:
        """Map a shard, and check it if it was not yet."""
        entry = self.manifest.shards[number]
        path = self.folder / entry["file"]
        check = self._check and number not in self._checked
        ids = shard_ids(path, entry["tokens"], check_crc=check)
        if check:
            check_ids(ids, self.manifest.values["n_vocab"], str(path))
            self._checked.add(number)
        if len(self._mapped) >= MAX_MAPS:
            self._mapped.pop(next(iter(self._mapped)), None)
        self._mapped[number] = ids
        return ids

    def locate(self, position: int) -> tuple[int, int]:
        """Return (shard, place in it) of a token of this sequence."""
        at = position + self.first
        number = bisect.bisect_right(self._starts, at) - 1
        return number, at - self._starts[number]

    def read(self, position: int, count: int) -> Array:
        """Return ``count`` ids from ``position`` on: a view if one shard holds them all, else a copy.

        Raises IndexError if they are not all in this sequence: what lies behind a split is another's.
        """
        if not 0 <= position <= position + count <= len(self):
            raise IndexError(f"tokens {position} to {position + count} of {len(self)}")
        number, place = self.locate(position)
        held = self.shard(number)[place : place + count]
        if len(held) == count:
            return held
        parts = [held]
        missing = count - len(held)
        while missing:
            number += 1
            parts.append(self.shard(number)[:missing])
            missing -= len(parts[-1])
        return np.concatenate(parts)

    def gather(self, starts: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
        """Return rows of ``length`` ids from each start: (B, length) int64, each row read as one slice."""
        rows = np.empty((len(starts), length), np.int64)
        for row, start in zip(rows, starts.tolist(), strict=True):
            row[:] = self.read(start, length)
        return rows

    def blocks(self, size: int = 1 << 18) -> Iterator[npt.NDArray[np.uint32]]:
        """Yield all ids in order, in blocks of uint32."""
        for position in range(0, len(self), size):
            yield self.read(position, min(size, len(self) - position)).astype(np.uint32)
