"""`tokenize CORPUS -o FOLDER/`: a token store, or a task's share of one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmprep import choices
from llmprep.cli.groups import IdFile, Target
from llmprep.cli.notes import left_out_values, left_out_words, say_empty_inputs, say_empty_records
from llmprep.cli.options import ValFraction, filled
from llmprep.cli.printer import Printer
from llmprep.errors import UsageError, plural, shorten
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.store.schema import Manifest

BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Shards:
    """The options of a token store: how it is divided, and who builds it where."""

    shard_bytes: Annotated[
        int | None,
        typer.Option(
            "--shard-bytes",
            min=1,
            metavar="N",
            help="Put so many bytes of text into a shard. Default: from 16 MiB to 1 GiB, by the corpus.",
        ),
    ] = None
    shard_tokens: Annotated[
        int | None,
        typer.Option(
            "--shard-tokens", min=1, metavar="N", help="Put about so many tokens into a shard, at 4 bytes a token."
        ),
    ] = None
    executor: Annotated[
        choices.ExecutorName, typer.Option("--executor", help="Build the shards here, or on a Ray cluster.")
    ] = "local"
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="ADDR",
            parser=filled,
            help="Use the Ray cluster at this address; auto finds one. Default: start one here.",
        ),
    ] = None
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="I/N",
            parser=filled,
            help="Build only share I of N of the shards; llmprep merge then finishes the store.",
        ),
    ] = None
    restart: Annotated[bool, typer.Option("--restart", help="Start a begun store over.")] = False
    val_fraction: ValFraction = None

    def wanted(self, output: str | None) -> bool:
        """Tell whether a store is meant: a folder as output, or a size of shards.

        Raises `UsageError` for options of a store where none is meant.
        """
        sized = self.shard_bytes is not None or self.shard_tokens is not None
        folder = output is not None and (output.endswith("/") or Path(output, "plan.json").is_file())
        given = {
            "--executor": self.executor != "local",
            "--task": self.task is not None,
            "--restart": self.restart,
            "--val-fraction": self.val_fraction is not None,
            "--address": self.address is not None,
        }
        if any(given.values()) and not (sized or folder):
            names = ", ".join(name for name, is_given in given.items() if is_given)
            raise UsageError(f"{names}: for a token store; name a folder with -o FOLDER/")
        if not (sized or folder) and output is not None and Path(output).is_dir():
            raise UsageError(f"{output}: is a folder; name a file in it, or {output}/ for a token store")
        return sized or folder

    def refuse_rest(self, target: Target, file: IdFile) -> None:
        """Raise `UsageError` for options of a file, and for sizes that exclude each other."""
        if file.dtype is not None:
            raise UsageError("--dtype: a token store has the smallest that fits its vocabulary; leave it out")
        if target.force:
            raise UsageError("--force: a token store is not replaced; --restart starts a begun one over")
        if target.depfile is not None and self.task is not None:
            raise UsageError("--depfile: a task writes no manifest for make to look at; leave it out")
        if self.shard_bytes is not None and self.shard_tokens is not None:
            raise UsageError("--shard-bytes and --shard-tokens: cannot be combined")
        if target.output in (None, "-"):
            raise UsageError("--shard-bytes, --shard-tokens: name the store's folder with -o FOLDER/")

    def sharding(self) -> choices.Sharding:
        """Return how the corpus is divided."""
        n_bytes = self.shard_tokens * BYTES_PER_TOKEN if self.shard_tokens else self.shard_bytes
        return choices.Sharding(n_bytes, self.val_fraction)

    def building(self, jobs: int) -> choices.Building:
        """Return who builds the shards, and where. Raises `UsageError` for a task that is not I/N."""
        return choices.Building(jobs, self.executor, self.address, self._share(), self.restart)

    def _share(self) -> tuple[int, int] | None:
        if self.task is None:
            return None
        found = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", self.task)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"--task {self.task}: must be i/N with i from 1 to N, as 3/7")
        return int(found[1]), int(found[2])


def plan_store(
    printer: Printer, paths: list[str], output: str | None, reading: choices.Reading, shards: Shards
) -> None:
    """Say what building a store would read and write; refuse what building it would refuse."""
    from llmprep.cli.dry_run import Planned, show_plan
    from llmprep.documents.finding import find_sources
    from llmprep.store.build import check_choices
    from llmprep.store.executors import InProcess
    from llmprep.store.folder import PLAN, check_folder
    from llmprep.store.plan import plan_corpus
    from llmprep.store.unfinished import rest_of
    from llmprep.store.vetting import vet
    from llmprep.tokens.cutting import cuts_of
    from llmprep.vocabulary.loading import load_vocabulary

    building = shards.building(reading.effort.jobs)
    check_choices(shards.sharding(), building)
    sources = find_sources(paths, reading.text_field, on_bad=reading.on_bad or "stop")
    folder, rest = check_folder(output or "", paths, sources), None
    if (folder / PLAN).exists() and not building.restart:
        chosen = reading.for_text()
        vocabulary = load_vocabulary(chosen.encoding, reading.vocab_dir, reading.announce)
        vetted = vet(sources, folder, replace(reading, announce=lambda _: None), InProcess(), cuts_of(vocabulary))
        planned = plan_corpus(vetted, vocabulary, chosen.options, shards.sharding(), reading.on_bad or "stop")
        rest = rest_of(folder, planned, building.task)
    show_plan(printer, paths, reading, Planned(f"{folder}/", rest=rest))


def make_store(
    printer: Printer, paths: list[str], output: str | None, reading: choices.Reading, shards: Shards
) -> None:
    """Build a token store, or a task's share of it, and say so."""
    from llmprep.cli.progress import shard_bar
    from llmprep.store.build import build_store
    from llmprep.store.folder import manifest_status

    building, before = shards.building(reading.effort.jobs), manifest_status(output or "")
    with shard_bar(quiet=printer.quiet, color=printer.color) as watch:
        built = build_store(paths, output or "", reading, shards.sharding(), building, watch)
    if built.manifest is not None:
        show_store(printer, built.folder, built.manifest, before)
        return
    share = {"n_done": built.n_done, "n_shards": built.n_shards}
    printer.object({"command": "tokenize", "output": str(built.folder), "task": shards.task, **share})
    done = f"{built.n_done} of {plural(built.n_shards, 'shard')}, task {shards.task}"
    printer.lines([f"{plain.visible(str(built.folder))}: {done}; when all tasks are done: llmprep merge"])


def show_store(printer: Printer, folder: Path, manifest: Manifest, before: os.stat_result | None) -> None:
    """Say what a finished store holds, and whether its manifest is what it was ``before``."""
    from llmprep.output.checking import is_same_file
    from llmprep.store.folder import MANIFEST

    unchanged = is_same_file(before, folder / MANIFEST)
    say_empty_inputs(printer, [shorten(manifest.names[number], 200) for number in manifest.empty.tolist()])
    say_empty_records(printer, manifest.n_empty)
    if manifest.n_boms:
        printer.note(f"{plural(manifest.n_boms, 'input')} began with a byte order mark, which was dropped")
    n_tokens = plural(manifest.n_tokens, "token")
    for split, (first, end) in manifest.splits.items():
        if first == end:
            printer.note(f"split {split} is empty: --val-fraction of {n_tokens} is less than one")
    names = ("n_tokens", "n_documents", "n_special", "encoding", "dtype", "content_sha256")
    kept = {name: getattr(manifest, name) for name in names}
    made = {"output": str(folder), "unchanged": unchanged, "n_shards": len(manifest.shards)}
    printer.object({"command": "tokenize", **made, **kept, **left_out_values(manifest.left_out)})
    n_bytes = sum(shard.bytes for shard in manifest.shards)
    size = f"{plural(len(manifest.shards), 'shard')}, {manifest.dtype}, {plain.size(n_bytes)}"
    size += left_out_words(len(manifest.names), manifest.left_out)
    printer.lines(
        [
            f"{n_tokens} ({manifest.encoding}) of {plural(manifest.n_documents, 'document')}",
            *(
                [f"end-of-text tokens in the text itself: {plain.number(manifest.n_special)}"]
                if manifest.n_special
                else []
            ),
            f"content_sha256 {manifest.content_sha256}",
            f"{plain.visible(str(folder))}: {'unchanged, ' * unchanged}{size}",
        ]
    )
