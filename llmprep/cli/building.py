"""`tokenize CORPUS -o FOLDER/` and `merge`: building a token store."""

from __future__ import annotations

import os
import re
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmprep.errors import OutputError, UsageError, shorten
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.cli.printer import Show
    from llmprep.documents.source import Source
    from llmprep.inputs import Reading
    from llmprep.store.build import ShardJob
    from llmprep.store.executors import Workers
    from llmprep.store.lock import Hold
    from llmprep.store.manifest import Manifest
    from llmprep.store.receipts import Receipts


@dataclass(frozen=True, slots=True)
class StoreChoices:
    """The options of `tokenize` that make a store, and where its shards are built."""

    shard_bytes: int | None = None
    shard_tokens: int | None = None
    jobs: int = 1
    executor: str = "local"
    address: str | None = None
    task: str | None = None
    restart: bool = False
    val_fraction: float | None = None

    def wants_store(self, output: str | None) -> bool:
        """Tell whether a store is meant: a folder as output, or a size of shards."""
        sized = self.shard_bytes is not None or self.shard_tokens is not None
        folder = output is not None and (output.endswith("/") or Path(output, "plan.json").is_file())
        chosen = [
            name
            for name, given in (
                ("--executor", self.executor != "local"),
                ("--task", self.task is not None),
                ("--restart", self.restart),
                ("--val-fraction", self.val_fraction is not None),
                ("--address", self.address is not None),
            )
            if given
        ]
        if chosen and not (sized or folder):
            raise UsageError(f"{', '.join(chosen)}: for a token store; name a folder with -o FOLDER/")
        if not (sized or folder) and output is not None and Path(output).is_dir():
            raise UsageError(f"{output}: is a folder; name a file in it, or {output}/ for a token store")
        return sized or folder

    @property
    def bytes_per_shard(self) -> int | None:
        """Text per shard, None if it was not chosen."""
        from llmprep.store.plan import BYTES_PER_TOKEN

        return self.shard_tokens * BYTES_PER_TOKEN if self.shard_tokens else self.shard_bytes

    def check(self, *, dtype: str | None = None, force: bool = False) -> None:
        """Check what can be checked before anything is read; ``dtype`` and ``force`` are for a file."""
        if dtype is not None:
            raise UsageError("--dtype: a token store has the smallest that fits its vocabulary; leave it out")
        if force:
            raise UsageError("--force: a token store is not replaced; --restart starts a begun one over")
        if self.shard_bytes is not None and self.shard_tokens is not None:
            raise UsageError("--shard-bytes and --shard-tokens: choose one")
        if self.val_fraction is not None and not 0 < self.val_fraction < 1:
            raise UsageError(f"--val-fraction {self.val_fraction}: must be larger than 0 and smaller than 1")
        if self.address and self.executor != "ray":
            raise UsageError("--address: goes with --executor ray")
        if self.executor == "ray":
            from llmprep.store.ray_cluster import require_ray

            require_ray()
        if self.share is not None and self.restart:
            raise UsageError("--restart: not with --task, as tasks would remove each other's shards; remove the folder")

    @property
    def share(self) -> tuple[int, int] | None:
        """(i, N) of a task. Raises `UsageError` if it is not that."""
        if self.task is None:
            return None
        found = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", self.task)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"--task {self.task}: must be i/N with i from 1 to N, as 3/7")
        return int(found[1]), int(found[2])


def make_store(
    show: Show, folder: Path, sources: list[Source], choices: StoreChoices, read: Callable[[], Reading]
) -> None:
    """Build a token store, or a task's share of it, and say so."""
    with _open_workers(show, choices, sources) as workers:  # they start while ``read`` imports the rest
        built = _build_store(_Site(show, folder, workers, choices.jobs), sources, read(), choices)
    _show_built(show, folder, built, choices)


@contextmanager
def _open_workers(show: Show, choices: StoreChoices, sources: list[Source]) -> Iterator[Workers]:
    """Open what builds shards. Processes start at once, no more than there can be shards for."""
    from llmprep.store import executors, processes, ray_cluster
    from llmprep.store.plan import LEAST_SHARD

    n_bytes = sum(source.size or 0 for source in sources)
    n_workers = min(choices.jobs, -(-n_bytes // (choices.bytes_per_shard or LEAST_SHARD)))
    if choices.executor == "ray":
        with redirect_stdout(sys.stderr), ray_cluster.ray_cluster(choices.address, show.note) as workers:
            yield workers  # what Ray says of nodes and workers is no result
    elif n_workers <= 1 or not _may_have_processes():
        yield executors.InProcess()
    else:
        with processes.local_processes(n_workers, "llmprep.store.build") as workers:
            yield workers


def _may_have_processes() -> bool:
    """Processes need a current folder to start in, and each of them more address space than a limit leaves."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


@dataclass(frozen=True, slots=True)
class _Built:
    """What a run has done: all shards and the manifest, or a task's share."""

    n_done: int
    n_shards: int
    manifest: Manifest | None


@dataclass(frozen=True, slots=True)
class _Site:
    """Where a store is built, by whom, and who is told of it."""

    show: Show
    folder: Path
    workers: Workers
    n_threads: int


def _build_store(site: _Site, sources: list[Source], reading: Reading, choices: StoreChoices) -> _Built:
    """Build a token store, or one task's share of it."""
    from llmprep.choices import Effort, TextOptions
    from llmprep.store.build import make_jobs
    from llmprep.store.folder import clear_temporaries, read_plan
    from llmprep.store.lock import locked
    from llmprep.store.merge import ContentHash, write_manifest
    from llmprep.store.plan import make_plan
    from llmprep.store.prepare import prepare, require_same
    from llmprep.vocabulary.loading import load_vocabulary

    folder, task = site.folder, choices.share
    effort, options = reading.effort or Effort(), reading.options or TextOptions()
    vocabulary = load_vocabulary(reading.encoding or "gpt2", reading.vocab_dir, reading.announce)
    plan = make_plan(sources, vocabulary, options, choices.bytes_per_shard)
    jobs = make_jobs(plan, folder, vocabulary, options, effort)
    with locked(folder, shared=task is not None, announce=site.show.note) as hold:
        told = prepare(
            folder, plan, vocabulary,
            restart=choices.restart, val_fraction=choices.val_fraction, hold=hold, announce=site.show.note,
        )  # fmt: skip
        if task is not None:
            hold.share()
            mine = jobs[task[0] - 1 :: task[1]]
            _build_missing(site, mine, hold, lambda *_: None)
            require_same(folder, read_plan(folder), told, hold)  # another that began at the same time may differ
            return _Built(len(mine), len(jobs), None)
        clear_temporaries(folder)
        content = ContentHash(folder)
        receipts = _build_missing(site, jobs, hold, content.add)
        return _Built(len(jobs), len(jobs), write_manifest(folder, told, receipts, content.hexdigest()))


def _build_missing(site: _Site, jobs: list[ShardJob], hold: Hold, finished: Callable[[int, int], None]) -> Receipts:
    """Build the shards without a sound receipt; return the receipts of all, telling number and tokens of each."""
    from llmprep.cli.notes import say_remarks
    from llmprep.cli.progress import shard_bar
    from llmprep.store.build import run_jobs
    from llmprep.store.receipts import done_receipts

    receipts = done_receipts(site.folder, jobs, site.n_threads, hold=hold, announce=site.show.note)
    for number, receipt in receipts.items():
        finished(number, receipt["tokens"])
    if receipts:
        site.show.note(f"{site.folder}: {len(receipts)} of {len(jobs)} shards are done already")
    missing = [job for job in jobs if job.number not in receipts]
    with shard_bar(sum(map(_job_bytes, missing)), quiet=site.show.quiet) as advance:

        def done(job: ShardJob, receipt: dict[str, Any]) -> None:
            receipts[job.number] = receipt
            finished(job.number, receipt["tokens"])
            advance(_job_bytes(job), receipt["tokens"], receipt["file"])
            for remark, (name, count) in receipt.pop("remarks").items():
                first, before = remarks.get(remark, (name, 0))
                remarks[remark] = min(first, name), before + count

        remarks: dict[str, tuple[str, int]] = {}
        run_jobs(missing, site.workers, done)
    say_remarks(site.show, dict(sorted(remarks.items())))
    return receipts


def check_folder(output: str | None, paths: list[str], sources: list[Source]) -> Path:
    """Return the folder of a store, which must be new, empty or a store's, and neither hold an input nor lie in one."""
    if output is None or output == "-":
        raise UsageError("--shard-bytes, --shard-tokens: name the store's folder with -o FOLDER/")
    from llmprep.store.manifest import is_store
    from llmprep.store.own import require_own

    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{output}: is a file; a token store is a folder")
    if folder.is_symlink() and not folder.exists():
        raise OutputError(f"{output}: is a link to nothing; make the folder that it leads to")
    if folder.is_dir() and not (folder / "plan.json").exists() and not is_store(folder):
        names = sorted(path.name for path in folder.iterdir())
        foreign = [
            name for name in names if name not in ("receipts", ".lock") and not name.startswith((".lock-", ".llmprep-"))
        ]
        if foreign:
            raise OutputError(f"{output}: has other things in it ({foreign[0]}, ...); name a new folder")
    if folder.is_dir():
        require_own(folder)
    _refuse_own(folder, paths, sources)
    return folder


def _refuse_own(folder: Path, paths: list[str], sources: list[Source]) -> None:
    """Refuse inputs that are a store, hold the folder, or lie in it, as those that a pattern finds in a second run."""
    from llmprep.store.manifest import is_store

    for path in paths:
        if is_store(path):
            raise UsageError(f"{path}: is a token store; its tokens are made already")
        if Path(path).is_dir() and folder.resolve().is_relative_to(Path(path).resolve()):
            raise UsageError(f"{folder}: lies inside the input {path}; name a folder elsewhere")
    own = os.path.join(os.path.abspath(folder), "")  # noqa: PTH100, PTH118 - there may be many
    for source in sources:
        if os.path.abspath(source.path).startswith(own):  # noqa: PTH100
            raise UsageError(f"{source.path}: lies inside the store's folder {folder}; name a folder elsewhere")


def _job_bytes(job: ShardJob) -> int:
    return sum(source.size or 0 if source.span is None else source.span[1] - source.span[0] for source in job.sources)


def merge_store(show: Show, name: str, n_threads: int) -> None:
    """Check the shards of a store that tasks have built, and write its manifest."""
    from llmprep.store.folder import clear_temporaries, read_plan
    from llmprep.store.lock import locked
    from llmprep.store.merge import merge
    from llmprep.store.own import require_own

    folder = Path(name)
    if folder.is_dir():
        require_own(folder)
    read_plan(folder)  # what is no store is left alone
    with locked(folder, announce=show.note):
        clear_temporaries(folder)
        manifest = merge(folder, n_threads)
    _show_store(show, folder, manifest)


def _show_built(show: Show, folder: Path, built: _Built, choices: StoreChoices) -> None:
    """Say what a run has built."""
    if built.manifest is not None:
        _show_store(show, folder, built.manifest)
        return
    share = {"n_done": built.n_done, "n_shards": built.n_shards}
    show.object({"command": "tokenize", "output": str(folder), "task": choices.task, **share})
    done = f"{built.n_done} of {plain.plural(built.n_shards, 'shard')}, task {choices.task}"
    show.lines([f"{plain.visible(str(folder))}: {done}; when all tasks are done: llmprep merge"])


def _show_store(show: Show, folder: Path, manifest: Manifest) -> None:
    """Say what a finished store holds."""
    from llmprep.cli.notes import say_empty_records

    values = manifest.values
    empty = [values["sources"][number][0] for number in values["empty"]]
    if empty:
        names = ", ".join(shorten(name, 200) for name in empty[:5]) + (", ..." if len(empty) > 5 else "")
        show.note(f"{plain.plural(len(empty), 'empty input')} skipped: {names}")
    say_empty_records(show, values.get("n_empty", 0))
    if values["n_boms"]:
        show.note(f"{plain.plural(values['n_boms'], 'input')} began with a byte order mark, which was dropped")
    for split, (first, behind) in values["splits"].items():
        if first == behind:
            tokens = plain.plural(values["n_tokens"], "token")
            show.note(f"split {split} is empty: --val-fraction of {tokens} is less than one")
    kept: dict[str, Any] = {
        key: values[key] for key in ("n_tokens", "n_documents", "n_special", "encoding", "dtype", "content_sha256")
    }
    show.object({"command": "tokenize", "output": str(folder), "n_shards": len(manifest.shards), **kept})
    documents = plain.plural(values["n_documents"], "document")
    n_bytes = sum(shard["bytes"] for shard in manifest.shards)
    size = f"{plain.plural(len(manifest.shards), 'shard')}, {values['dtype']}, {plain.size(n_bytes)}"
    show.lines(
        [
            f"{plain.plural(values['n_tokens'], 'token')} ({values['encoding']}) of {documents}",
            f"<|endoftext|> in the text itself: {plain.number(values['n_special'])}",
            f"content_sha256 {values['content_sha256']}",
            f"{plain.visible(str(folder))}: {size}",
        ]
    )
