"""A plan -> the folder that is built by it: new, begun for the same, or refused with what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from llmprep.choices import Announce
from llmprep.errors import RefusedError, list_names, shorten
from llmprep.store.folder import MANIFEST, PLAN, RECEIPTS
from llmprep.store.lock import ALONE, Hold
from llmprep.store.manifest import read_plan
from llmprep.store.plan import PlannedCorpus
from llmprep.store.receipts import renumber
from llmprep.store.schema import Plan
from llmprep.store.sealed import states, write_sealed
from llmprep.vocabulary.references import Reference


def prepare(
    folder: Path, planned: PlannedCorpus, *, restart: bool = False, hold: Hold = ALONE, announce: Announce | None = None
) -> None:
    """Make a folder that of this plan, and ``restart`` by removing what was built in it.

    Raises `RefusedError` with the differences if the folder was begun for another plan. A split may be added to a
    store that has none, unless the folder is shared with tasks, which may have begun without one. Files may have
    changed since, and are announced, as long as the store is not finished and nobody else builds it: shards that were
    made from others are kept, under the number that the plan now gives them. A manifest of the same plan stays until a
    new one takes its place: whatever is built again has the same bytes.
    """
    plan = planned.plan
    if restart:
        for stale in [folder / MANIFEST, *folder.glob("tokens-*.pt"), *(folder / RECEIPTS).glob("*.json")]:
            stale.unlink(missing_ok=True)
    elif (folder / PLAN).exists():
        if states(folder / PLAN, plan.to_json()):
            return
        old = read_plan(folder)
        changed = require_begun_for(folder, old, plan, hold)
        if changed and announce is not None:
            announce(f"{folder}: {list_names(changed)} has changed: shards made from it are built again")
        if old.sha256 != plan.sha256:
            renumber(folder, planned, old.sha256)
        if not hold.alone or old == plan:
            return
    write_sealed(folder / PLAN, plan.to_json())


def require_begun_for(folder: Path, old: Plan, new: Plan, hold: Hold = ALONE) -> list[str]:
    """Return the files that have changed since a folder was begun; raise `RefusedError` for what may not differ."""
    adds_split = old.val_fraction is None and not hold.shared
    expected = replace(old, val_fraction=new.val_fraction) if adds_split else old
    may_change = hold.alone and not (folder / MANIFEST).exists()
    return require_same(folder, expected, new, hold, may_change=may_change)


def require_same(folder: Path, old: Plan, new: Plan, hold: Hold = ALONE, *, may_change: bool = False) -> list[str]:
    """Raise `RefusedError` with the list of what differs between the plan of a folder and a new one.

    Files whose content has changed are returned instead, if they ``may_change`` and nothing else differs.
    """
    found, changed = _differences(old, new)
    if may_change and not found:
        return changed
    differences = [shorten(each, 200) for each in [*found, *(f"{name} has changed" for name in changed)]]
    if differences:
        waits = not (found or hold.alone or (folder / MANIFEST).exists())
        remedy = "other tasks are at work: run this one again when they are done" if waits else hold.remedy
        more = "; ..." if len(differences) > 8 else ""
        raise RefusedError(
            f"{folder}: was built from other inputs or options: {'; '.join(differences[:8])}{more}; {remedy}"
        )
    return []


def _differences(old: Plan, new: Plan) -> tuple[list[str], list[str]]:
    """Return what differs, in words, and the names of files whose size or sample does: their time does not count."""
    before, now = (_content_of(plan) for plan in (old, new))
    options = [
        f"{key} was {before.get(key)}, is {now.get(key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    if old.names == new.names:
        changed = [new.names[number] for number in np.flatnonzero(old.stamps.differ(new.stamps)).tolist()]
        return options or _another_order(old, new, changed), changed
    was, are = _by_name(old), _by_name(new)
    left_out, were_left_out = ({each.name for each in plan.left_out} for plan in (new, old))
    gone = [
        f"{name} is {'left out now' if name in left_out else 'no longer listed'}"
        for name, nth in was
        if (name, nth) not in are
    ]
    added = [
        f"{name} {'was left out, and can be read now' if name in were_left_out else 'is new'}"
        for name, nth in are
        if (name, nth) not in was
    ]
    found = [*options, *gone, *added]
    changed = [key[0] for key in are if key in was and was[key] != are[key]]
    return found or _another_order(old, new, changed), changed


def _content_of(plan: Plan) -> dict[str, Any]:
    """Return what decides the content of a store, in words; a vocabulary is its name, where that tells which it is."""
    options = {"on_bad": "stop", **plan.options, "val_fraction": plan.val_fraction}
    refers = Reference.stated(options["encoding"], options.pop("fingerprint", None))
    if refers.fingerprint is not None:
        del options["vocab_sha256"]
    return options | {"encoding": f"{refers.name}{refers.shown}"}


def _another_order(old: Plan, new: Plan, changed: Sequence[str]) -> list[str]:
    """Return that the files come in another order, if nothing else tells why the plans differ."""
    differ = old.names != new.names or (not changed and old.sha256 != new.sha256)
    return ["the files come in another order"] if differ else []


def _by_name(plan: Plan) -> dict[tuple[str, int], tuple[int, str]]:
    """Size and sample of each file by its name and, as several may share one, how many of that name came before."""
    seen: Counter[str] = Counter()
    found: dict[tuple[str, int], tuple[int, str]] = {}
    for number, name in enumerate(plan.names):
        stamp = plan.stamps[number]
        found[name, seen[name]] = stamp.size, stamp.sample
        seen[name] += 1
    return found
