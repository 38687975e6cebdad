"""A store that is not finished: which of its shards are done, and how to go on with it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmprep.errors import FileFormatError
from llmprep.store.folder import TASKS
from llmprep.store.manifest import read_plan, read_receipt
from llmprep.store.prepare import require_begun_for
from llmprep.store.receipts import receipts_in
from llmprep.store.schema import Plan, Receipt
from llmprep.store.sealed import read_sealed, write_sealed

if TYPE_CHECKING:
    from llmprep.store.plan import PlannedCorpus

TASKS_SHOWN = 8


def note_tasks(folder: Path, count: int) -> None:
    """Note in a store's folder that so many tasks build it, for `remedy`; the manifest takes the note's place."""
    write_sealed(folder / TASKS, {"tasks": count})


def _count_tasks(folder: Path) -> int | None:
    """Return how many tasks were noted, None if none were, or something else stands there."""
    try:
        stated = read_sealed(folder / TASKS)
    except (OSError, FileFormatError):
        return None
    count = stated.get("tasks") if isinstance(stated, dict) else None
    return count if isinstance(count, int) and count > 0 else None


def remedy(folder: Path, missing: Iterable[int]) -> str:
    """Return what is to be run again for shards that are missing: the tasks that have them, if tasks build the store.

    A task builds each N-th shard, as `build_store` deals them out.
    """
    n_tasks = _count_tasks(folder)
    if n_tasks is None:
        return "run the command that builds them again"
    tasks = sorted({number % n_tasks + 1 for number in missing})
    shown = ", ".join(f"{task}/{n_tasks}" for task in tasks[:TASKS_SHOWN])
    more = f", and {len(tasks) - TASKS_SHOWN} more tasks" if len(tasks) > TASKS_SHOWN else ""
    return f"rerun --task {shown}{more}, then llmprep merge"


def done_shards(folder: Path, plan: Plan) -> list[Receipt]:
    """Return the receipts of shards that are done by a plan, as far as the sizes of their files tell."""
    found = (read_receipt(folder, number, count) for number, (_, count, *_) in enumerate(plan.shards.rows.tolist()))
    return [
        each.without_content() for each in found if each and each.plan_sha256 == plan.sha256 and _is_there(folder, each)
    ]


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left to be built of a begun store: shards, and the share of its text that they take."""

    n_missing: int
    n_shards: int
    share: float


def rest_of(folder: Path, planned: PlannedCorpus, task: tuple[int, int] | None = None) -> Rest:
    """Return what a build by this plan would have to build in a folder, or a task of it.

    Raises `RefusedError` where the folder was begun for another plan.
    """
    require_begun_for(folder, read_plan(folder), planned.plan)
    done, count = begun_shards(folder, planned), len(planned.plan.shards)
    mine = range(count) if task is None else range(count)[task[0] - 1 :: task[1]]
    missing = [number for number in mine if number not in done]
    n_bytes = sum(planned.parts(number).n_bytes for number in missing)
    return Rest(len(missing), len(mine), n_bytes / max(1, planned.sources.n_bytes))


def begun_shards(folder: Path, planned: PlannedCorpus) -> set[int]:
    """Return the numbers of a plan's shards that a build would find done, as far as sizes of files tell."""
    plan = planned.plan
    known = {plan.sha256, read_plan(folder).sha256}
    wanted = {json.dumps(planned.recipe(number)): number for number in range(len(plan.shards))}
    done = set()
    for _, receipt in receipts_in(folder):
        number = wanted.get(json.dumps(receipt.recipe))
        if number is None or receipt.plan_sha256 not in known or not _is_there(folder, receipt):
            continue
        first, count, *_ = plan.shards.rows[number].tolist()
        if len(receipt.stamps) == count and not plan.stamps.part(first, first + count).differ(receipt.stamps).any():
            done.add(number)
    return done


def _is_there(folder: Path, receipt: Receipt) -> bool:
    try:
        return (folder / receipt.file).stat().st_size == receipt.bytes
    except OSError:
        return False
