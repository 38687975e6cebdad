"""Folders that may hold rank files, and a careful read of what lies there."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from llmprep.errors import VocabularyError

MAX_FILE_BYTES = 64 << 20
Tried = dict[str, bool]
"""What was tried for a rank file, in words, and whether there was something that could not be used."""


@dataclass(frozen=True, slots=True)
class _Place:
    folder: Path
    what: str
    required: bool = False
    shared: bool = False


def not_found_error(address: str, tried: Tried) -> VocabularyError:
    return VocabularyError(
        f"{rank_file_names(address)[0]}: not to be had; tried {'; '.join(tried)}; put the file into a folder and name that "
        f"with --vocab-dir or LLMPREP_VOCAB_DIR, from Python with vocab_dir"
    )


def rank_folders(folder: str | None) -> Iterator[_Place]:
    """Folders that may hold rank files; the caches in tiktoken's own order of preference."""
    if folder:
        yield _Place(Path(folder), "--vocab-dir", required=True)
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if variable in os.environ:
            if os.environ[variable]:
                yield _Place(Path(os.environ[variable]), variable)
            return
    import tempfile

    yield _Place(Path(tempfile.gettempdir()) / "data-gym-cache", "tiktoken's cache", shared=True)


def rank_file_names(address: str) -> tuple[str, str]:
    """What a rank file may be called: its plain name, or as tiktoken's cache calls it."""
    key = hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
    return urlsplit(address).path.rpartition("/")[2], key


def read_from_folder(place: _Place, address: str, sha256: str, tried: Tried) -> bytes | None:
    plain, key = rank_file_names(address)
    for name in (plain, key):
        path = place.folder / name
        try:
            data = _read_regular(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            tried[f"{path} ({getattr(error, 'strerror', None) or error})"] = True
            continue
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
        tried[f"{path} (wrong sha256: damaged or another file)"] = True
        if place.required:
            raise VocabularyError(f"{path}: its sha256 is not {sha256}, the one of {plain}; replace it")
    if place.required and any(tried.values()):  # what the user named is not passed over for a cache
        raise not_found_error(address, tried)
    tried[f"{place.what} {place.folder} (no {plain} in it)"] = False
    return None


def _read_regular(path: Path) -> bytes:
    """Read a file that others may have put there: no pipe that never ends, no device, nothing of any size.

    Raises OSError, and ValueError for what is no vocabulary. It is looked at before it is opened, as opening a device
    may do something, and after, as it may have been exchanged.
    """
    _require_regular(path.stat())
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # without waiting for a pipe's writer
    with os.fdopen(descriptor, "rb") as file:
        _require_regular(os.fstat(descriptor))
        return file.read(MAX_FILE_BYTES) or b""  # None from a file of /proc that has nothing to say yet


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is a directory" if stat.S_ISDIR(status.st_mode) else "no regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise ValueError(f"{status.st_size} bytes, larger than any vocabulary")
