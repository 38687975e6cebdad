"""What may lie in a store's folder: files and one folder of its own, and nothing that leads elsewhere."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from llmprep.errors import OutputError
from llmprep.store.manifest import NAME, PLAN

RECEIPTS = "receipts"
LOCK = ".lock"
HELD, TASK = ".lock-held", ".lock-task-"
"""Names of the files that are the lock where the file system has none."""
_TEMPORARY = r"\.llmprep-.*\.tmp"
_IN_STORE = re.compile(
    rf"{re.escape(NAME)}|{re.escape(PLAN)}|{re.escape(LOCK)}(-.*)?|tokens-.*\.pt|{_TEMPORARY}", re.DOTALL
)
_IN_RECEIPTS = re.compile(rf".*\.json|{_TEMPORARY}", re.DOTALL)


def require_own(folder: Path) -> None:
    """Raise `OutputError` if a link, a pipe or a folder has the name of a file of the store's, or of its receipts.

    What such a thing leads to is not the store's, to be written or removed. The folder itself may be a link.
    """
    what = found_at(folder / RECEIPTS)
    if what not in ("nothing", "a folder"):
        raise OutputError(f"{folder / RECEIPTS}: is {what}, where the store has a folder; remove it")
    _require_files(folder, _IN_STORE)
    if what == "a folder":
        _require_files(folder / RECEIPTS, _IN_RECEIPTS)


def _require_files(folder: Path, names: re.Pattern[str]) -> None:
    try:
        with os.scandir(folder) as entries:
            wrong = sorted(e.name for e in entries if names.fullmatch(e.name) and not e.is_file(follow_symlinks=False))
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}") from error
    for name in wrong:
        if found_at(folder / name) not in ("nothing", "a file"):  # another task's temporary file may be gone by now
            raise OutputError(f"{folder / name}: is no regular file; remove it")


def found_at(path: Path) -> str:
    """Say what stands at a path, without following it if it is a link."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return "nothing"
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link"}
    return kinds.get(stat.S_IFMT(mode), "a pipe or a device")
