"""A store -> every hash and every invariant checked again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llmprep.errors import FileFormatError
from llmprep.kinds import check_ids
from llmprep.ptfile import read_pt
from llmprep.store.folder import RECEIPTS, file_sha256
from llmprep.store.manifest import PLAN, check_files, read_manifest, read_sealed
from llmprep.store.merge import ContentHash
from llmprep.store.reading import shard_ids


def verify_store(folder: Path) -> Iterator[str]:
    """Yield what was checked, line by line. Raises `FileFormatError` that names the first thing that does not hold."""
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    yield f"manifest: {len(manifest.shards)} shards, none missing, none extra, sizes as stated"
    for path in (folder / PLAN, *sorted((folder / RECEIPTS).glob("*.json"))):
        if path.exists():  # a store that was copied elsewhere needs neither
            read_sealed(path)
    content = ContentHash(folder)
    for number, shard in enumerate(manifest.shards):
        path = folder / shard["file"]
        if file_sha256(path) != shard["sha256"]:
            read_pt(path)  # names the damaged record, if it is one
            raise FileFormatError(f"{path}: its sha256 is not the one in the manifest: it was changed or replaced")
        check_ids(shard_ids(path, shard["tokens"], check_crc=True), manifest.values["n_vocab"], str(path))
        content.add(number, shard["tokens"])
    yield f"shards: sha256, checksums and {manifest.n_tokens} token counts as stated; every id is in the vocabulary"
    found, stated = content.hexdigest(), manifest.values["content_sha256"]
    if found != stated:
        raise FileFormatError(f"{folder}: content_sha256 is {found}, the manifest says {stated}")
    yield f"content_sha256 {found}"
