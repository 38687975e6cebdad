"""A plan -> shards with receipts, resumed where it stopped; receipts -> the manifest.

Each shard is the file that `tokenize` would write for its part of the corpus, in the smallest dtype that holds the
vocabulary. A finished shard has a receipt: the plan's hash, the shard's size and sha256, and its figures. A run redoes
only what has no sound receipt.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmprep import __version__
from llmprep.documents import Source
from llmprep.errors import DataError, FileFormatError, InputError, LlmprepError, OutputError, RefusedError
from llmprep.kinds import write_tokens
from llmprep.ptfile import check_output, open_output, read_pt
from llmprep.store.manifest import FORMAT, NAME, Manifest, read_sealed, seal, shard_name
from llmprep.store.plan import Plan
from llmprep.tokens import Effort, TextOptions, stream_text
from llmprep.vocabulary import Vocabulary, rebuild_vocabulary

PLAN = "plan.json"
RECEIPTS = "receipts"
LOCK = ".lock"
ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class ShardJob:
    """All that a worker needs to build one shard, small enough to send anywhere."""

    folder: str
    number: int
    sources: list[Source]
    follows: bool
    options: TextOptions
    encoding: str
    ranks: bytes | None
    backend: str
    dtype: str
    plan_sha256: str
    block_bytes: int


def store_dtype(n_vocab: int) -> str:
    """Return the smallest dtype that holds every id: only readers that know read a store."""
    return "uint16" if n_vocab <= 65_536 else "int32"


def make_jobs(plan: Plan, folder: Path, vocabulary: Vocabulary, options: TextOptions, effort: Effort) -> list[ShardJob]:
    """Return one job for every shard of the plan."""
    embedded = vocabulary.is_embedded
    return [
        ShardJob(
            folder=str(folder),
            number=number,
            sources=[
                replace(plan.sources[piece.source], span=None if piece.end is None else (piece.start, piece.end))
                for piece in pieces
            ],
            follows=(plan.first_source, 0) not in [(piece.source, piece.start) for piece in pieces],
            options=options,
            encoding=vocabulary.name,
            ranks=None if embedded else vocabulary.rank_file(),
            backend=effort.backend,
            dtype=store_dtype(vocabulary.n_vocab),
            plan_sha256=plan.sha256,
            block_bytes=effort.block_bytes,
        )
        for number, pieces in enumerate(plan.shards)
    ]


def build_shard(job: ShardJob) -> dict[str, Any]:
    """Write one shard and its receipt; return the receipt. Runs anywhere, knows nothing of other shards."""
    for source in job.sources:
        if Path(source.path).stat().st_size != source.size:
            raise InputError(f"{source.path}: changed since the store was planned; run again with --restart")
    vocabulary = rebuild_vocabulary(job.encoding, job.ranks)
    effort = Effort(backend=job.backend, block_bytes=job.block_bytes)  # type: ignore[arg-type]
    stream = stream_text(job.sources, vocabulary, job.options, effort, follows=job.follows)
    path = Path(job.folder) / shard_name(job.number)
    with open_output(check_output(str(path), force=True)) as sink:
        hashing = _HashingSink(sink)
        n_bytes = write_tokens(hashing, stream, dtype=job.dtype)
    receipt = {
        "plan_sha256": job.plan_sha256,
        "file": path.name,
        "bytes": n_bytes,
        "sha256": hashing.hexdigest(),
        "tokens": stream.n_tokens,
        "documents": sum(map(begun_documents, job.sources)),
        "special": stream.n_special,
        "pieces": [[s.begin, s.begin + s.n_bytes, s.n_tokens, begun_documents(s)] for s in job.sources],
    }
    _write_sealed(Path(job.folder) / RECEIPTS / f"{job.number:05d}.json", receipt)
    return receipt


def begun_documents(source: Source) -> int:
    """Return how many documents begin in what was read of a source: a later span only goes on with one."""
    return source.n_documents if source.span is None or source.span[0] == 0 else 0


class _HashingSink:
    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()

    def write(self, data: bytes | memoryview, /) -> None:
        self._digest.update(data)
        self._sink.write(data)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    with open_output(check_output(str(path), force=True)) as sink:
        sink.write(seal(values))


# --- the folder -----------------------------------------------------------------------------------


@contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the store's folder; `RefusedError` names who holds it. Several ``--task`` runs share it."""
    try:
        (folder / RECEIPTS).mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+")
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise RefusedError(f"{folder}: is being built by {holder}; wait for it, or stop it") from error
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def prepare(folder: Path, plan: Plan, vocabulary: Vocabulary, *, restart: bool, val_fraction: float | None) -> None:
    """Make the folder that of this plan. Raises `RefusedError` with the differences if it is another's."""
    told = {
        "plan_sha256": plan.sha256,
        "options": plan.options,
        "corpus": [[s.name, s.size, Path(s.path).stat().st_mtime_ns] for s in plan.sources],
        "shards": [[[piece.source, piece.start, piece.end] for piece in pieces] for pieces in plan.shards],
        "n_vocab": vocabulary.n_vocab,
        "val_fraction": val_fraction,
    }
    path = folder / PLAN
    if path.exists() and not restart:
        old = read_plan(folder)
        differences = _differences(old, told)
        if differences:
            raise RefusedError(f"{folder}: was begun differently: {'; '.join(differences[:8])}; --restart starts over")
    if restart:
        for stale in [*folder.glob("tokens-*.pt"), *(folder / RECEIPTS).glob("*.json")]:
            stale.unlink(missing_ok=True)
    (folder / NAME).unlink(missing_ok=True)
    _write_sealed(path, told)


def read_plan(folder: Path) -> dict[str, Any]:
    """Return what `prepare` told a store's folder of its plan."""
    try:
        told: dict[str, Any] = read_sealed(folder / PLAN)
    except FileNotFoundError as error:
        raise FileFormatError(f"{folder}: has no {PLAN}; it is no token store") from error
    except FileFormatError as error:
        raise FileFormatError(f"{error}; build the store with --restart") from error
    return told


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    options = [
        f"{key} was {old['options'].get(key)}, is {new['options'].get(key)}"
        for key in sorted({*old["options"], *new["options"]})
        if old["options"].get(key) != new["options"].get(key)
    ]
    before, now = (_by_name(told["corpus"]) for told in (old, new))
    gone = [f"{name} is gone" for name, nth in before if (name, nth) not in now]
    added = [f"{name} is new" for name, nth in now if (name, nth) not in before]
    changed = [f"{key[0]} has changed" for key in now if key in before and before[key] != now[key]]
    found = [*options, *gone, *added, *changed]
    if not found and old["plan_sha256"] != new["plan_sha256"]:
        found = ["the files come in another order"]
    return found


def _by_name(corpus: Sequence[Sequence[Any]]) -> dict[tuple[str, int], Sequence[Any]]:
    """Size and time of each file by its name and, as several may share one, how many of that name came before."""
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


def sound_receipt(folder: Path, number: int, plan_sha256: str) -> dict[str, Any] | None:
    """Return a shard's receipt if it is of this plan and the shard is what it says, else None."""
    try:
        receipt: dict[str, Any] = read_sealed(folder / RECEIPTS / f"{number:05d}.json")
        path = folder / shard_name(number)
        same = receipt["plan_sha256"] == plan_sha256 and path.stat().st_size == receipt["bytes"]
        return receipt if same and file_sha256(path) == receipt["sha256"] else None
    except (OSError, FileFormatError):
        return None


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- running --------------------------------------------------------------------------------------


def run_jobs(
    jobs: Sequence[ShardJob],
    open_executor: Callable[[], Any],
    in_flight: int,
    done: Callable[[ShardJob, dict[str, Any]], None],
) -> None:
    """Run jobs, a bounded number at a time. A shard whose worker dies is tried once more, alone, then named."""
    waiting = list(jobs)
    suspects: list[ShardJob] = []
    while waiting or suspects:
        alone = not waiting
        batch = [suspects.pop(0)] if alone else waiting
        waiting = []
        died = _run_until_death(batch, open_executor, 1 if alone else in_flight, done)
        if died and alone:
            raise LlmprepError(
                f"shard {batch[0].number}: its worker died twice (killed, or out of memory?); "
                f"the other shards are kept, run the same command again to go on"
            )
        lost, untouched = died or ([], [])
        suspects += lost
        waiting = untouched


def _run_until_death(
    jobs: Sequence[ShardJob],
    open_executor: Callable[[], Any],
    in_flight: int,
    done: Callable[[ShardJob, dict[str, Any]], None],
) -> tuple[list[ShardJob], list[ShardJob]] | None:
    """Run jobs until all are done (None) or a worker dies: (jobs that were under way, jobs not begun)."""
    remaining = list(reversed(jobs))
    running: dict[Future[dict[str, Any]], ShardJob] = {}
    try:
        with open_executor() as executor:
            while remaining or running:
                while remaining and len(running) < in_flight:
                    job = remaining.pop()
                    running[_submit(executor, job)] = job
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    done(running[future], future.result())
                    del running[future]
    except Exception as error:
        if not _is_worker_death(error):
            raise
        return list(running.values()), list(reversed(remaining))
    return None


def _submit(executor: Any, job: ShardJob) -> Future[dict[str, Any]]:
    """Submit a job. Where no worker can be had, it fails; a pool whose worker dies meanwhile may raise OSError."""
    try:
        future: Future[dict[str, Any]] = executor.submit(build_shard, job)
    except (BrokenExecutor, OSError) as error:
        future = Future()
        future.set_exception(BrokenExecutor(str(error)))
    return future


def _is_worker_death(error: Exception) -> bool:
    """Tell a worker or node that is gone from a job's own error; Ray's are known by name, to not import it."""
    gone = ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "RaySystemError")
    return isinstance(error, BrokenExecutor) or any(kind.__name__ in gone for kind in type(error).__mro__)


# --- the manifest ---------------------------------------------------------------------------------


def merge(folder: Path, receipts: Sequence[dict[str, Any]], told: Mapping[str, Any]) -> Manifest:
    """Write the manifest of a store whose shards all have sound receipts; ``told`` is its plan, from `read_plan`."""
    n_tokens = sum(receipt["tokens"] for receipt in receipts)
    if not n_tokens:
        raise DataError(f"{folder}: empty: 0 tokens")
    val_fraction = told.get("val_fraction")
    cut = n_tokens - math.floor(n_tokens * (val_fraction or 0))
    shards = [
        {
            **{key: receipt[key] for key in ("file", "tokens", "documents", "bytes", "sha256")},
            "pieces": [[piece[0], *read] for piece, read in zip(pieces, receipt["pieces"], strict=True)],
        }
        for receipt, pieces in zip(receipts, told["shards"], strict=True)
    ]
    values: dict[str, Any] = {
        "format": FORMAT,
        "llmprep_version": __version__,
        "encoding": told["options"]["encoding"],
        "vocab_sha256": told["options"]["vocab_sha256"],
        "n_vocab": told["n_vocab"],
        "dtype": store_dtype(told["n_vocab"]),
        "options": told["options"],
        "plan_sha256": told["plan_sha256"],
        "n_tokens": n_tokens,
        "n_documents": sum(receipt["documents"] for receipt in receipts),
        "n_special": sum(receipt["special"] for receipt in receipts),
        "content_sha256": content_sha256(folder / receipt["file"] for receipt in receipts),
        "sources": [entry[:2] for entry in told["corpus"]],
        "shards": shards,
        "splits": {} if val_fraction is None else {"train": [0, cut], "val": [cut, n_tokens]},
    }
    _write_sealed(folder / NAME, values)
    return Manifest(values)


def sound_receipts(folder: Path, told: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the sound receipts of a store, by shard number; what lacks one must be built."""
    found = {number: sound_receipt(folder, number, told["plan_sha256"]) for number in range(len(told["shards"]))}
    return {number: receipt for number, receipt in found.items() if receipt is not None}


def finish(folder: Path) -> Manifest:
    """Check all receipts and write the manifest. Raises `FileFormatError` that names the shards still missing."""
    told = read_plan(folder)
    receipts = sound_receipts(folder, told)
    missing = [number for number in range(len(told["shards"])) if number not in receipts]
    if missing:
        shown = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        raise FileFormatError(
            f"{folder}: {len(missing)} of {len(told['shards'])} shards are missing or damaged ({shown}); "
            f"run the command that builds them again"
        )
    return merge(folder, [receipts[number] for number in sorted(receipts)], told)


def content_sha256(paths: Iterable[Path]) -> str:
    """Return the sha256 of the ids of all shards, in order, as little-endian uint32."""
    digest = hashlib.sha256()
    for path in paths:
        ids = read_pt(path, check_crc=False).tensors.get("token_ids")
        if ids is None:
            raise FileFormatError(f"{path}: has no token_ids; it is no shard of a store")
        for start in range(0, len(ids), 1 << 20):
            digest.update(ids[start : start + (1 << 20)].astype("<u4").data)
    return digest.hexdigest()
