"""A store or a .pt file -> every hash and every invariant checked again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmprep.errors import FileFormatError
from llmprep.kinds import check_ids, file_tokens, file_windows
from llmprep.ptfile import PtFile, read_pt
from llmprep.store.build import PLAN, RECEIPTS, content_sha256, file_sha256
from llmprep.store.manifest import check_files, read_manifest, read_sealed
from llmprep.windows import count_windows

Array = npt.NDArray[Any]
ROWS = 1 << 10
META = {
    "kind": str,
    "encoding": str,
    "n_vocab": int,
    "n_tokens": int,
    "content_sha256": str,
    "options": dict,
    "sources": list,
}
SOURCE = {"name": str, "bytes": int, "tokens": int, "documents": int}
WINDOW_OPTIONS = {"max_length": int, "stride": int, "dense": bool}


def verify_store(folder: Path) -> Iterator[str]:
    """Yield what was checked, line by line. Raises `FileFormatError` that names the first thing that does not hold."""
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    yield f"manifest: {len(manifest.shards)} shards, none missing, none extra, sizes as stated"
    for path in (folder / PLAN, *sorted((folder / RECEIPTS).glob("*.json"))):
        if path.exists():  # a store that was copied elsewhere needs neither
            read_sealed(path)
    for shard in manifest.shards:
        path = folder / shard["file"]
        if file_sha256(path) != shard["sha256"]:
            _raise_damage(path)
        ids = file_tokens_or_empty(read_pt(path))
        if len(ids) != shard["tokens"]:
            raise FileFormatError(f"{path}: holds {len(ids)} tokens, the manifest says {shard['tokens']}")
        check_ids(ids, manifest.values["n_vocab"], str(path))
    yield f"shards: sha256, checksums and {manifest.n_tokens} token counts as stated; every id is in the vocabulary"
    found = content_sha256(folder / shard["file"] for shard in manifest.shards)
    if found != manifest.values["content_sha256"]:
        raise FileFormatError(
            f"{folder}: content_sha256 is {found}, the manifest says {manifest.values['content_sha256']}"
        )
    yield f"content_sha256 {found}"


def _raise_damage(path: Path) -> None:
    """Name the damaged record if the file is damaged inside, else the file as a whole."""
    read_pt(path)
    raise FileFormatError(f"{path}: its sha256 is not the one in the manifest: it was changed or replaced")


def file_tokens_or_empty(file: PtFile) -> Array:
    """Return ``token_ids`` of a shard, which may be empty."""
    ids = file.tensors.get("token_ids")
    return ids if ids is not None and ids.shape == (0,) else file_tokens(file)


def verify_file(path: Path) -> Iterator[str]:
    """The same for one .pt file of llmprep's."""
    file = read_pt(path)
    yield f"checksums of {len(file.tensors)} tensors hold"
    meta = checked_meta(file)
    if "token_ids" in file.tensors:
        yield from _verify_tokens(file, meta)
    if "input_ids" in file.tensors:
        yield from _verify_windows(file, meta)


def checked_meta(file: PtFile) -> dict[str, Any]:
    """Return a file's meta. Raises `FileFormatError` if it lacks what llmprep writes for its kind of file."""
    meta = file.meta
    if not meta:
        keys = ", ".join([*file.values, *file.tensors]) or "none"
        raise FileFormatError(f"{file.name}: has no meta: llmprep did not write it; its keys: {keys}")
    wrong = _missing(meta, META) or [each for source in meta["sources"] for each in _missing(source, SOURCE)]
    if "input_ids" in file.tensors and not wrong:
        wrong = _missing(meta["options"], WINDOW_OPTIONS)
        wrong = wrong or [f"{key} is less than 1" for key in ("max_length", "stride") if meta["options"][key] < 1]
    if wrong:
        raise FileFormatError(f"{file.name}: meta: {'; '.join(wrong[:8])}")
    return meta


def _missing(values: object, wanted: Mapping[str, type]) -> list[str]:
    held = values if isinstance(values, dict) else {}
    return [
        f"{key} is missing or no {kind.__name__}" for key, kind in wanted.items() if type(held.get(key)) is not kind
    ]


def _verify_tokens(file: PtFile, meta: dict[str, Any]) -> Iterator[str]:
    ids = file_tokens(file)
    check_ids(ids, meta["n_vocab"], file.name)
    yield f"{len(ids)} ids, each in the vocabulary of {meta['n_vocab']}"
    _compare(file.name, "n_tokens", len(ids), meta["n_tokens"])
    _compare(file.name, "content_sha256", _hash_ids(ids), meta["content_sha256"])
    yield f"content_sha256 {meta['content_sha256']}"


def _verify_windows(file: PtFile, meta: dict[str, Any]) -> Iterator[str]:
    inputs, targets = file_windows(file)
    options = meta["options"]
    max_length, stride = options["max_length"], options["stride"]
    _compare(file.name, "max_length", inputs.shape[1], max_length)
    _compare(file.name, "windows", len(inputs), count_windows(meta["n_tokens"], max_length, stride))
    overlap = max(0, max_length - stride)
    for start in range(0, len(inputs), ROWS):
        x, y = inputs[start : start + ROWS], targets[start : start + ROWS]
        check_ids(x, meta["n_vocab"], file.name)
        check_ids(y, meta["n_vocab"], file.name)
        _all(file.name, start, (x[:, 1:] == y[:, :-1]).all(1), "its targets are not its inputs moved by one")
        if overlap:
            _all(file.name, start, (x[:-1, stride:] == x[1:, :overlap]).all(1), "it does not overlap with the next one")
    yield f"{len(inputs)} windows of {max_length}, stride {stride}: targets are inputs moved by one"
    yield f"every id is in the vocabulary of {meta['n_vocab']}"
    storage = file.storages["input_ids"]
    if not options["dense"] and stride <= max_length:
        _compare(file.name, "content_sha256", _hash_ids(storage), meta["content_sha256"])
        yield f"content_sha256 {meta['content_sha256']}"


def _hash_ids(ids: Array) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(ids), 1 << 20):
        digest.update(np.ascontiguousarray(ids[start : start + (1 << 20)], "<u4").data)
    return digest.hexdigest()


def _compare(name: str, what: str, found: object, stated: object) -> None:
    if found != stated:
        raise FileFormatError(f"{name}: {what} is {found}, meta says {stated}")


def _all(name: str, start: int, holds: Array, what: str) -> None:
    if not holds.all():
        raise FileFormatError(f"{name}: window {start + int(np.argmin(holds))}: {what}")
