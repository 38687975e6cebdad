"""Shards: what must be known to build one, and the building, wherever that is done.

Each shard is the file that `tokenize` would write for its part of the corpus, in the smallest dtype that holds the
vocabulary. Its receipt states the plan's hash, the shard's size and sha256, its figures, and what the shard was made
from, by which it is known whether it would be the same today.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from llmprep.choices import BackendName, Effort, Special, TextOptions
from llmprep.documents.source import Counts, Source, count_remarks
from llmprep.errors import InputError, WorkerDiedError
from llmprep.formats.tokens import write_tokens
from llmprep.store.content import Stamp, sample, size_and_time
from llmprep.store.executors import Workers
from llmprep.store.folder import open_own, receipt_path, write_sealed
from llmprep.store.plan import Plan, part_of
from llmprep.store.schema import shard_name, store_dtype
from llmprep.tokens.backends import Encoder
from llmprep.tokens.stream import stream_text
from llmprep.vocabulary.loading import Vocabulary, rebuild_vocabulary

ATTEMPTS = 2
"""How often a shard is tried whose worker dies."""


@dataclass(frozen=True, slots=True)
class ShardJob:
    """All that a worker needs to build one shard, small enough to send anywhere."""

    cwd: str | None
    folder: str
    number: int
    sources: list[Source]
    stamps: list[Stamp]
    recipe: list[Any]
    continues: bool
    options: TextOptions
    encoding: str
    ranks: bytes | None
    backend: BackendName
    corpus_bytes: int
    dtype: str
    plan_sha256: str
    block_bytes: int


def make_jobs(plan: Plan, folder: Path, vocabulary: Vocabulary, options: TextOptions, effort: Effort) -> list[ShardJob]:
    """Return one job for every shard of the plan."""
    ranks = None if vocabulary.is_embedded else vocabulary.rank_file
    return [
        ShardJob(
            cwd=_current_folder(),
            folder=str(folder),
            number=number,
            sources=[part_of(plan.sources, piece) for piece in pieces],
            stamps=[plan.stamps[piece.source] for piece in pieces],
            recipe=plan.recipe(number),
            continues=plan.continues(number),
            options=options,
            encoding=vocabulary.name,
            ranks=ranks,
            backend=effort.backend,
            corpus_bytes=sum(stamp.size for stamp in plan.stamps),
            dtype=store_dtype(vocabulary.n_vocab),
            plan_sha256=plan.sha256,
            block_bytes=effort.block_bytes,
        )
        for number, pieces in enumerate(plan.shards)
    ]


def _current_folder() -> str | None:
    """The folder that relative paths start from, None if it was deleted."""
    try:
        return os.getcwd()  # noqa: PTH109 - a str that travels
    except FileNotFoundError:
        return None


def build_shard(job: ShardJob) -> dict[str, Any]:
    """Write one shard and its receipt; return the receipt, and remarks on its sources as `count_remarks` has them.

    Runs anywhere, knows nothing of other shards.
    """
    if job.cwd is not None and job.cwd != _current_folder():
        try:
            os.chdir(job.cwd)  # a worker elsewhere: it runs nothing else
        except OSError as error:
            raise InputError(
                f"{job.cwd}: {error.strerror} on {socket.gethostname()}; all nodes need the same file system"
            ) from error
    stamps = [_as_planned(source, planned) for source, planned in zip(job.sources, job.stamps, strict=True)]
    encoder = _make_encoder(job.encoding, job.ranks, job.options.special, job.backend, job.corpus_bytes)
    effort = Effort(job.backend, block_bytes=job.block_bytes)
    stream = stream_text(job.sources, encoder.vocabulary, job.options, effort, encoder, continues=job.continues)
    counts = stream.figures.counts
    path = Path(job.folder) / shard_name(job.number)
    with open_own(path) as sink:
        hashing = _HashingSink(sink)
        n_bytes = write_tokens(hashing, stream, dtype=job.dtype)
    receipt = {
        "plan_sha256": job.plan_sha256,
        "file": path.name,
        "bytes": n_bytes,
        "sha256": hashing.hexdigest(),
        "tokens": stream.figures.n_tokens,
        "documents": sum(map(begun_documents, counts)),
        "special": stream.figures.n_special,
        "boms": sum(each.bom for each in counts),
        "recipe": job.recipe,
        "content": [[*stamp, each.sha256] for stamp, each in zip(stamps, counts, strict=True)],
        "pieces": [_figures(each) for each in counts],
    }
    n_empty = sum(each.n_empty for each in counts)
    if n_empty:
        receipt["empty"] = n_empty
    write_sealed(receipt_path(Path(job.folder), job.number), receipt)
    return receipt | {"remarks": count_remarks(counts)}


def _as_planned(source: Source, planned: Stamp) -> Stamp:
    """Return the stamp of a source here, where its time may be another. Raises `InputError` if more is."""
    size, time = size_and_time(source)
    if (size, time) == planned[:2]:
        return planned
    found = Stamp(size, time, sample(source))
    if (found.size, found.sample) != (planned.size, planned.sample):
        raise InputError(f"{source.path}: changed since the store was planned; run the same command again")
    return found


@lru_cache(maxsize=1)
def _make_encoder(encoding: str, ranks: bytes | None, special: Special, backend: BackendName, expected: int) -> Encoder:
    """A process that builds many shards makes its tokenizers once; they also remember the words they have seen."""
    return Encoder(rebuild_vocabulary(encoding, ranks), special, backend, expected)


def begun_documents(counts: Counts) -> int:
    """Return how many documents begin in what was read of a source: a later span of a text only goes on with one."""
    source = counts.source
    goes_on = source.format == "text" and source.span is not None and source.span[0] > 0
    return 0 if goes_on else counts.n_documents


def _figures(counts: Counts) -> list[Any]:
    """What a receipt says of a piece: where it lies in its source, what came of it, and the numbers that it skips."""
    end = counts.begin + counts.n_bytes
    gaps = [] if counts.gaps == [] else [counts.gaps]
    return [counts.begin, end, counts.n_tokens, begun_documents(counts), counts.n_text, *gaps]


class _HashingSink:
    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()

    def write(self, data: bytes | memoryview, /) -> None:
        self._digest.update(data)
        self._sink.write(data)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def run_jobs(jobs: Sequence[ShardJob], workers: Workers, done: Callable[[ShardJob, dict[str, Any]], None]) -> None:
    """Run jobs, two for each worker at a time: one that it does, one that it goes on with.

    ``done`` is told of each shard. One whose worker dies is tried once more; if that dies too, `WorkerDiedError` names
    it. The first error ends the run; what is finished is kept.
    """
    waiting = deque(jobs)
    deaths: Counter[int] = Counter()
    running: dict[Future[dict[str, Any]], ShardJob] = {}
    while waiting or running:
        while waiting and len(running) < 2 * workers.slots and not any(future.done() for future in running):
            job = waiting.popleft()
            running[workers.submit(build_shard, job)] = job
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job = running.pop(future)
            error = future.exception()
            if not isinstance(error, WorkerDiedError):
                done(job, future.result())
                continue
            deaths[job.number] += 1
            if deaths[job.number] == ATTEMPTS:
                raise WorkerDiedError(
                    f"shard {job.number}: its worker died twice (killed, or out of memory?); the other shards are "
                    f"kept: run the same command again to go on"
                ) from error
            waiting.append(job)
