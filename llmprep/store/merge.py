"""The receipts of all shards -> the manifest."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llmprep import __version__
from llmprep.choices import Announce
from llmprep.errors import EmptyError, FileFormatError
from llmprep.formats.meta import store_dtype
from llmprep.store.columns import Numbers, Pieces
from llmprep.store.faults import find_faults
from llmprep.store.folder import MANIFEST, TASKS, clear_temporaries, require_own
from llmprep.store.lock import locked
from llmprep.store.manifest import ANEW, read_plan
from llmprep.store.reading import shard_ids
from llmprep.store.receipts import Receipts, sound_receipts
from llmprep.store.schema import Manifest, Plan, Receipt, Shard, shard_name
from llmprep.store.sealed import write_sealed
from llmprep.store.unfinished import remedy
from llmprep.tokens.content import ContentHash, open_pool
from llmprep.vocabulary.references import Reference
from llmprep.windows.counts import split_place

if TYPE_CHECKING:
    from concurrent.futures import Executor

BESIDE = ("format", "llmprep_version", "encoding", "vocab_sha256", "fingerprint")
"""Options of a plan that the manifest has beside its options."""


class ShardsHash:
    """The content hash of a store whose shards are finished in any order; ``pool`` hashes them meanwhile."""

    def __init__(self, folder: Path, pool: Executor | None = None) -> None:
        self._folder = folder
        self._content = ContentHash(pool)
        self._next = 0
        self._waiting: dict[int, int] = {}

    def add(self, number: int, n_tokens: int) -> None:
        """Take a shard that is finished; it is hashed when all before it are: only then is its place known."""
        self._waiting[number] = n_tokens
        while self._next in self._waiting:
            expected = self._waiting.pop(self._next)
            self._content.update(shard_ids(self._folder / shard_name(self._next), expected))
            self._next += 1

    def hexdigest(self) -> str:
        """Return the hash of the shards from the first on."""
        return self._content.hexdigest()


def merge_store(
    folder: str | os.PathLike[str],
    n_threads: int = 1,
    announce: Announce | None = None,
    watch: Callable[[Receipt], None] | None = None,
) -> Manifest:
    """Finish a store that tasks have built: check all shards against their receipts, and write the manifest.

    ``n_threads`` threads hash the shards; ``watch`` is called with the receipt of each that is sound. Raises
    `RefusedError` while another run holds the folder, and `FileFormatError` for a folder that is no store and for
    shards that are missing or damaged, which it names.
    """
    folder = Path(folder)
    if folder.is_dir():
        require_own(folder)
    read_plan(folder)  # what is no store is left alone
    with locked(folder, announce=announce), open_pool(n_threads) as pool:
        clear_temporaries(folder)
        plan, receipts = read_plan(folder), Receipts()
        content = ShardsHash(folder, pool)
        for number, receipt in sound_receipts(folder, plan, n_threads):
            receipts[number] = receipt.without_content()
            content.add(number, receipt.tokens)  # while it is in the system's memory
            if watch is not None:
                watch(receipt)
        return write_manifest(folder, plan, receipts, content.hexdigest())


def write_manifest(folder: Path, plan: Plan, receipts: Receipts, content_sha256: str) -> Manifest:
    """Write the manifest of a store whose shards are all finished, and take their receipts, which may be large.

    Raises `FileFormatError` that names the shards still missing, `EmptyError` if there is no token.
    """
    _require_all(folder, len(plan.shards), receipts)
    ordered = [receipts.pop(number) for number in range(len(plan.shards))]
    n_tokens = sum(receipt.tokens for receipt in ordered)
    if not n_tokens:
        raise EmptyError(f"{folder}: empty: 0 tokens")
    firsts: list[int] = plan.shards.rows[:, 0].tolist()
    shards = [_shard(receipt, first) for receipt, first in zip(ordered, firsts, strict=True)]
    pieces = Pieces.joined([receipt.pieces for receipt in ordered], firsts)
    manifest = Manifest(
        llmprep_version=__version__,
        encoding=plan.options["encoding"],
        vocab_sha256=plan.options["vocab_sha256"],
        n_vocab=plan.n_vocab,
        dtype=store_dtype(plan.n_vocab),
        options={key: value for key, value in plan.options.items() if key not in BESIDE},
        plan_sha256=plan.sha256,
        n_tokens=n_tokens,
        n_documents=sum(receipt.documents for receipt in ordered),
        n_special=sum(receipt.special for receipt in ordered),
        n_boms=sum(receipt.boms for receipt in ordered),
        content_sha256=content_sha256,
        names=plan.names,
        sizes=plan.stamps.sizes,
        empty=_empty(pieces, len(plan.names)),
        shards=shards,
        pieces=pieces,
        splits=_splits(n_tokens, plan.val_fraction),
        n_empty=sum(receipt.n_empty for receipt in ordered),
        left_out=plan.left_out,
        fingerprint=Reference.stated(plan.options["encoding"], plan.options.get("fingerprint")).fingerprint,
    )
    del ordered
    _write_checked(folder, manifest)
    return manifest


def _write_checked(folder: Path, manifest: Manifest) -> None:
    """Write a manifest. Raises `FileFormatError` if plan or receipts were sealed anew after a change."""
    stated = manifest.to_json()
    wrong = find_faults(stated)
    if wrong:
        raise FileFormatError(f"{folder}: plan and receipts do not fit together: {wrong[0]}; {ANEW}")
    write_sealed(folder / MANIFEST, stated)
    (folder / TASKS).unlink(missing_ok=True)


def _require_all(folder: Path, count: int, receipts: Receipts) -> None:
    missing = [number for number in range(count) if number not in receipts]
    if missing:
        shown = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        raise FileFormatError(
            f"{folder}: {len(missing)} of {count} shards are missing or damaged ({shown}); {remedy(folder, missing)}"
        )


def _shard(receipt: Receipt, first: int) -> Shard:
    """Return a shard as the manifest states it, whose sources are those from the one numbered ``first`` on."""
    return Shard(
        file=receipt.file,
        tokens=receipt.tokens,
        documents=receipt.documents,
        bytes=receipt.bytes,
        sha256=receipt.sha256,
        first=first,
        n_pieces=len(receipt.pieces),
    )


def _empty(pieces: Pieces, n_sources: int) -> Numbers:
    """Return the numbers of the sources in which no document begins."""
    begun = np.zeros(n_sources, np.bool_)
    begun[pieces.source[pieces.documents > 0]] = True
    return np.flatnonzero(~begun)


def _splits(n_tokens: int, val_fraction: float | None) -> dict[str, tuple[int, int]]:
    """Cut the stream once, so that train and val share no token; val takes the last ones."""
    if val_fraction is None:
        return {}
    cut = split_place(n_tokens, val_fraction)
    return {"train": (0, cut), "val": (cut, n_tokens)}
