"""The shards that are done already: each has a receipt that is of this plan, of this content, and of this file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from llmprep.choices import Announce
from llmprep.errors import InputError, RefusedError, list_names
from llmprep.store.content import reads_same
from llmprep.store.folder import MANIFEST, RECEIPTS, receipt_path
from llmprep.store.lock import ALONE, Hold
from llmprep.store.manifest import read_receipt
from llmprep.store.schema import Plan, Receipt, shard_name
from llmprep.store.sealed import file_sha256, write_sealed
from llmprep.tokens.threads import map_in_order

if TYPE_CHECKING:
    from llmprep.store.plan import PlannedCorpus
    from llmprep.store.shards import Jobs, ShardJob

Receipts: TypeAlias = dict[int, Receipt]
"""By the number of the shard."""


def sound_receipts(folder: Path, plan: Plan, n_threads: int = 1) -> Iterator[tuple[int, Receipt]]:
    """Yield number and receipt of the shards that are sound, in order; ``n_threads`` threads hash them.

    A receipt is sound if it is of the plan, the shard has the size and sha256 that it says, and what that was made
    from had the size and the sample of the plan's.
    """

    def planned() -> Iterator[tuple[int, Receipt]]:
        for number, (first, count, *_) in enumerate(plan.shards.rows.tolist()):
            receipt = read_receipt(folder, number, count)
            if receipt is None or receipt.plan_sha256 != plan.sha256:
                continue
            if not plan.stamps.part(first, first + count).differ(receipt.stamps).any():
                yield number, receipt.without_content()

    yield from (found for found in map_in_order(lambda found: _if_whole(folder, *found), planned(), n_threads) if found)


def _if_whole(folder: Path, number: int, receipt: Receipt) -> tuple[int, Receipt] | None:
    return (number, receipt) if _has_shard(folder, receipt) else None


def done_receipts(
    folder: Path,
    jobs: Jobs,
    numbers: Iterable[int],
    n_threads: int = 1,
    *,
    hold: Hold = ALONE,
    announce: Announce | None = None,
) -> Receipts:
    """Return the receipts, without content, of the jobs of these numbers that need not be done.

    Those are the ones whose shard is sound and would be made the same way from the same content. A source of another
    time is read again where it went into a shard; if it is the same, its new time is noted. One that is not is
    announced, or for a store that is finished `RefusedError` names it.
    """
    done: Receipts = {}
    changed: set[str] = set()
    found = _receipts_of(folder, jobs, numbers)
    for number, receipt, name in map_in_order(lambda each: _look_at(folder, *each), found, n_threads):
        changed |= {name} if name is not None else set()
        if receipt is not None:
            done[number] = receipt
    if changed and (folder / MANIFEST).exists():
        names = list_names(sorted(changed))
        raise RefusedError(f"{folder}: was built from other inputs or options: {names} has changed; {hold.remedy}")
    if changed and announce is not None:
        announce(f"{folder}: {list_names(sorted(changed))} has changed: shards made from it are built again")
    return done


def _receipts_of(folder: Path, jobs: Jobs, numbers: Iterable[int]) -> Iterator[tuple[int, Receipt, ShardJob | None]]:
    """Yield the receipts of jobs that would be made the same way, with the job where a source is of another time.

    The others have no content any more: only so many of those that do are held as there are threads.
    """
    for number in numbers:
        job = jobs[number]
        receipt = read_receipt(folder, number, len(job.sources))
        if receipt is None or (receipt.plan_sha256, receipt.recipe) != (job.plan_sha256, job.recipe):
            continue
        is_same = receipt.stamps == job.stamps
        yield number, *((receipt.without_content(), None) if is_same else (receipt, job))


def _look_at(
    folder: Path, shard: int, receipt: Receipt, job: ShardJob | None
) -> tuple[int, Receipt | None, str | None]:
    """Return a shard's number, its receipt if it is done, and the name of a source that has changed, if one has."""
    if not _has_shard(folder, receipt):
        return shard, None, None
    if job is None:
        return shard, receipt, None
    others = job.stamps.differ(receipt.stamps) | (job.stamps.times != receipt.stamps.times)
    for number in np.flatnonzero(others).tolist():
        if not _is_same(job, number, receipt):
            return shard, None, job.sources[number].name
    write_sealed(receipt_path(folder, shard), replace(receipt, stamps=job.stamps).to_json())
    return shard, receipt.without_content(), None


def _is_same(job: ShardJob, number: int, receipt: Receipt) -> bool:
    """Tell whether a source, or the job's part of it, holds what the receipt says."""
    part, now, was = job.sources[number], job.stamps[number], receipt.stamps[number]
    if part.span is None and (was.size, was.sample) != (now.size, now.sample):
        return False  # that is seen without reading it
    piece = receipt.pieces[number]
    return reads_same(part, piece.begin, piece.end, receipt.hashes[number].tobytes().hex())


def _has_shard(folder: Path, receipt: Receipt) -> bool:
    """Tell whether a shard has the size and sha256 that its receipt says."""
    path = folder / receipt.file
    try:
        return (path.stat().st_size, file_sha256(path)) == (receipt.bytes, receipt.sha256)
    except PermissionError as error:
        raise InputError(f"{path}: permission denied; another user has made it") from error
    except OSError:
        return False


def renumber(folder: Path, planned: PlannedCorpus, old_sha256: str) -> None:
    """Give each shard of an older plan that this one makes the same way the number that it has here.

    Sources keep their order and so do shards: where those that go up are moved from the last on, and those that go down
    from the first on, none is in the way of another. Whether content is the same is seen later. Stopped midway, it goes
    on when it is called again; the shard that was between two steps is built again.
    """
    plan_sha256, numbers = planned.plan.sha256, range(len(planned.plan.shards))
    wanted = {json.dumps(planned.recipe(number)): number for number in numbers}
    kept: dict[int, int] = {}
    for old, receipt in receipts_in(folder):
        new = wanted.get(json.dumps(receipt.recipe))
        if new is None or receipt.plan_sha256 not in (old_sha256, plan_sha256):
            continue
        if (folder / receipt.file).is_file() and (new not in kept or receipt.plan_sha256 == plan_sha256):
            kept[new] = old
    up = sorted((new for new, old in kept.items() if old <= new), reverse=True)
    down = sorted(new for new, old in kept.items() if old > new)
    for new in [*up, *down]:
        _move(folder, new, kept[new], plan_sha256)
    planned_names = {name for number in numbers for name in (shard_name(number), receipt_path(folder, number).name)}
    for path in [*folder.glob("tokens-*.pt"), *(folder / RECEIPTS).glob("*.json")]:
        if path.name not in planned_names:
            path.unlink()


def receipts_in(folder: Path) -> Iterator[tuple[int, Receipt]]:
    """Yield the number and the receipt of each shard that has a sound one, in order."""
    names = sorted(path.stem for path in (folder / RECEIPTS).glob("[0-9]*.json"))
    numbers = [int(name) for name in names if name.isdecimal()]
    found = ((number, read_receipt(folder, number)) for number in numbers)
    yield from ((number, receipt) for number, receipt in found if receipt is not None)


def _move(folder: Path, new: int, old: int, plan_sha256: str) -> None:
    """Give a shard its new number, and its receipt the plan in which it has that."""
    receipt = read_receipt(folder, old)
    if receipt is None:
        return  # it was read before: another has removed it
    if new != old:
        (folder / shard_name(old)).replace(folder / shard_name(new))
    moved = replace(receipt, plan_sha256=plan_sha256, file=shard_name(new))
    write_sealed(receipt_path(folder, new), moved.to_json())
    if new != old:
        receipt_path(folder, old).unlink()
