"""The hash of a stream of ids: a tree, which any number of threads can work out, whatever files hold the ids.

``content_sha256`` is the sha256 over the sha256 of each `LEAF_IDS` ids of the stream, the last ones being fewer, as
little-endian uint32. So it depends on the ids alone: not on their dtype, on blocks, shards, stride or threads. Files of
the format before it (``llmprep/1``, ``llmprep-store/1``) state one sha256 over all ids, a chain.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

AnyIds = npt.NDArray[Any]
LEAF_IDS = 1 << 20
MAX_AHEAD = 4
"""Leaves that wait for threads: 4 MiB each where ids come as uint32."""


class ContentHash:
    """Takes ids (n,) of any integer dtype in order, and gives their hash; ``pool`` hashes leaves meanwhile."""

    def __init__(self, pool: Executor | None = None) -> None:
        self._pool = pool
        self._top = hashlib.sha256()
        self._parts: list[AnyIds] = []
        self._room = LEAF_IDS
        self._ahead: deque[Future[bytes]] = deque()

    def update(self, ids: AnyIds) -> None:
        """Take the next ids, which must not change before they are hashed."""
        while len(ids):
            part, ids = ids[: self._room], ids[self._room :]
            self._parts.append(part)
            self._room -= len(part)
            if not self._room:
                self._end_leaf()

    def hexdigest(self) -> str:
        """Return the hash of all ids, after which no more are taken."""
        if self._parts:
            self._end_leaf()
        while self._ahead:
            self._top.update(self._ahead.popleft().result())
        return self._top.hexdigest()

    def _end_leaf(self) -> None:
        parts, self._parts, self._room = self._parts, [], LEAF_IDS
        if self._pool is None:
            self._top.update(_hash_leaf(parts))
            return
        self._ahead.append(self._pool.submit(_hash_leaf, parts))
        while len(self._ahead) > MAX_AHEAD or (self._ahead and self._ahead[0].done()):
            self._top.update(self._ahead.popleft().result())


class ChainHash:
    """One sha256 over all ids, in arrays of any shape: the hash of the format before."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, ids: AnyIds) -> None:
        """Take the next ids."""
        step = max(1, LEAF_IDS // max(1, ids[:1].size))
        for start in range(0, len(ids), step):
            self._digest.update(np.ascontiguousarray(ids[start : start + step], "<u4").data)

    def hexdigest(self) -> str:
        """Return the hash of all ids so far."""
        return self._digest.hexdigest()


def hash_ids(ids: AnyIds, *, chained: bool = False, n_threads: int = 1) -> str:
    """Return the content hash of ids (n,); ``chained`` is that of the format before."""
    with open_pool(n_threads) as pool:
        content = ChainHash() if chained else ContentHash(pool)
        content.update(ids)
        return content.hexdigest()


def open_pool(n_threads: int) -> AbstractContextManager[Executor | None]:
    """Open threads for a `ContentHash`; with one, all is done by the calling thread."""
    if n_threads == 1:
        return nullcontext()
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(n_threads)


def _hash_leaf(parts: Sequence[AnyIds]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part, "<u4").data)
    return digest.digest()
