"""What a finished store says of itself: `manifest.json`, written last. No manifest: not finished."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmprep.errors import FileFormatError, InputError, list_names
from llmprep.store.schema import find_faults

NAME = "manifest.json"
PLAN = "plan.json"
BEGINNING = b'{"format":"llmprep-store/'
PLAN_BEGINNING = b'{"plan_sha256":"'


@dataclass(frozen=True, slots=True)
class Manifest:
    """A store's manifest. ``shards`` in order; each lists its pieces as [source, begin, end, tokens, documents, text].

    Bytes ``begin`` to ``end`` are what was read of the source; ``text`` is how many bytes they gave with newlines as
    chosen and without a mark (0 for records). Separators are not among its tokens, and documents are counted where
    they begin. ``sources`` are [name, bytes], ``empty`` the numbers of those without a document, and ``splits`` name
    parts of the stream as [first token, token behind the last].
    """

    values: Mapping[str, Any]

    @property
    def shards(self) -> list[dict[str, Any]]:
        """The shards' entries, in order."""
        shards: list[dict[str, Any]] = self.values["shards"]
        return shards

    @property
    def n_tokens(self) -> int:
        """Tokens in the whole stream."""
        return int(self.values["n_tokens"])

    def span(self, split: str | None) -> tuple[int, int]:
        """First token of a part of the stream, and the one behind its last."""
        if split is None:
            return 0, self.n_tokens
        splits = self.values["splits"]
        if split not in splits:
            raise InputError(f"split {split}: this store has {list_names([*splits])}; build it with --val-fraction")
        first, behind = splits[split]
        return first, behind


def is_store(path: str | Path) -> bool:
    """Tell a finished or unfinished store from any other folder, also from one whose texts lie beside a manifest."""
    return _begins(Path(path, NAME), BEGINNING) or _begins(Path(path, PLAN), PLAN_BEGINNING)


def _begins(path: Path, beginning: bytes) -> bool:
    try:
        if not _is_regular(path):
            return False
        with path.open("rb") as file:
            return file.read(len(beginning)) == beginning
    except (OSError, ValueError):  # also of a name that no file can have
        return False


def _is_regular(path: Path) -> bool:
    return stat.S_ISREG(path.stat().st_mode)


def seal(values: Mapping[str, Any]) -> bytes:
    """Return values as JSON on one line that ends with the sha256 of all that stands before it.

    >>> seal({"a": 1})[:25]
    b'{"a":1,"seal_sha256":"8b0'
    """
    return _sealed(json.dumps(values, separators=(",", ":")).encode()[:-1])


def _sealed(body: bytes) -> bytes:
    return b'%b,"seal_sha256":"%b"}\n' % (body, hashlib.sha256(body).hexdigest().encode())


def read_sealed(path: Path) -> Any:
    """Return the values of a sealed file. Raises OSError, and `FileFormatError` if one bit has changed since."""
    data = _read(path)
    values = _parse(data, path)
    _check_seal(data, path)
    return values


def _read(path: Path) -> bytes:
    if not _is_regular(path):
        raise FileFormatError(f"{path}: is no regular file")
    return path.read_bytes()


def _parse(data: bytes, path: Path) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: not valid JSON: {error}") from error


def _check_seal(data: bytes, path: Path) -> None:
    if _sealed(data[: data.rfind(b',"seal_sha256":"')]) != data:
        raise FileFormatError(f"{path}: was edited or damaged: it does not have the sha256 that it ends with")


def read_manifest(folder: Path) -> Manifest:
    """Read and check a manifest. Raises `FileFormatError` with a precise list of what is wrong."""
    path = folder / NAME
    try:
        data = _read(path)
    except FileNotFoundError as error:
        raise FileFormatError(
            f"{folder}: has no {NAME}: the store is not finished; run its command again, or llmprep merge"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    values = _parse(data, path)
    wrong = find_faults(values)
    if wrong:
        raise FileFormatError(f"{path}: {'; '.join(wrong[:8])}{'; ...' if len(wrong) > 8 else ''}")
    _check_seal(data, path)
    return Manifest(values)


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raise `FileFormatError` that lists every shard that is missing, extra or of another size."""
    wrong = []
    for shard in manifest.shards:
        path = folder / shard["file"]
        if not path.is_file():
            wrong.append(f"{shard['file']} is missing")
        elif path.stat().st_size != shard["bytes"]:
            wrong.append(f"{shard['file']} has {path.stat().st_size} bytes, the manifest says {shard['bytes']}")
    known = {shard["file"] for shard in manifest.shards}
    wrong += [
        f"{path.name} is not in the manifest" for path in sorted(folder.glob("tokens-*.pt")) if path.name not in known
    ]
    if wrong:
        raise FileFormatError(f"{folder}: {'; '.join(wrong[:8])}{'; ...' if len(wrong) > 8 else ''}")
