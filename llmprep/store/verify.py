"""A store -> every hash and every invariant checked again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llmprep.errors import FileFormatError, plural
from llmprep.formats.ids import Array, check_ids
from llmprep.formats.tokens import check_starts
from llmprep.ptfile.reading import read_pt
from llmprep.store.beginnings import stated_starts
from llmprep.store.carrying import verify_carried
from llmprep.store.folder import PLAN, RECEIPTS, kind_of, receipt_path
from llmprep.store.manifest import check_files, read_manifest, read_plan, receipt_at
from llmprep.store.packings import verify_packings
from llmprep.store.reading import stated_ids
from llmprep.store.schema import FORMAT_1, Manifest, Receipt, Shard
from llmprep.store.sealed import file_sha256
from llmprep.tokens.content import ChainHash, ContentHash, open_pool
from llmprep.tokens.cores import default_jobs
from llmprep.tokens.threads import map_in_order


def verify_store(folder: Path) -> Iterator[str]:
    """Yield what was checked, line by line. Raises `FileFormatError` that names the first thing that does not hold."""
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    yield f"manifest: {plural(len(manifest.shards), 'shard')}, none missing, none extra, sizes as stated"
    _verify_history(folder, manifest)
    carried = verify_carried(folder, manifest)
    if carried is not None:
        yield carried
    n_threads, stated = default_jobs(), manifest.content_sha256
    with open_pool(n_threads) as pool:
        content = ChainHash() if manifest.format == FORMAT_1 else ContentHash(pool)
        for ids in map_in_order(lambda shard: _verified_ids(folder, manifest, shard), manifest.shards, n_threads):
            content.update(ids)
        found = content.hexdigest()
    yield f"shards: sha256, checksums and {manifest.n_tokens} token counts as stated; every id is in the vocabulary"
    if found != stated:
        raise FileFormatError(f"{folder}: content_sha256 is {found}, the manifest says {stated}")
    yield f"content_sha256 {found}"
    yield from verify_packings(folder)


def _verified_ids(folder: Path, manifest: Manifest, shard: Shard) -> Array:
    """Return the ids of a shard, mapped. Raises `FileFormatError` for the first thing that does not hold."""
    path = folder / shard.file
    if file_sha256(path) != shard.sha256:
        read_pt(path)  # names the damaged record, if it is one
        raise FileFormatError(f"{path}: its sha256 is not the one in the manifest: it was changed or replaced")
    file = read_pt(path)
    ids, starts = stated_ids(file, shard.tokens), stated_starts(file, shard.documents)
    check_ids(ids, manifest.n_vocab, str(path))
    if starts is not None:
        check_starts(starts, ids, str(path), separated=manifest.options.get("separator") == "eot")
    return ids


def _verify_history(folder: Path, manifest: Manifest) -> None:
    """Check that plan and receipts are of this store; one that was copied elsewhere needs neither."""
    _require(folder / PLAN, "a file")
    _require(folder / RECEIPTS, "a folder")
    if (folder / PLAN).exists() and read_plan(folder).sha256 != manifest.plan_sha256:
        raise FileFormatError(f"{folder / PLAN}: is of another store than the manifest")
    shards = {receipt_path(folder, number): shard for number, shard in enumerate(manifest.shards)}
    for path in sorted((folder / RECEIPTS).glob("*.json")):
        _require(path, "a file")
        receipt, shard = receipt_at(path), shards.get(path)
        if receipt is None or shard is None or _figures(receipt) != _figures(shard):
            raise FileFormatError(f"{path}: is not the receipt of the shard in the manifest")


def _figures(stated: Receipt | Shard) -> tuple[str, int, int, int, str]:
    """Return what a receipt and the manifest both state of a shard."""
    return stated.file, stated.tokens, stated.documents, stated.bytes, stated.sha256


def _require(path: Path, kind: str) -> None:
    found = kind_of(path)
    if found not in ("nothing", kind):
        raise FileFormatError(f"{path}: is {found}, not {kind} of the store's; remove it")
