"""Ids in a file that another program wrote: found, checked, mapped again in another process."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llmprep.errors import InputError
from llmprep.formats.ids import Array
from llmprep.ptfile.reading import FileState, file_state


@dataclass(frozen=True, slots=True)
class Mapped:
    """Where ids are in a file that is not llmprep's: ``count`` of a numpy ``dtype`` from byte ``offset`` on.

    ``sha256`` is of their bytes; while the file's ``state`` stays, it need not be worked out again.
    """

    path: str
    dtype: str
    offset: int
    count: int
    sha256: str
    state: FileState

    def is_untouched(self) -> bool:
        """Whether the file is the very one that was read, and was not written to since."""
        try:
            return file_state(Path(self.path).stat()) == self.state
        except OSError:
            return False

    def open(self, *, known: bool) -> Array:
        """Map the ids, and hash them unless they are ``known``. Raises `InputError` if they are not what they were."""
        try:
            ids = np.memmap(self.path, self.dtype, "r", self.offset, (self.count,))
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror or error}") from error
        except ValueError as error:  # too short, or empty
            raise changed_error(self.path) from error
        if not known and _bytes_sha256(ids) != self.sha256:
            raise changed_error(self.path)
        return ids


def find_map(ids: Array) -> Mapped | None:
    """Return where ids are, or None unless they are a run of a numpy memmap of a file that still holds them.

    The file is read to see that.
    """
    held: Any = ids
    while isinstance(held, np.ndarray) and isinstance(held.base, np.ndarray):
        held = held.base
    if not isinstance(held, np.memmap) or held.filename is None or held.mode == "c" or not ids.flags.c_contiguous:
        return None  # what is written to a copy-on-write map is in no file
    path, offset = os.fsdecode(held.filename), held.offset + ids.ctypes.data - held.ctypes.data
    try:
        if held.flags.writeable:
            held.flush()  # another machine reads the file, not the map
        state = file_state(Path(path).stat())
        mapped = Mapped(path, ids.dtype.str, offset, len(ids), _bytes_sha256(ids), state)
        mapped.open(known=False)
    except (OSError, InputError):  # renamed, removed, replaced or cut since it was mapped
        return None
    return mapped


def _bytes_sha256(ids: Array) -> str:
    return hashlib.sha256(ids.view(np.uint8).data).hexdigest()


def changed_error(path: object) -> InputError:
    """Return the error for a source that is no longer what a data set was made of."""
    return InputError(f"{path}: has changed since the data set was made of it")
