"""The files of a store's folder while it is built: its plan, its receipts, and what a killed run has left."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from llmprep.documents.source import Source
from llmprep.errors import FileFormatError, InputError, OutputError, UsageError
from llmprep.output.checking import check_output
from llmprep.output.writing import Sink, open_output
from llmprep.store.manifest import PLAN, is_store, read_sealed, seal
from llmprep.store.own import LOCK, RECEIPTS, require_own
from llmprep.store.schema import is_plan

ANEW = "build the store with --restart, or, where tasks build it, remove the folder"


def check_folder(folder: str | os.PathLike[str], paths: Sequence[str], sources: Sequence[Source]) -> Path:
    """Return the folder of a store that is to be built from ``sources``, which were found at ``paths``.

    It must be new, empty or a store's, and neither hold an input nor lie in one. Raises `UsageError` and `OutputError`.
    """
    name = os.fsdecode(folder)
    folder = Path(name)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{name}: is a file; a token store is a folder")
    if folder.is_symlink() and not folder.exists():
        raise OutputError(f"{name}: is a link to nothing; make the folder that it leads to")
    if folder.is_dir() and not (folder / PLAN).exists() and not is_store(folder):
        foreign = sorted(path.name for path in folder.iterdir() if not _may_be_left(path.name))
        if foreign:
            raise OutputError(f"{name}: has other things in it ({foreign[0]}, ...); name a new folder")
    if folder.is_dir():
        require_own(folder)
    _refuse_inputs(folder, paths, sources)
    return folder


def _may_be_left(name: str) -> bool:
    """Tell what a run that was killed before it wrote its plan has left."""
    return name in (RECEIPTS, LOCK) or name.startswith((f"{LOCK}-", ".llmprep-"))


def _refuse_inputs(folder: Path, paths: Sequence[str], sources: Sequence[Source]) -> None:
    """Refuse inputs that are a store, hold the folder, or lie in it, as those that a pattern finds in a second run."""
    for path in paths:
        if is_store(path):
            raise UsageError(f"{path}: is a token store; its tokens are made already")
        if Path(path).is_dir() and folder.resolve().is_relative_to(Path(path).resolve()):
            raise UsageError(f"{folder}: lies inside the input {path}; name a folder elsewhere")
    own = os.path.join(os.path.abspath(folder), "")  # noqa: PTH100, PTH118 - there may be many
    for source in sources:
        if os.path.abspath(source.path).startswith(own):  # noqa: PTH100
            raise UsageError(f"{source.path}: lies inside the store's folder {folder}; name a folder elsewhere")


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
