"""A store's documents -> rows of whole documents: an index beside the store, built once, found again by its name.

It is built block by block into a folder of its own, which says after every few blocks how far it is: a build that is
broken off goes on there. The same store and choices give the same bytes, whoever builds and however often that was
broken off.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from llmprep import __version__
from llmprep.choices import BestFit, SeparatorBelongs
from llmprep.errors import DataError, FileFormatError, OutputError
from llmprep.formats.ids import Array
from llmprep.formats.meta import FORMAT, wrong_keys
from llmprep.formats.packing import FIGURES, read_packing, write_packing
from llmprep.output.checking import os_reason
from llmprep.ptfile.reading import read_pt
from llmprep.store.reading import TokenStore
from llmprep.store.sealed import open_own, read_sealed, write_sealed
from llmprep.windows.packed import DividedStream, Fill, PackedRows, pack_blocks
from llmprep.windows.packing import Rule

COMMIT_BLOCKS = 16
"""Blocks after which a build notes how far it is."""
CHECKED_BYTES = 1 << 28
"""Size of an index up to which it is read through when it is opened; of a larger one, rows are checked when taken."""
READ_NUMBERS = 1 << 14
INDEXES = "packed-*.pt"
STATE = "state.json"
DTYPES = {"counts": "<i4", "starts": "<i8", "lengths": "<i4", "lost_starts": "<i8", "lost_lengths": "<i8"}
"""What is kept of `Packed` while an index is built, a file each."""
Watch = Callable[[Fill], None]


@dataclass(frozen=True, slots=True)
class Packing:
    """The rows that a store, or a split of it, is packed into by a rule."""

    store: TokenStore
    max_length: int
    chosen: BestFit
    separator_belongs: SeparatorBelongs = "old"

    @property
    def rule(self) -> Rule:
        """Raises `UsageError` for sizes that do not go together."""
        return Rule(self.max_length + 1, **self.chosen.content())

    def stated(self) -> dict[str, Any]:
        """Return what decides every byte of the index, as plain values of its ``meta``."""
        options = {
            "packing": "bestfit",
            "max_length": self.max_length,
            **self.chosen.content(),
            "separator_belongs": self.separator_belongs,
            "split": self.store.split,
            "first_token": self.store.first,
        }
        return {
            "content_sha256": self.store.content_sha256,
            "shards_sha256": shards_sha256(self.store),
            "n_tokens": len(self.store),
            "options": options,
        }

    @property
    def folder(self) -> Path:
        """Where the index lies."""
        chosen = self.chosen.index_dir
        return self.store.folder if chosen is None else Path(os.fsdecode(chosen))

    @property
    def path(self) -> Path:
        """The index. Its name tells max_length, and by a hash all else that decides it."""
        key = hashlib.sha256(json.dumps(self.stated(), sort_keys=True).encode()).hexdigest()[:8]
        return self.folder / f"packed-{self.max_length}-{key}.pt"

    def corpus(self) -> DividedStream:
        """Return the documents that are packed."""
        return DividedStream(self.store.documents(), len(self.store), self.separator_belongs == "new")


def shards_sha256(store: TokenStore) -> str:
    """Return a hash of all a store's shards, which state where documents begin: equal ids may be divided otherwise."""
    return hashlib.sha256("".join(shard.sha256 for shard in store.manifest.shards).encode()).hexdigest()


def open_packing(packing: Packing) -> PackedRows:
    """Open the index of a packing, mapped. Raises `FileFormatError` for one of another store, and for a damaged one."""
    path = packing.path
    small = path.is_file() and path.stat().st_size <= CHECKED_BYTES
    file = read_pt(path, check_crc=small)
    rows = read_packing(file)
    if any(file.meta.get(key) != value for key, value in packing.stated().items()):
        raise FileFormatError(f"{path}: is of another store, or of other choices; remove it")
    return rows


def build_packing(packing: Packing, watch: Watch = lambda _: None) -> Path:
    """Build the index of a packing unless it is there; return its path.

    Of several processes one builds, and the others wait for it; where the file system has no locks, all do the same
    work. ``watch`` is given the figures after each block. Raises `OutputError` where the folder cannot be written to,
    and `DataError` for tokens that are of no document, as end-of-text ids alone may be.
    """
    path, rule = packing.path, packing.rule
    if path.exists():
        return path
    if len(packing.store) and not packing.store.documents():
        raise DataError(f"{packing.store.folder}: holds no document to pack")
    if not packing.folder.is_dir() or not os.access(packing.folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"{packing.folder}: is not a folder that can be written to, where the index of packed rows would lie; "
            f"name another: index_dir, or --index-dir"
        )
    work = path.with_name(f".{path.stem}")
    with _named(work), _held(work):
        if not path.exists():
            work.mkdir(exist_ok=True)  # another build may have removed it
            fill = _pack(packing, rule, work, watch)
            _write(packing, rule, work, fill)
    shutil.rmtree(work, ignore_errors=True)
    return path


# --- the folder in which it is built --------------------------------------------------------------


@contextmanager
def _named(work: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{error.filename or work}: {os_reason(error)}") from error


@contextmanager
def _held(work: Path) -> Iterator[None]:
    """Wait until nobody else builds here. Without locks nobody waits: all write the same bytes to the same places."""
    with _open_lock(work) as file:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _open_lock(work: Path) -> BinaryIO:
    while True:
        work.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # whoever has just built removes the folder
            return (work / "lock").open("ab")


def _sizes(fill: Fill, rule: Rule) -> dict[str, int]:
    """Return how many numbers of each kind there are."""
    n_lost = fill.n_split if rule.truncate else 0
    counted = [fill.n_rows, fill.n_parts, fill.n_parts, n_lost, n_lost]
    return dict(zip(DTYPES, counted, strict=True))


def _n_bytes(name: str, count: int) -> int:
    return np.dtype(DTYPES[name]).itemsize * count


def _begun(work: Path, packing: Packing, rule: Rule) -> tuple[int, Fill]:
    """Return how many blocks are done, and their figures; none, where that is not known or was for something else."""
    with suppress(OSError, FileFormatError, KeyError, TypeError):
        state = read_sealed(work / STATE)
        fill = Fill(**state["fill"])
        sizes = {name: _n_bytes(name, count) for name, count in _sizes(fill, rule).items()}
        is_whole = all((work / name).stat().st_size >= size for name, size in sizes.items())
        if state["of"] == packing.stated() and not wrong_keys(state["fill"], FIGURES) and is_whole:
            return int(state["blocks"]), fill
    return 0, Fill(rule.width)


def _open_at(path: Path, position: int) -> BinaryIO:
    """Open a file for writing from a position on; what comes after that is written again."""
    path.touch()
    file = path.open("r+b")
    file.seek(position)
    return file


def _pack(packing: Packing, rule: Rule, work: Path, watch: Watch) -> Fill:
    """Pack what is not packed yet. Raises `FileFormatError` if the documents have not each token of the store once."""
    first, fill = _begun(work, packing, rule)
    sizes = _sizes(fill, rule)
    with ExitStack() as stack:
        files = {name: stack.enter_context(_open_at(work / name, _n_bytes(name, sizes[name]))) for name in DTYPES}
        for number, (lengths, rows) in enumerate(pack_blocks(packing.corpus(), rule, first), first):
            fill = fill.with_documents(lengths, rule)
            for packed in rows:
                fill = fill.with_rows(packed)
                for name, file in files.items():
                    file.write(getattr(packed, name).astype(DTYPES[name]).data)
            watch(fill)
            if (number + 1) % COMMIT_BLOCKS == 0:
                _commit(work, files, {"of": packing.stated(), "blocks": number + 1, "fill": asdict(fill)})
    if fill.n_tokens != len(packing.store) or fill.n_repeated != rule.overlap * fill.n_cuts:
        raise FileFormatError(f"{packing.store.folder}: its documents do not have each of its tokens once; verify it")
    return fill


def _commit(work: Path, files: Mapping[str, BinaryIO], state: Mapping[str, Any]) -> None:
    for file in files.values():
        file.flush()
        os.fsync(file.fileno())
    write_sealed(work / STATE, state)


# --- the index ------------------------------------------------------------------------------------


def _write(packing: Packing, rule: Rule, work: Path, fill: Fill) -> None:
    sizes = _sizes(fill, rule)
    columns = {name: _read(work / name, name, count) for name, count in sizes.items()}
    named = {f"part_{name}" if name in ("starts", "lengths") else name: blocks for name, blocks in columns.items()}
    named["row_starts"] = _add_up(columns["counts"])
    manifest = packing.store.manifest
    meta = {
        "format": FORMAT,
        "kind": "packing",
        "llmprep_version": __version__,
        "encoding": manifest.encoding,
        "vocab_sha256": manifest.vocab_sha256,
        **({"fingerprint": manifest.fingerprint} if manifest.fingerprint else {}),
        "n_vocab": manifest.n_vocab,
        "sources": [],
        **packing.stated(),
    }
    with open_own(packing.path) as sink:
        write_packing(sink, named, fill, meta, n_lost_runs=sizes["lost_starts"])


def _read(path: Path, name: str, count: int) -> Iterator[Array]:
    with path.open("rb") as file:
        for first in range(0, count, READ_NUMBERS):
            yield np.fromfile(file, DTYPES[name], min(READ_NUMBERS, count - first))


def _add_up(counts: Iterator[Array]) -> Iterator[Array]:
    """Yield where each row's parts begin, and the end of the last."""
    total = np.zeros(1, np.int64)
    yield total
    for block in counts:
        sums = total + np.cumsum(block, dtype=np.int64)
        total = sums[-1:]
        yield sums
