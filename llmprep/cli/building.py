"""`tokenize CORPUS -o FOLDER/` and `merge`: building a token store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmprep.errors import OutputError, UsageError
from llmprep.preview import plain

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from llmprep.cli.show import Show
    from llmprep.kinds import Reading
    from llmprep.store.build import ShardJob
    from llmprep.store.manifest import Manifest


@dataclass(frozen=True, slots=True)
class StoreChoices:
    """The options of `tokenize` that make a store, and where its shards are built."""

    shard_bytes: int | None = None
    shard_tokens: int | None = None
    executor: str = "local"
    address: str | None = None
    task: str | None = None
    restart: bool = False
    val_fraction: float | None = None

    def wants_store(self, output: str | None) -> bool:
        """Tell whether a store is meant: a folder as output, or a size of shards."""
        sized = self.shard_bytes is not None or self.shard_tokens is not None
        folder = output is not None and output != "-" and (output.endswith("/") or Path(output).is_dir())
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
        return sized or folder

    def check(self) -> tuple[int, int] | None:
        """Check what can be checked before reading anything; return (i, N) of a task."""
        if self.shard_bytes is not None and self.shard_tokens is not None:
            raise UsageError("--shard-bytes and --shard-tokens: choose one")
        if self.val_fraction is not None and not 0 < self.val_fraction < 1:
            raise UsageError(f"--val-fraction {self.val_fraction}: must be larger than 0 and smaller than 1")
        if self.address and self.executor != "ray":
            raise UsageError("--address: goes with --executor ray")
        if self.task is None:
            return None
        first, _, last = self.task.partition("/")
        if not (
            first.isascii() and first.isdigit() and last.isascii() and last.isdigit() and 1 <= int(first) <= int(last)
        ):
            raise UsageError(f"--task {self.task}: must be i/N with i from 1 to N, as 3/7")
        return int(first), int(last)


def build_store(show: Show, paths: list[str], reading: Reading, output: str | None, choices: StoreChoices) -> None:
    """Build a token store, or one task's share of it."""
    from llmprep.documents import find_sources
    from llmprep.store import build
    from llmprep.store.plan import BYTES_PER_TOKEN, SHARD_BYTES, make_plan
    from llmprep.tokens import Effort, TextOptions
    from llmprep.vocabulary import load_vocabulary

    task = choices.check()
    if output is None:
        raise UsageError("--shard-bytes, --shard-tokens: name the store's folder with -o FOLDER/")
    folder = _folder(output)
    effort, options = reading.effort or Effort(), reading.options or TextOptions()
    vocabulary = load_vocabulary(reading.encoding or "gpt2", reading.vocab_dir, reading.announce)
    sources = find_sources(paths, reading.text_field, reading.announce)
    _refuse_inside(folder, paths)
    shard_bytes = choices.shard_bytes or (choices.shard_tokens or 0) * BYTES_PER_TOKEN or SHARD_BYTES
    plan = make_plan(sources, vocabulary, options, shard_bytes)
    with build.locked(folder, shared=task is not None):
        build.prepare(folder, plan, vocabulary, restart=choices.restart, val_fraction=choices.val_fraction)
        if task is None:
            build.clear_temporaries(folder)
        told = build.read_plan(folder)
        done = build.sound_receipts(folder, told)
        jobs = build.make_jobs(plan, folder, vocabulary, options, effort)
        mine = jobs if task is None else jobs[task[0] - 1 :: task[1]]
        missing = [job for job in mine if job.number not in done]
        if len(missing) < len(mine):
            show.note(f"{folder}: {len(mine) - len(missing)} of {len(mine)} shards are done already")
        with show.shards(sum(_job_bytes(job) for job in missing)) as advance:
            build.run_jobs(
                missing,
                _executor(choices, effort.jobs),
                2 * effort.jobs,
                lambda job, receipt: advance(_job_bytes(job), receipt["tokens"], receipt["file"]),
            )
        if task is not None:
            share = f"{len(mine)} of {len(jobs)} shards, task {choices.task}"
            show.lines([f"{plain.visible(str(folder))}: {share}; when all tasks are done: llmprep merge"])
            return
        show_store(show, folder, build.finish(folder))


def _folder(output: str) -> Path:
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{output}: is a file; a token store is a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "plan.json").exists():
        names = [path.name for path in folder.iterdir()]
        foreign = [name for name in names if name not in ("receipts", ".lock") and not name.startswith(".llmprep-")]
        if foreign:
            raise OutputError(f"{output}: has other things in it ({foreign[0]}, ...); name a new folder")
    return folder


def _refuse_inside(folder: Path, paths: list[str]) -> None:
    for path in paths:
        if Path(path).is_dir() and folder.resolve().is_relative_to(Path(path).resolve()):
            raise UsageError(f"{folder}: lies inside the input {path}; name a folder elsewhere")


def _job_bytes(job: ShardJob) -> int:
    return sum(source.size or 0 if source.span is None else source.span[1] - source.span[0] for source in job.sources)


def _executor(choices: StoreChoices, jobs: int) -> Callable[[], AbstractContextManager[Executor]]:
    from llmprep import executors

    if choices.executor == "ray":
        return lambda: executors.ray_cluster(choices.address)
    if jobs == 1:
        return lambda: nullcontext(executors.InProcess())
    return lambda: executors.local_processes(jobs)


def merge_store(show: Show, folder: str) -> None:
    """Check the receipts of a store that tasks have built, and write its manifest."""
    from llmprep.store import build

    path = Path(folder)
    build.read_plan(path)
    with build.locked(path):
        build.clear_temporaries(path)
        show_store(show, path, build.finish(path))


def show_store(show: Show, folder: Path, manifest: Manifest) -> None:
    """Say what a finished store holds."""
    values = manifest.values
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
