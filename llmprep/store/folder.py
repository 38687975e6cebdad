"""A store's folder while it is built: who holds it, which plan it follows, and which shards are done."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from llmprep.documents import Source
from llmprep.errors import FileFormatError, InputError, OutputError, RefusedError, shorten
from llmprep.ptfile import check_output, open_output
from llmprep.ptfile.writing import Sink
from llmprep.store.form import is_plan, is_receipt, shard_name
from llmprep.store.manifest import NAME, PLAN, read_sealed, seal
from llmprep.store.own import LOCK, RECEIPTS, require_own
from llmprep.store.plan import Plan
from llmprep.vocabulary import Vocabulary

SIGNED = b"process "
"""What a lock file begins with, if it is not empty."""
SAMPLE_BYTES = 4096


@contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the store's folder; `RefusedError` names who holds it. Several ``--task`` runs share it.

    Raises `OutputError` if there is anything in it, under a name of the store's, that is not the store's own.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        require_own(folder)
        (folder / RECEIPTS).mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{error.filename or folder}: {error.strerror}") from error
    with _open_lock(folder / LOCK) as file:
        held = file.read(256)
        if not held.startswith(SIGNED[: len(held)]):
            raise OutputError(f"{folder / LOCK}: llmprep did not write it; remove it, or name another folder")
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = held.decode("utf-8", "replace").strip() or "another process"
            raise RefusedError(f"{folder}: is being built by {holder}; wait for it, or stop it") from error
        except OSError as error:
            raise OutputError(f"{folder}: cannot be locked: {error.strerror}") from error
        try:
            file.truncate(0)
            file.seek(0)
            file.write(SIGNED + f"{os.getpid()} on {socket.gethostname()}\n".encode())
        except OSError as error:
            raise OutputError(f"{folder / LOCK}: {error.strerror}") from error
        yield


def _open_lock(path: Path) -> FileIO:
    """Open the lock file, unbuffered, so that closing it cannot fail."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = FileIO(os.open(path, flags, 0o666), "r+")
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OutputError(f"{path}: is no regular file; remove it")
    return file


def prepare(
    folder: Path, plan: Plan, vocabulary: Vocabulary, *, restart: bool, val_fraction: float | None, shared: bool = False
) -> dict[str, Any]:
    """Make the folder that of this plan; return what is told there, as `read_plan` does.

    Raises `RefusedError` with the differences if the folder was begun for another plan. A split may be added to a
    store that has none, unless the folder is ``shared`` with tasks that were told otherwise. A manifest of the same
    plan stays until a new one takes its place: whatever is built again has the same bytes.
    """
    told = {
        "plan_sha256": plan.sha256,
        "options": plan.options,
        "corpus": [[s.name, *stamp(s), sample(s)] for s in plan.sources],
        "shards": [[[piece.source, piece.start, piece.end] for piece in pieces] for pieces in plan.shards],
        "n_vocab": vocabulary.n_vocab,
        "val_fraction": val_fraction,
    }
    if restart:
        for stale in [folder / NAME, *folder.glob("tokens-*.pt"), *(folder / RECEIPTS).glob("*.json")]:
            stale.unlink(missing_ok=True)
    elif (folder / PLAN).exists():
        old = read_plan(folder)
        adds_split = old["val_fraction"] is None and not shared
        require_same(folder, {**old, "val_fraction": val_fraction} if adds_split else old, told)
        if not adds_split or old["val_fraction"] == val_fraction:
            return told
    write_sealed(folder / PLAN, told)
    return told


def require_same(folder: Path, old: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    """Raise `RefusedError` with the list of what differs between the plan of a folder and what is told now."""
    differences = [shorten(each, 200) for each in _differences(old, told)]
    if differences:
        more = "; ..." if len(differences) > 8 else ""
        raise RefusedError(
            f"{folder}: was begun differently: {'; '.join(differences[:8])}{more}; --restart starts over"
        )


def stamp(source: Source) -> tuple[int, int]:
    """Return size and modification time in ns, by which a changed file is known. Raises `InputError`."""
    try:
        status = Path(source.path).stat()
    except OSError as error:
        raise InputError(f"{source.path}: {error.strerror}") from error
    return status.st_size, status.st_mtime_ns


def sample(source: Source) -> str:
    """Return a hash of a file's first, middle and last 4 KiB: size and time alone do not tell a file from another."""
    digest = hashlib.sha256()
    size = source.size or 0
    try:
        with Path(source.path).open("rb") as file:
            for position in sorted({0, max(0, (size - SAMPLE_BYTES) // 2), max(0, size - SAMPLE_BYTES)}):
                file.seek(position)
                digest.update(file.read(SAMPLE_BYTES))
    except OSError as error:
        raise InputError(f"{source.path}: {error.strerror}") from error
    return digest.hexdigest()[:16]


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
        raise FileFormatError(f"{error}; build the store with --restart") from error
    if not is_plan(told):
        raise FileFormatError(f"{folder / PLAN}: is not what llmprep writes; build the store with --restart")
    return told


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    before, now = ({**told["options"], "val_fraction": told["val_fraction"]} for told in (old, new))
    options = [
        f"{key} was {before.get(key)}, is {now.get(key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    was, are = (_by_name(told["corpus"]) for told in (old, new))
    gone = [f"{name} is gone" for name, nth in was if (name, nth) not in are]
    added = [f"{name} is new" for name, nth in are if (name, nth) not in was]
    changed = [f"{key[0]} has changed" for key in are if key in was and was[key] != are[key]]
    found = [*options, *gone, *added, *changed]
    if not found and old["plan_sha256"] != new["plan_sha256"]:
        found = ["the files come in another order"]
    return found


def _by_name(corpus: Sequence[Sequence[Any]]) -> dict[tuple[str, int], Sequence[Any]]:
    """What is known of each file by its name and, as several may share one, how many of that name came before."""
    seen: Counter[str] = Counter()
    found: dict[tuple[str, int], Sequence[Any]] = {}
    for name, *rest in corpus:
        found[name, seen[name]] = rest
        seen[name] += 1
    return found


def clear_temporaries(folder: Path) -> None:
    """Remove what a killed run has left; the caller holds the lock."""
    for path in folder.glob(".llmprep-*.tmp"):
        path.unlink(missing_ok=True)
    for path in (folder / RECEIPTS).glob(".llmprep-*.tmp"):
        path.unlink(missing_ok=True)


def sound_receipts(
    folder: Path, plan_sha256: str, n_pieces: Mapping[int, int], jobs: int = 1
) -> dict[int, dict[str, Any]]:
    """Return the receipts that are sound, by shard number; ``jobs`` threads hash the shards.

    ``n_pieces`` says of how many pieces each of the wanted shards is made. A receipt is sound if it is of this plan,
    and the shard has the size and sha256 that it says.
    """
    with ThreadPoolExecutor(jobs) as threads:
        found = threads.map(lambda number: _sound_receipt(folder, number, plan_sha256, n_pieces[number]), n_pieces)
        return {number: receipt for number, receipt in zip(n_pieces, found, strict=True) if receipt is not None}


def _sound_receipt(folder: Path, number: int, plan_sha256: str, n_pieces: int) -> dict[str, Any] | None:
    try:
        receipt: dict[str, Any] = read_sealed(receipt_path(folder, number))
        path = folder / shard_name(number)
        if not is_receipt(receipt, n_pieces) or receipt["file"] != path.name:
            return None
        same = receipt["plan_sha256"] == plan_sha256 and path.stat().st_size == receipt["bytes"]
        return receipt if same and file_sha256(path) == receipt["sha256"] else None
    except (OSError, FileFormatError):
        return None


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
