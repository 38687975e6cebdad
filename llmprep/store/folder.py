"""The files of a store's folder while it is built: its plan, its receipts, and what a killed run has left."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from llmprep.errors import FileFormatError, InputError, OutputError
from llmprep.output.checking import check_output
from llmprep.output.writing import Sink, open_output
from llmprep.store.manifest import PLAN, read_sealed, seal
from llmprep.store.own import RECEIPTS
from llmprep.store.schema import is_plan

ANEW = "build the store with --restart, or, where tasks build it, remove the folder"


def read_plan(folder: Path) -> dict[str, Any]:
    """Return what `prepare` told a store's folder of its plan."""
    try:
        told: dict[str, Any] = read_sealed(folder / PLAN)
    except FileNotFoundError as error:
        if not folder.exists():
            raise InputError(f"{folder}: no such file or directory") from error
        raise FileFormatError(f"{folder}: has no {PLAN}; it is no token store") from error
    except NotADirectoryError as error:
        raise FileFormatError(f"{folder}: is a file; a token store is a folder") from error
    except OSError as error:
        raise InputError(f"{folder / PLAN}: {error.strerror}") from error
    except FileFormatError as error:
        raise FileFormatError(f"{error}; {ANEW}") from error
    if not is_plan(told):
        raise FileFormatError(f"{folder / PLAN}: is not what llmprep writes; {ANEW}")
    return told


def clear_temporaries(folder: Path) -> None:
    """Remove what a killed run has left; the caller holds the lock."""
    for path in folder.glob(".llmprep-*.tmp"):
        path.unlink(missing_ok=True)
    for path in (folder / RECEIPTS).glob(".llmprep-*.tmp"):
        path.unlink(missing_ok=True)


def receipt_path(folder: Path, number: int) -> Path:
    """Where the receipt of a shard lies."""
    return folder / RECEIPTS / f"{number:05d}.json"


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Write values as `read_sealed` reads them, whole or not at all."""
    with open_own(path) as sink:
        sink.write(seal(values))


def open_own(path: Path) -> AbstractContextManager[Sink]:
    """Open a file of the store's own for writing, whole or not at all.

    Raises `OutputError` if a link or a device is in its place: what that leads to is not the store's.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OutputError(f"{path}: is no regular file; remove it")
    return open_output(check_output(str(path), force=True))
