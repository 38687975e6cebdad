"""Texts -> a token store: its plan, then its shards, built by whatever workers there are, then its manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmprep.choices import Building, Reading, Sharding
from llmprep.documents.finding import PathName, path_names
from llmprep.documents.leaving_out import find_listed
from llmprep.errors import UsageError
from llmprep.store.executors import InProcess, Workers
from llmprep.store.folder import MANIFEST, PLAN, check_folder, clear_temporaries
from llmprep.store.plan import LEAST_SHARD, plan_corpus
from llmprep.tokens.memory import is_memory_limited
from llmprep.vocabulary.loading import announce_by_warning, load_vocabulary

if TYPE_CHECKING:
    from llmprep.documents.sources import Sources
    from llmprep.store.lock import Hold
    from llmprep.store.receipts import Receipts
    from llmprep.store.schema import Manifest
    from llmprep.store.shards import BuiltShard, Jobs, ShardJob

SHARDS = "llmprep.store.shards"
"""The module that workers need, which imports most of the package: they import it while the caller goes on."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come: bytes of text done, and to be done by it, tokens made, and the shard just finished.

    ``file`` is empty in the first one, which comes before any shard.
    """

    n_bytes: int
    total_bytes: int
    n_tokens: int
    file: str = ""


@dataclass(frozen=True, slots=True)
class BuiltStore:
    """What a run has done: all ``n_shards`` and the manifest, or a task's share, ``n_done``, and no manifest."""

    folder: Path
    n_done: int
    n_shards: int
    manifest: Manifest | None


def build_store(
    paths: PathName | Sequence[PathName],
    folder: PathName,
    reading: Reading | None = None,
    sharding: Sharding | None = None,
    building: Building | None = None,
    watch: Callable[[Progress], None] | None = None,
) -> BuiltStore:
    """Encode texts into a token store, as ``llmprep tokenize PATHS -o FOLDER/`` does; what is done already is kept.

    ``paths`` are files, folders and patterns; ``folder`` is made if it is missing. ``watch`` is called before the first
    shard and after each. Of ``reading.effort``, ``jobs`` does not apply: `Building` says who builds.

    Raises `UsageError` for what is out of range or is no text, `RefusedError` for a folder that another run holds or
    that was begun differently, and otherwise as reading and writing do; what is finished then is kept.
    """
    reading, sharding, building = reading or Reading(), sharding or Sharding(), building or Building()
    check_choices(sharding, building)
    names = path_names(paths)
    sources = find_listed(names, reading, look=reading.on_bad == "skip")
    folder = check_folder(folder, names, sources)
    reading, building = _fit(sources, reading, building)
    run = _Run(folder, sources, reading, sharding, building, watch or (lambda _: None))
    with _open_workers(run) as workers:  # they start while the rest is imported
        return _build(run, workers)


def check_choices(sharding: Sharding, building: Building) -> None:
    """Raise `UsageError` for values that are out of range, or do not go together, before anything is read."""
    n_bytes, fraction = sharding.shard_bytes, sharding.val_fraction
    if n_bytes is not None and n_bytes < 1:
        raise UsageError(f"--shard-bytes {n_bytes}: must be at least 1")
    if fraction is not None and not 0 < fraction < 1:
        raise UsageError(f"--val-fraction {fraction}: must be larger than 0 and smaller than 1")
    _check_building(building)


def _check_building(building: Building) -> None:
    if building.jobs < 1:
        raise UsageError(f"--jobs {building.jobs}: must be at least 1")
    if building.executor not in ("local", "ray"):
        raise UsageError(f"--executor {building.executor}: must be local or ray")
    if building.address and building.executor != "ray":
        raise UsageError("--address: is only used with --executor ray")
    if building.executor == "ray":
        from llmprep.store.ray_cluster import require_ray

        require_ray()
    if building.task is None:
        return
    number, count = building.task
    if not 1 <= number <= count:
        raise UsageError(f"--task {number}/{count}: must be i/N with i from 1 to N, as 3/7")
    if building.restart:
        raise UsageError("--restart: not with --task, as tasks would remove each other's shards; remove the folder")


def _fit(sources: Sources, reading: Reading, building: Building) -> tuple[Reading, Building]:
    """Return how to read and build within ``reading.effort.memory``, which is for all processes together."""
    if reading.effort.memory is None:
        return reading, building
    if building.executor == "ray":
        raise UsageError(
            "--memory: limits this machine only, and --executor ray builds on others; set the limit in Ray"
        )
    from llmprep.tokens.projection import fit_effort

    vocabulary = load_vocabulary(reading.for_text().encoding, reading.vocab_dir, reading.announce)
    effort = fit_effort(sources, vocabulary, replace(reading.effort, jobs=building.jobs), processes=True)
    return replace(reading, effort=effort), replace(building, jobs=effort.jobs)


@dataclass(frozen=True, slots=True)
class _Run:
    """What one call of `build_store` is to do."""

    folder: Path
    sources: Sources
    reading: Reading
    sharding: Sharding
    building: Building
    watch: Callable[[Progress], None]

    def announce(self, text: str) -> None:
        """Pass on what a person should know."""
        if self.reading.announce is not None:
            self.reading.announce(text)


@contextmanager
def _open_workers(run: _Run) -> Iterator[Workers]:
    """Open what builds shards. Processes start at once, no more than there can be shards for."""
    n_bytes = run.sources.n_bytes
    n_workers = min(run.building.jobs, -(-n_bytes // (run.sharding.shard_bytes or LEAST_SHARD)))
    if run.building.executor == "ray":
        from llmprep.store.ray_cluster import ray_cluster

        with ray_cluster(run.building.address, run.announce) as workers:
            yield workers
    elif n_workers <= 1 or not _may_have_processes():
        yield InProcess()
    else:
        from llmprep.store.processes import local_processes

        with local_processes(n_workers, SHARDS) as workers:
            yield workers


def _may_have_processes() -> bool:
    """Processes need a current folder to start in, and each of them more address space than a limit leaves."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return not is_memory_limited()


def _build(run: _Run, workers: Workers) -> BuiltStore:
    """Build a token store, or one task's share of it."""
    from llmprep.store.carrying import carry
    from llmprep.store.lock import locked
    from llmprep.store.manifest import read_plan
    from llmprep.store.merge import ShardsHash, write_manifest
    from llmprep.store.prepare import prepare, require_same
    from llmprep.store.sealed import states
    from llmprep.store.shards import make_jobs
    from llmprep.store.unfinished import note_tasks
    from llmprep.store.vetting import vet
    from llmprep.tokens.content import open_pool
    from llmprep.tokens.cutting import cuts_of

    chosen, folder, task = run.reading.for_text(), run.folder, run.building.task
    vocabulary = load_vocabulary(chosen.encoding, run.reading.vocab_dir, run.reading.announce or announce_by_warning)
    sources = vet(run.sources, None if run.building.restart else folder, run.reading, workers, cuts_of(vocabulary))
    planned = plan_corpus(sources, vocabulary, chosen.options, run.sharding, run.reading.on_bad or "stop")
    effort = replace(chosen.effort, jobs=run.building.jobs * (task[1] if task else 1))
    jobs = make_jobs(planned, folder, vocabulary, chosen.options, effort)
    with locked(folder, shared=task is not None, announce=run.announce) as hold:
        prepare(folder, planned, restart=run.building.restart, hold=hold, announce=run.announce)
        carry(folder, vocabulary)
        if task is not None:
            hold.share()
            if not (folder / MANIFEST).exists():
                note_tasks(folder, task[1])
            mine = range(len(jobs))[task[0] - 1 :: task[1]]
            _build_missing(run, jobs, mine, workers, hold, lambda *_: None)
            if not states(folder / PLAN, planned.plan.to_json()):  # another that began meanwhile may differ
                require_same(folder, read_plan(folder), planned.plan, hold)
            return BuiltStore(folder, len(mine), len(jobs), None)
        clear_temporaries(folder)
        with open_pool(run.building.jobs) as pool:
            content = ShardsHash(folder, pool)
            receipts = _build_missing(run, jobs, range(len(jobs)), workers, hold, content.add)
            manifest = write_manifest(folder, planned.plan, receipts, content.hexdigest())
        return BuiltStore(folder, len(jobs), len(jobs), manifest)


def _build_missing(
    run: _Run, jobs: Jobs, numbers: Sequence[int], workers: Workers, hold: Hold, finished: Callable[[int, int], None]
) -> Receipts:
    """Build the shards of these numbers that have no sound receipt; return the receipts of all.

    ``finished`` is called with number and tokens of each, done before or now.
    """
    from llmprep.store.receipts import done_receipts
    from llmprep.store.shards import run_jobs

    receipts = done_receipts(run.folder, jobs, numbers, run.building.jobs, hold=hold, announce=run.announce)
    for number, receipt in receipts.items():
        finished(number, receipt.tokens)
    if receipts:
        run.announce(f"{run.folder}: {len(receipts)} of {len(numbers)} shards are done already")
    missing = [number for number in numbers if number not in receipts]
    progress = Progress(0, sum(jobs.text_bytes(number) for number in missing), 0)
    remarks: dict[str, tuple[str, int]] = {}

    def done(job: ShardJob, built: BuiltShard) -> None:
        nonlocal progress
        receipt = receipts[job.number] = built.receipt
        finished(job.number, receipt.tokens)
        n_bytes, n_tokens = progress.n_bytes + job.sources.n_bytes, progress.n_tokens + receipt.tokens
        progress = Progress(n_bytes, progress.total_bytes, n_tokens, receipt.file)
        run.watch(progress)
        _add_remarks(remarks, built.remarks)

    run.watch(progress)
    run_jobs((jobs[number] for number in missing), workers, done)
    for remark, (name, count) in sorted(remarks.items()):
        run.announce(f"{name}{f' (and {count - 1} more)' if count > 1 else ''}: {remark}")
    return receipts


def _add_remarks(remarks: dict[str, tuple[str, int]], more: Mapping[str, tuple[str, int]]) -> None:
    """Add a shard's remarks to those of others: of each the first source that it is true of, and of how many it is."""
    for remark, (name, count) in more.items():
        first, before = remarks.get(remark, (name, 0))
        remarks[remark] = min(first, name), before + count
