"""Files of a store's own: written whole or not at all, JSON with a seal that shows every later change."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from llmprep.errors import FileFormatError, OutputError
from llmprep.output.checking import check_output
from llmprep.output.writing import Sink, open_output


def seal(values: Mapping[str, Any]) -> bytes:
    """Return values as JSON on one line that ends with the sha256 of all that stands before it.

    >>> seal({"a": 1})[:25]
    b'{"a":1,"seal_sha256":"8b0'
    """
    return b"".join(_sealed(values))


def _sealed(values: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the same, value by value, as each may be large."""
    digest = hashlib.sha256()
    before = "{"
    for key, value in values.items():
        part = f"{before}{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}".encode()
        digest.update(part)
        yield part
        before = ","
    yield _end(digest.hexdigest())


def _end(sha256: str) -> bytes:
    return b',"seal_sha256":"%b"}\n' % sha256.encode()


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Write values as `read_sealed` reads them, whole or not at all; a file that states them already is left alone."""
    with suppress(OSError):
        if states(path, values) and not path.is_symlink():
            return
    with open_own(path) as sink:
        for part in _sealed(values):
            sink.write(part)


def states(path: Path, values: Mapping[str, Any]) -> bool:
    """Tell whether a file is the one that `write_sealed` writes of these values. Raises OSError."""
    if not is_regular(path):
        return False
    with path.open("rb") as file:
        return all(file.read(len(part)) == part for part in _sealed(values)) and not file.read(1)


def read_sealed(path: Path, find_faults: Callable[[object], list[str]] = lambda _: []) -> Any:
    """Return the values of a sealed file.

    Raises OSError, and `FileFormatError` with what ``find_faults`` finds wrong with them, or if one bit has changed
    since they were written.
    """
    if not is_regular(path):
        raise FileFormatError(f"{path}: is not a regular file")
    data = path.read_bytes()
    at = data.rfind(b',"seal_sha256":"')
    is_whole = data[at:] == _end(hashlib.sha256(memoryview(data)[:at]).hexdigest())
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: not valid JSON: {error}") from error
    del data
    wrong = find_faults(values)
    if wrong:
        raise FileFormatError(f"{path}: {'; '.join(wrong[:8])}{'; ...' if len(wrong) > 8 else ''}")
    if not is_whole:
        raise FileFormatError(f"{path}: was edited or damaged: it does not have the sha256 that it ends with")
    return values


def is_regular(path: Path) -> bool:
    """Tell a file from a folder, a pipe or a device. Raises OSError."""
    return stat.S_ISREG(path.stat().st_mode)


def open_own(path: Path) -> AbstractContextManager[Sink]:
    """Open a file of the store's own for writing, whole or not at all.

    Raises `OutputError` if a link or a device is in its place: what that leads to is not the store's.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OutputError(f"{path}: is not a regular file; remove it")
    return open_output(check_output(str(path), force=True))


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
