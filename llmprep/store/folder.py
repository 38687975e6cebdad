"""A store's folder: the names in it, what may lie under them, and which folder a store may be built in.

There are files and one folder of its own in it, and nothing that leads elsewhere.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from llmprep.documents.sources import UNKNOWN, Sources
from llmprep.errors import OutputError, UsageError
from llmprep.missing import is_address
from llmprep.store.sealed import is_regular
from llmprep.vocabulary.stated import CARRIED

MANIFEST = "manifest.json"
PLAN = "plan.json"
TASKS = "tasks.json"
RECEIPTS = "receipts"
LOCK = ".lock"
LOCK_HELD, LOCK_TASK = ".lock-held", ".lock-task-"
"""Names of the files that are the lock where the file system has none."""

MANIFEST_BEGINS, PLAN_BEGINS = b'{"format":"llmprep-store/', b'{"plan_sha256":"'
_TEMPORARY = r"\.llmprep-.*\.tmp"
_IN_STORE = re.compile(
    rf"{re.escape(MANIFEST)}|{re.escape(PLAN)}|{re.escape(TASKS)}|{re.escape(CARRIED)}|{re.escape(LOCK)}(-.*)?|tokens-.*\.pt|packed-.*\.pt|{_TEMPORARY}",
    re.DOTALL,
)
_IN_RECEIPTS = re.compile(rf".*\.json|{_TEMPORARY}", re.DOTALL)


def is_store(path: str | Path) -> bool:
    """Tell a finished or unfinished store from any other folder, also from one whose texts lie beside a manifest."""
    return _begins(Path(path, MANIFEST), MANIFEST_BEGINS) or _begins(Path(path, PLAN), PLAN_BEGINS)


def _begins(path: Path, beginning: bytes) -> bool:
    try:
        if not is_regular(path):
            return False
        with path.open("rb") as file:
            return file.read(len(beginning)) == beginning
    except (OSError, ValueError):  # also of a name that no file can have
        return False


def manifest_status(folder: str | os.PathLike[str]) -> os.stat_result | None:
    """Return which file the manifest in a folder is, None if there is none."""
    try:
        return Path(folder, MANIFEST).stat()
    except (OSError, ValueError):
        return None


def receipt_path(folder: Path, number: int) -> Path:
    """Return where the receipt of a shard lies."""
    return folder / RECEIPTS / f"{number:05d}.json"


def clear_temporaries(folder: Path) -> None:
    """Remove what a killed run has left; the caller holds the lock."""
    for path in [*folder.glob(".llmprep-*.tmp"), *(folder / RECEIPTS).glob(".llmprep-*.tmp")]:
        path.unlink(missing_ok=True)


# --- what a store may be built in -----------------------------------------------------------------


def check_folder(folder: str | os.PathLike[str], paths: Sequence[str], sources: Sources) -> Path:
    """Return the folder of a store that is to be built from ``sources``, which were found at ``paths``.

    It must be new, empty or a store's, and neither hold an input nor lie in one. Raises `UsageError` and `OutputError`.
    """
    name = os.fsdecode(folder)
    if "\0" in name:
        raise OutputError(f"{name}: no name holds a NUL character")
    if is_address(name) and not Path(name).parent.is_dir():
        raise OutputError(f"{name}: is an address, and llmprep writes files; build the store here and copy it there")
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


def _refuse_inputs(folder: Path, paths: Sequence[str], sources: Sources) -> None:
    """Refuse inputs that are a store, hold the folder, or lie in it, as those that a pattern finds in a second run.

    Refused is also what does not tell its size, from which a store is planned.
    """
    for path in paths:
        if is_store(path):
            raise UsageError(f"{path}: is a token store, which already holds tokens")
        if Path(path).is_dir() and folder.resolve().is_relative_to(Path(path).resolve()):
            raise UsageError(f"{folder}: lies inside the input {path}; name a folder elsewhere")
    own = os.path.join(os.path.abspath(folder), "")  # noqa: PTH100, PTH118 - there may be many

    @functools.cache
    def is_within(parent: str) -> bool:
        return os.path.join(os.path.abspath(parent), "").startswith(own)  # noqa: PTH100, PTH118

    for file, size in zip(sources.paths, sources.sizes, strict=True):
        if size == UNKNOWN:
            raise UsageError(f"{file}: a token store is planned from files that tell their size; copy it into one")
        if is_within(file[: file.rfind(os.sep) + 1]):
            raise UsageError(f"{file}: lies inside the store's folder {folder}; name a folder elsewhere")


# --- what may lie in it ---------------------------------------------------------------------------


def require_own(folder: Path) -> None:
    """Raise `OutputError` if a link, a pipe or a folder has the name of a file of the store's, or of its receipts.

    What such a thing leads to is not the store's, to be written or removed. The folder itself may be a link.
    """
    found = kind_of(folder / RECEIPTS)
    if found not in ("nothing", "a folder"):
        raise OutputError(f"{folder / RECEIPTS}: is {found}, where the store has a folder; remove it")
    _require_files(folder, _IN_STORE)
    if found == "a folder":
        _require_files(folder / RECEIPTS, _IN_RECEIPTS)


def _require_files(folder: Path, names: re.Pattern[str]) -> None:
    try:
        with os.scandir(folder) as entries:
            wrong = sorted(e.name for e in entries if names.fullmatch(e.name) and not e.is_file(follow_symlinks=False))
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}") from error
    for name in wrong:
        if kind_of(folder / name) not in ("nothing", "a file"):  # another task's temporary file may be gone by now
            raise OutputError(f"{folder / name}: is not a regular file; remove it")


def kind_of(path: Path) -> str:
    """Say what stands at a path, without following it if it is a link."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return "nothing"
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link"}
    return kinds.get(stat.S_IFMT(mode), "a pipe or a device")
