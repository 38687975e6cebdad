"""The shards that are done already: each has a receipt that is of this plan, of this content, and of this file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmprep.errors import FileFormatError, InputError, RefusedError, list_names
from llmprep.store.content import reads_same
from llmprep.store.folder import file_sha256, receipt_path, write_sealed
from llmprep.store.lock import ALONE, Hold
from llmprep.store.manifest import NAME, read_sealed
from llmprep.store.own import RECEIPTS
from llmprep.store.schema import is_receipt, shard_name

if TYPE_CHECKING:
    from llmprep.store.plan import Plan
    from llmprep.store.shards import ShardJob

Receipts = dict[int, dict[str, Any]]


def sound_receipts(folder: Path, told: Mapping[str, Any], n_threads: int = 1) -> Receipts:
    """Return the receipts that are sound, by shard number; ``n_threads`` threads hash the shards.

    A receipt is sound if it is of the plan that is ``told``, the shard has the size and sha256 that it says, and what
    that was made from had the size and the sample of the plan's.
    """

    def sound(number: int) -> dict[str, Any] | None:
        known = [told["corpus"][source][1::2] for source, *_ in told["shards"][number]]
        receipt = _read_receipt(folder, number, len(known))
        if receipt is None or [each[0:3:2] for each in receipt["content"]] != known:
            return None
        return receipt if receipt["plan_sha256"] == told["plan_sha256"] and _has_shard(folder, receipt) else None

    numbers = range(len(told["shards"]))
    with ThreadPoolExecutor(n_threads) as threads:
        found = threads.map(sound, numbers)
        return {number: receipt for number, receipt in zip(numbers, found, strict=True) if receipt is not None}


def done_receipts(
    folder: Path,
    jobs: Sequence[ShardJob],
    n_threads: int = 1,
    *,
    hold: Hold = ALONE,
    announce: Callable[[str], None] | None = None,
) -> Receipts:
    """Return the receipts of the jobs that need not be done, by shard number.

    Those are the ones whose shard is sound and would be made the same way from the same content. A source of another
    time is read again where it went into a shard; if it is the same, its new time is noted. One that is not is
    announced, or for a store that is finished `RefusedError` names it.
    """
    with ThreadPoolExecutor(n_threads) as threads:
        looked = [*zip(jobs, threads.map(lambda job: _look_at(folder, job), jobs), strict=True)]
    changed = sorted({name for _, (_, name) in looked if name is not None})
    if changed and (folder / NAME).exists():
        raise RefusedError(f"{folder}: was begun differently: {list_names(changed)} has changed; {hold.way_out}")
    if changed and announce is not None:
        announce(f"{folder}: {list_names(changed)} has changed: shards made from it are built again")
    return {job.number: receipt for job, (receipt, _) in looked if receipt is not None}


def _look_at(folder: Path, job: ShardJob) -> tuple[dict[str, Any] | None, str | None]:
    """Return the receipt of a job that is done, and the name of a source that has changed since, if one has."""
    receipt = _read_receipt(folder, job.number, len(job.sources))
    if receipt is None or (receipt["plan_sha256"], receipt["recipe"]) != (job.plan_sha256, job.recipe):
        return None, None
    if not _has_shard(folder, receipt):
        return None, None
    noted = [[*stamp, each[3]] for stamp, each in zip(job.stamps, receipt["content"], strict=True)]
    for number, (now, was) in enumerate(zip(noted, receipt["content"], strict=True)):
        if now != was and not _is_same(job, number, receipt):
            return None, job.sources[number].name
    if noted != receipt["content"]:
        receipt = {**receipt, "content": noted}
        write_sealed(receipt_path(folder, job.number), receipt)
    return receipt, None


def _is_same(job: ShardJob, number: int, receipt: Mapping[str, Any]) -> bool:
    """Tell whether a source, or the job's part of it, holds what the receipt says."""
    part, now = job.sources[number], job.stamps[number]
    size, _, sample, sha256 = receipt["content"][number]
    if part.span is None and (size, sample) != (now.size, now.sample):
        return False  # that is seen without reading it
    begin, end, *_ = receipt["pieces"][number]
    return reads_same(part, begin, end, sha256)


def _read_receipt(folder: Path, number: int, n_pieces: int | None = None) -> dict[str, Any] | None:
    """Return the receipt of a shard, None if there is none that is one."""
    try:
        receipt: dict[str, Any] = read_sealed(receipt_path(folder, number))
        if not is_receipt(receipt, n_pieces) or receipt["file"] != shard_name(number):
            return None
    except PermissionError as error:
        raise InputError(f"{error.filename}: permission denied; another user has made it") from error
    except (OSError, FileFormatError):
        return None
    return receipt


def _has_shard(folder: Path, receipt: Mapping[str, Any]) -> bool:
    """Tell whether a shard has the size and sha256 that its receipt says."""
    path = folder / receipt["file"]
    try:
        return (path.stat().st_size, file_sha256(path)) == (receipt["bytes"], receipt["sha256"])
    except PermissionError as error:
        raise InputError(f"{path}: permission denied; another user has made it") from error
    except OSError:
        return False


def renumber(folder: Path, plan: Plan, old_sha256: str) -> None:
    """Give each shard of an older plan that this one makes the same way the number that it has here.

    Sources keep their order and so do shards: where those that go up are moved from the last on, and those that go down
    from the first on, none is in the way of another. Whether content is the same is seen later. Stopped midway, it goes
    on when it is called again; the shard that was between two steps is built again.
    """
    wanted = {json.dumps(plan.recipe(number)): number for number in range(len(plan.shards))}
    kept: dict[int, tuple[int, dict[str, Any]]] = {}
    for path in sorted((folder / RECEIPTS).glob("[0-9]*.json")):
        old = int(path.stem) if path.stem.isdecimal() else -1
        receipt = _read_receipt(folder, old)
        new = None if receipt is None else wanted.get(json.dumps(receipt["recipe"]))
        if receipt is None or new is None or receipt["plan_sha256"] not in (old_sha256, plan.sha256):
            continue
        if (folder / receipt["file"]).is_file() and (new not in kept or receipt["plan_sha256"] == plan.sha256):
            kept[new] = old, receipt
    up = sorted((new for new, (old, _) in kept.items() if old <= new), reverse=True)
    down = sorted(new for new, (old, _) in kept.items() if old > new)
    for new in [*up, *down]:
        _move(folder, new, *kept[new], plan.sha256)
    names = {*map(shard_name, range(len(plan.shards)))}
    for surplus in folder.glob("tokens-*.pt"):
        if surplus.name not in names:
            surplus.unlink()


def _move(folder: Path, new: int, old: int, receipt: Mapping[str, Any], plan_sha256: str) -> None:
    """Give a shard its new number, and its receipt the plan in which it has that."""
    if new != old:
        (folder / shard_name(old)).replace(folder / shard_name(new))
    write_sealed(receipt_path(folder, new), {**receipt, "plan_sha256": plan_sha256, "file": shard_name(new)})
    if new != old:
        receipt_path(folder, old).unlink()
