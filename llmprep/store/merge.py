"""The receipts of all shards -> the manifest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmprep import __version__
from llmprep.choices import Announce
from llmprep.errors import EmptyError, FileFormatError
from llmprep.formats.ids import hash_ids
from llmprep.store.folder import ANEW, clear_temporaries, read_plan, write_sealed
from llmprep.store.lock import locked
from llmprep.store.manifest import NAME, Manifest
from llmprep.store.own import require_own
from llmprep.store.reading import shard_ids
from llmprep.store.receipts import Receipts, sound_receipts
from llmprep.store.schema import FORMAT, find_faults, shard_name, store_dtype
from llmprep.windows.counts import split_place

KEPT = ("file", "tokens", "documents", "bytes", "sha256")
BESIDE = ("llmprep_version", "encoding", "vocab_sha256")


class ContentHash:
    """The sha256 of all ids as little-endian uint32, over shards that are finished in any order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digest = hashlib.sha256()
        self._next = 0
        self._waiting: dict[int, int] = {}

    def add(self, number: int, n_tokens: int) -> None:
        """A shard is finished; it is hashed when all before it are."""
        self._waiting[number] = n_tokens
        while self._next in self._waiting:
            expected = self._waiting.pop(self._next)
            hash_ids(shard_ids(self._folder / shard_name(self._next), expected), self._digest)
            self._next += 1

    def hexdigest(self) -> str:
        """The hash of the shards from the first on."""
        return self._digest.hexdigest()


def merge_store(folder: str | os.PathLike[str], n_threads: int = 1, announce: Announce | None = None) -> Manifest:
    """Finish a store that tasks have built: check all shards against their receipts, and write the manifest.

    ``n_threads`` threads hash the shards. Raises `RefusedError` while another run holds the folder, and
    `FileFormatError` for a folder that is no store and for shards that are missing or damaged, which it names.
    """
    folder = Path(folder)
    if folder.is_dir():
        require_own(folder)
    read_plan(folder)  # what is no store is left alone
    with locked(folder, announce=announce):
        clear_temporaries(folder)
        told = read_plan(folder)
        receipts = sound_receipts(folder, told, n_threads)
        content = ContentHash(folder)
        for number, receipt in receipts.items():
            content.add(number, receipt["tokens"])
        return write_manifest(folder, told, receipts, content.hexdigest())


def write_manifest(folder: Path, told: Mapping[str, Any], receipts: Receipts, content_sha256: str) -> Manifest:
    """Write the manifest of a store whose shards are all finished; ``told`` is its plan, from `read_plan`.

    Raises `FileFormatError` that names the shards still missing, `EmptyError` if there is no token.
    """
    _require_all(folder, len(told["shards"]), receipts)
    ordered = [receipts[number] for number in range(len(told["shards"]))]
    n_tokens = sum(receipt["tokens"] for receipt in ordered)
    if not n_tokens:
        raise EmptyError(f"{folder}: empty: 0 tokens")
    shards = [_entry(receipt, pieces) for receipt, pieces in zip(ordered, told["shards"], strict=True)]
    values: dict[str, Any] = {
        "format": FORMAT,
        "llmprep_version": __version__,
        "encoding": told["options"]["encoding"],
        "vocab_sha256": told["options"]["vocab_sha256"],
        "n_vocab": told["n_vocab"],
        "dtype": store_dtype(told["n_vocab"]),
        "options": {key: value for key, value in told["options"].items() if key not in BESIDE},
        "plan_sha256": told["plan_sha256"],
        "n_tokens": n_tokens,
        "n_documents": sum(receipt["documents"] for receipt in ordered),
        "n_special": sum(receipt["special"] for receipt in ordered),
        "n_boms": sum(receipt["boms"] for receipt in ordered),
        "content_sha256": content_sha256,
        "sources": [entry[:2] for entry in told["corpus"]],
        "empty": _empty(shards, len(told["corpus"])),
        "shards": shards,
        "splits": _splits(n_tokens, told["val_fraction"]),
    }
    n_empty = sum(receipt.get("empty", 0) for receipt in ordered)
    if n_empty:
        values["n_empty"] = n_empty
    wrong = find_faults(values)
    if wrong:  # plan or receipts were sealed anew after a change
        raise FileFormatError(f"{folder}: plan and receipts do not fit together: {wrong[0]}; {ANEW}")
    write_sealed(folder / NAME, values)
    return Manifest(values)


def _require_all(folder: Path, count: int, receipts: Receipts) -> None:
    missing = [number for number in range(count) if number not in receipts]
    if missing:
        shown = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        raise FileFormatError(
            f"{folder}: {len(missing)} of {count} shards are missing or damaged ({shown}); "
            f"run the command that builds them again"
        )


def _entry(receipt: Mapping[str, Any], pieces: list[list[Any]]) -> dict[str, Any]:
    kept = {key: receipt[key] for key in KEPT}
    read = zip(pieces, receipt["pieces"], strict=True)
    return {**kept, "pieces": [[piece[0], *figures] for piece, figures in read]}


def _empty(shards: list[dict[str, Any]], n_sources: int) -> list[int]:
    """The numbers of the sources in which no document begins."""
    begun = {source for shard in shards for source, _, _, _, documents, *_ in shard["pieces"] if documents}
    return [number for number in range(n_sources) if number not in begun]


def _splits(n_tokens: int, val_fraction: float | None) -> dict[str, list[int]]:
    """The stream is cut once, so that train and val share no token; val takes the last ones."""
    if val_fraction is None:
        return {}
    cut = split_place(n_tokens, val_fraction)
    return {"train": [0, cut], "val": [cut, n_tokens]}
