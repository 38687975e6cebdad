"""Which inputs of a store are left out: found by its workers, and not again while the inputs stay what they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from llmprep import __version__
from llmprep.choices import Reading
from llmprep.documents.cuts import TIKTOKEN_CUTS, Cuts
from llmprep.documents.finding import leave_out
from llmprep.documents.leaving_out import announce_left_out, find_bad, prepare_check
from llmprep.documents.sources import Sources
from llmprep.errors import LlmprepError, WorkerDiedError
from llmprep.store.content import stamps_of
from llmprep.store.executors import Workers
from llmprep.store.folder import PLAN
from llmprep.store.manifest import read_plan
from llmprep.store.shards import current_folder, enter_folder
from llmprep.tokens.threads import map_in_order

PART_BYTES, PART_FILES = 64 << 20, 4096
"""How much is read by one call of a worker."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Sources that one call reads: those from number ``first`` on. ``cwd`` is the folder that paths start from.

    ``cuts`` are those of the vocabulary.
    """

    first: int
    sources: Sources
    cwd: str | None
    cuts: Cuts


def vet(
    sources: Sources, folder: Path | None, reading: Reading, workers: Workers, cuts: Cuts = TIKTOKEN_CUTS
) -> Sources:
    """Return the sources that can be read as text, all that can with ``reading.on_bad`` "skip"; say which cannot.

    Those that the plan of a ``folder`` was made of, in the same way, are not read again where they are of the same
    size, time and sample. Raises the error of the first that is bad where all are.
    """
    if reading.on_bad == "skip" and len(sources) + len(sources.left_out) > 1:
        prepare_check(sources, reading.announce)
        parts = _parts(sources, frozenset() if folder is None else _known(sources, folder), cuts)
        bad: dict[int, LlmprepError] = {}
        for found in map_in_order(lambda part: _let_look(workers, part), parts, workers.slots):
            bad |= found
        sources = leave_out(sources, bad)
    announce_left_out(sources.left_out, reading.announce)
    return sources


def _let_look(workers: Workers, part: _Part) -> dict[int, LlmprepError]:
    """Have a worker look at a part, and another where that one dies. Raises `WorkerDiedError` where both do."""
    with suppress(WorkerDiedError):
        return workers.submit(_look, part).result()
    try:
        return workers.submit(_look, part).result()
    except WorkerDiedError as error:
        first, last = part.sources.paths[0], part.sources.paths[-1]
        raise WorkerDiedError(
            f"{first} to {last}: the worker that read them for --on-bad skip died twice (killed, or out of memory?)"
        ) from error


def _look(part: _Part) -> dict[int, LlmprepError]:
    """Read sources to their ends, anywhere; return what is wrong with them, by their number in the corpus."""
    enter_folder(part.cwd)
    return {part.first + number: error for number, error in find_bad(part.sources, part.cuts).items()}


def _parts(sources: Sources, known: frozenset[int], cuts: Cuts) -> Iterator[_Part]:
    """Yield the sources that are not known, neighbours together."""
    unknown = (number for number in range(len(sources)) if number not in known)
    for _, run in groupby(enumerate(unknown), lambda each: each[1] - each[0]):
        numbers = [number for _, number in run]
        first, n_bytes = numbers[0], 0
        for number in numbers:
            if number - first == PART_FILES or (n_bytes and n_bytes + sources.sizes[number] > PART_BYTES):
                yield _Part(first, sources.part(first, number), current_folder(), cuts)
                first, n_bytes = number, 0
            n_bytes += sources.sizes[number]
        yield _Part(first, sources.part(first, numbers[-1] + 1), current_folder(), cuts)


def _known(sources: Sources, folder: Path) -> frozenset[int]:
    """Return the numbers of the sources that were read before the folder's plan was made, and are the same still."""
    if not (folder / PLAN).exists():
        return frozenset()
    plan, stamps = read_plan(folder), stamps_of(sources)
    made = {"on_bad": "skip", "text_field": sources.text_field, "llmprep_version": __version__}
    if any(plan.options.get(key) != value for key, value in made.items()):
        return frozenset()
    known, at = [], 0
    for number, name in enumerate(sources.names):
        if at < len(plan.names) and plan.names[at] == name:
            if plan.stamps[at] == stamps[number]:
                known.append(number)
            at += 1
    return frozenset(known)
