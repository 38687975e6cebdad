"""Shards: what must be known to build one, and the building, wherever that is done.

Each shard is the file that `tokenize` would write for its part of the corpus, in the smallest dtype that holds the
vocabulary, without a ``content_sha256``: the manifest has that of the whole stream. Its receipt states the plan's hash,
the shard's size and sha256, its figures, and what the shard was made from, by which it is known whether it would be the
same today.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from llmprep.choices import BackendName, Effort, Special, TextOptions
from llmprep.documents.source import Counts, count_remarks
from llmprep.documents.sources import Sources
from llmprep.errors import InputError, WorkerDiedError
from llmprep.formats.meta import store_dtype
from llmprep.formats.tokens import write_tokens
from llmprep.output.writing import Sink
from llmprep.store.columns import Piece, Pieces, Stamps
from llmprep.store.content import size_and_time, stamp_of
from llmprep.store.executors import Workers
from llmprep.store.folder import receipt_path
from llmprep.store.plan import PlannedCorpus
from llmprep.store.schema import Receipt, shard_name
from llmprep.store.sealed import open_own, write_sealed
from llmprep.tokens.backends import Encoder
from llmprep.tokens.stream import stream_part
from llmprep.vocabulary.packing import pack, unpack
from llmprep.vocabulary.vocabulary import Vocabulary

ATTEMPTS = 2
"""How often a shard is tried whose worker dies."""


@dataclass(frozen=True, slots=True)
class ShardJob:
    """All that a worker needs to build one shard, small enough to send anywhere.

    ``stamps`` are of its sources, as planned. ``packed`` is the vocabulary.
    """

    cwd: str | None
    folder: str
    number: int
    sources: Sources
    stamps: Stamps
    recipe: list[Any]
    continues: bool
    options: TextOptions
    effort: Effort
    packed: bytes
    expected_bytes: int
    dtype: str
    plan_sha256: str


@dataclass(frozen=True, slots=True)
class BuiltShard:
    """The receipt of a shard that a worker has built, without content, and remarks as `count_remarks` has them."""

    receipt: Receipt
    remarks: dict[str, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Jobs:
    """What the jobs of all shards of a plan share; each is made when it is asked for."""

    planned: PlannedCorpus
    cwd: str | None
    folder: str
    vocabulary: Vocabulary
    packed: bytes
    options: TextOptions
    effort: Effort
    expected_bytes: int

    def __len__(self) -> int:
        return len(self.planned.plan.shards)

    def __iter__(self) -> Iterator[ShardJob]:
        return map(self.__getitem__, range(len(self)))

    def text_bytes(self, number: int) -> int:
        """Return the bytes of a shard's sources, or of its spans of them."""
        return self.planned.parts(number).n_bytes

    def __getitem__(self, number: int) -> ShardJob:
        plan, vocabulary = self.planned.plan, self.vocabulary
        first, count, *_ = plan.shards.rows[number].tolist()
        return ShardJob(
            cwd=self.cwd,
            folder=self.folder,
            number=number,
            sources=self.planned.parts(number),
            stamps=plan.stamps.part(first, first + count),
            recipe=self.planned.recipe(number),
            continues=self.planned.continues(number),
            options=self.options,
            effort=replace(self.effort, jobs=1),
            packed=self.packed,
            expected_bytes=self.expected_bytes,
            dtype=store_dtype(vocabulary.n_vocab),
            plan_sha256=plan.sha256,
        )


def make_jobs(
    planned: PlannedCorpus, folder: Path, vocabulary: Vocabulary, options: TextOptions, effort: Effort
) -> Jobs:
    """Return one job for every shard of the plan; ``effort.jobs`` processes share them."""
    expected_bytes = int(planned.plan.stamps.sizes.sum()) // effort.jobs
    return Jobs(planned, current_folder(), str(folder), vocabulary, pack(vocabulary), options, effort, expected_bytes)


def current_folder() -> str | None:
    """The folder that relative paths start from, None if it was deleted."""
    try:
        return os.getcwd()  # noqa: PTH109 - a str that travels
    except FileNotFoundError:
        return None


# --- in a worker ----------------------------------------------------------------------------------


def build_shard(job: ShardJob) -> BuiltShard:
    """Write one shard and its receipt. Runs anywhere, and knows nothing of other shards.

    Raises `InputError` for a source that has changed since it was planned.
    """
    enter_folder(job.cwd)
    stamps = _as_planned(job.sources, job.stamps)
    encoder = _make_encoder(job.packed, job.options.special, job.effort.backend, job.expected_bytes)
    stream = stream_part(job.sources, job.options, job.effort, encoder, continues=job.continues)
    path = Path(job.folder) / shard_name(job.number)
    with open_own(path) as sink:
        hashing = _HashingSink(sink)
        n_bytes = write_tokens(hashing, stream, dtype=job.dtype, is_shard=True)
    counts = stream.figures.counts
    receipt = Receipt(
        plan_sha256=job.plan_sha256,
        file=path.name,
        bytes=n_bytes,
        sha256=hashing.hexdigest(),
        tokens=stream.figures.n_tokens,
        documents=len(stream.figures.starts or ()),
        special=stream.figures.n_special,
        boms=sum(each.bom for each in counts),
        recipe=job.recipe,
        stamps=stamps,
        hashes=np.frombuffer(bytes.fromhex("".join(each.sha256 for each in counts)), np.uint8).reshape(-1, 32),
        pieces=Pieces.of([piece_of(number, each) for number, each in enumerate(counts)]),
        n_empty=sum(each.n_empty for each in counts),
    )
    write_sealed(receipt_path(Path(job.folder), job.number), receipt.to_json())
    return BuiltShard(receipt.without_content(), count_remarks(counts))


def enter_folder(cwd: str | None) -> None:
    """Go to the folder that paths are relative to. Raises `InputError` where there is none of that name."""
    if cwd is not None and cwd != current_folder():
        try:
            os.chdir(cwd)  # a worker elsewhere: it runs nothing else
        except OSError as error:
            raise InputError(
                f"{cwd}: {error.strerror} on {socket.gethostname()}; all nodes need the same file system"
            ) from error


def _as_planned(sources: Sources, planned: Stamps) -> Stamps:
    """Return the stamps of sources here, where their times may be others. Raises `InputError` if more is."""
    times = planned.times.copy()
    found = zip(map(size_and_time, sources.paths), planned.sizes.tolist(), planned.times.tolist(), strict=True)
    for number, ((size, time), planned_size, planned_time) in enumerate(found):
        if (size, time) == (planned_size, planned_time):
            continue
        stamp = stamp_of(sources.paths[number], sources.sizes[number])
        if stamp != planned[number]._replace(mtime_ns=stamp.mtime_ns):
            path = sources.paths[number]
            raise InputError(f"{path}: changed since the store was planned; run the same command again")
        times[number] = stamp.mtime_ns
    return replace(planned, times=times)


@lru_cache(maxsize=1)
def _make_encoder(packed: bytes, special: Special, backend: BackendName, expected: int) -> Encoder:
    """A process that builds many shards makes its tokenizers once; they also remember the words they have seen."""
    return Encoder(unpack("the vocabulary", packed), special, backend, expected)


def begun_documents(counts: Counts) -> int:
    """Return how many documents begin in what was read of a source: a later span of a text only goes on with one."""
    source = counts.source
    goes_on = source.format == "text" and source.span is not None and source.span[0] > 0
    return 0 if goes_on else counts.n_documents


def piece_of(number: int, counts: Counts) -> Piece:
    """Return what a receipt states of a source: where it was read, and what it gave."""
    end = counts.begin + counts.n_bytes
    gaps = () if counts.gaps == [] else counts.gaps
    return Piece(number, counts.begin, end, counts.n_tokens, begun_documents(counts), counts.n_text, gaps)


class _HashingSink:
    """Passes bytes on, and hashes them."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()

    def write(self, data: bytes | memoryview, /) -> None:
        self._digest.update(data)
        self._sink.write(data)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


# --- in the calling process -----------------------------------------------------------------------


def run_jobs(jobs: Iterable[ShardJob], workers: Workers, done: Callable[[ShardJob, BuiltShard], None]) -> None:
    """Run jobs, two for each worker at a time: one that it does, one that it goes on with.

    ``done`` is called with each shard. One whose worker dies is tried once more; if that one dies too,
    `WorkerDiedError` names the shard. The first error ends the run; what is finished is kept.
    """
    waiting, again = iter(jobs), deque[ShardJob]()
    deaths: Counter[int] = Counter()
    running: dict[Future[BuiltShard], ShardJob] = {}
    while True:
        while len(running) < 2 * workers.slots and not any(future.done() for future in running):
            next_job = next(waiting, None) or (again.popleft() if again else None)
            if next_job is None:
                break
            running[workers.submit(build_shard, next_job)] = next_job
        if not running:
            return
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
            again.append(job)
