"""Folders that may hold rank files, and a careful read of what lies there."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from llmprep.errors import VocabularyError
from llmprep.vocabulary.ranks import RankFile

MAX_FILE_BYTES = 64 << 20
"""No vocabulary is larger."""


@dataclass(frozen=True, slots=True)
class RankFolder:
    """A folder that may hold rank files.

    ``label`` says whose it is, for messages. One that is ``required`` was named by the user, so that what is wrong in
    it is an error. One that is ``shared`` lies where anybody may write.
    """

    path: Path
    label: str
    required: bool = False
    shared: bool = False


def folders_to_search(vocab_dir: str | None) -> list[RankFolder]:
    """Return the folders that may hold rank files: the one that is named, and tiktoken's cache."""
    cache = cache_folder()
    named = [RankFolder(Path(vocab_dir), "--vocab-dir", required=True)] if vocab_dir else []
    return named + ([cache] if cache else [])


def cache_folder() -> RankFolder | None:
    """Return the folder in which tiktoken keeps downloads, found as it finds it; None where that is turned off."""
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if variable in os.environ:
            path = os.environ[variable]
            return RankFolder(Path(path), variable) if path else None
    import tempfile

    return RankFolder(Path(tempfile.gettempdir()) / "data-gym-cache", "tiktoken's cache", shared=True)


def read_from_folder(folder: RankFolder, file: RankFile) -> tuple[bytes | None, list[str]]:
    """Return a rank file's content, None if the folder does not have it, and what there could not be used, in words.

    Raises `VocabularyError` where a folder that is required has another file under the plain or the cache's name.
    """
    unusable: list[str] = []
    for path in (folder.path / file.name, folder.path / file.cache_name):
        try:
            data = _read_regular(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            unusable.append(f"{path} ({getattr(error, 'strerror', None) or error})")
            continue
        if file.holds(data):
            return data, unusable
        unusable.append(f"{path} (wrong sha256: damaged or another file)")
        if folder.required:
            raise VocabularyError(f"{path}: its sha256 is not {file.sha256}, the one of {file.name}; replace it")
    return None, unusable


def _read_regular(path: Path) -> bytes:
    """Read a file that others may have put there: no pipe that never ends, no device, nothing of any size.

    Raises OSError, and ValueError for what is no vocabulary. It is looked at before it is opened, as opening a device
    may do something, and after, as it may have been exchanged.
    """
    _require_regular(path.stat())
    with open(path, "rb", opener=_open_without_waiting) as file:
        _require_regular(os.fstat(file.fileno()))
        return file.read(MAX_FILE_BYTES) or b""  # None from a file of /proc that has nothing to say yet


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file, without waiting for the writer of a pipe where the system can do that."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is a directory" if stat.S_ISDIR(status.st_mode) else "no regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise ValueError(f"{status.st_size} bytes, larger than any vocabulary")
