"""A plan -> the folder that is built by it: new, begun for the same, or refused with what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmprep.errors import RefusedError, list_names, shorten
from llmprep.store.folder import read_plan, write_sealed
from llmprep.store.lock import ALONE, Hold
from llmprep.store.manifest import NAME, PLAN
from llmprep.store.own import RECEIPTS
from llmprep.store.plan import Plan
from llmprep.store.receipts import renumber
from llmprep.vocabulary.loading import Vocabulary


def prepare(
    folder: Path,
    plan: Plan,
    vocabulary: Vocabulary,
    *,
    restart: bool,
    val_fraction: float | None,
    hold: Hold = ALONE,
    announce: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Make the folder that of this plan; return what is told there, as `read_plan` does.

    Raises `RefusedError` with the differences if the folder was begun for another plan. A split may be added to a
    store that has none, unless the folder is shared with tasks that were told otherwise. Files may have changed since,
    and are announced, as long as the store is not finished and nobody else builds it: shards that were made from
    others are kept, under the number that the plan now gives them. A manifest of the same plan stays until a new one
    takes its place: whatever is built again has the same bytes.
    """
    told = {
        "plan_sha256": plan.sha256,
        "options": plan.options,
        "corpus": [[source.name, *stamp] for source, stamp in zip(plan.sources, plan.stamps, strict=True)],
        "shards": [[[piece.source, piece.start, piece.end] for piece in pieces] for pieces in plan.shards],
        "n_vocab": vocabulary.n_vocab,
        "val_fraction": val_fraction,
    }
    if restart:
        for stale in [folder / NAME, *folder.glob("tokens-*.pt"), *(folder / RECEIPTS).glob("*.json")]:
            stale.unlink(missing_ok=True)
    elif (folder / PLAN).exists():
        old = read_plan(folder)
        adds_split = old["val_fraction"] is None and not hold.shared
        expected = {**old, "val_fraction": val_fraction} if adds_split else old
        may_change = hold.alone and not (folder / NAME).exists()
        changed = require_same(folder, expected, told, hold, may_change=may_change)
        if changed and announce is not None:
            announce(f"{folder}: {list_names(changed)} has changed: shards made from it are built again")
        if old["plan_sha256"] != plan.sha256:
            renumber(folder, plan, old["plan_sha256"])
        if not hold.alone or {**old, **told} == old:
            return told
    write_sealed(folder / PLAN, told)
    return told


def require_same(
    folder: Path, old: Mapping[str, Any], told: Mapping[str, Any], hold: Hold = ALONE, *, may_change: bool = False
) -> list[str]:
    """Raise `RefusedError` with the list of what differs between the plan of a folder and what is told now.

    Files whose content has changed are returned instead, if they ``may_change`` and nothing else differs.
    """
    found, changed = _differences(old, told)
    if may_change and not found:
        return changed
    differences = [shorten(each, 200) for each in [*found, *(f"{name} has changed" for name in changed)]]
    if differences:
        waits = not (found or hold.alone or (folder / NAME).exists())
        way_out = "other tasks are at work: run this one again when they are done" if waits else hold.way_out
        more = "; ..." if len(differences) > 8 else ""
        raise RefusedError(f"{folder}: was begun differently: {'; '.join(differences[:8])}{more}; {way_out}")
    return []


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what differs, in words, and the names of files whose size or sample does: their time does not count."""
    before, now = ({**told["options"], "val_fraction": told["val_fraction"]} for told in (old, new))
    options = [
        f"{key} was {before.get(key)}, is {now.get(key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    was, are = (_by_name(told["corpus"]) for told in (old, new))
    gone = [f"{name} is gone" for name, nth in was if (name, nth) not in are]
    added = [f"{name} is new" for name, nth in are if (name, nth) not in was]
    found = [*options, *gone, *added]
    changed = [key[0] for key in are if key in was and was[key] != are[key]]
    in_order = [entry[0] for entry in old["corpus"]] == [entry[0] for entry in new["corpus"]]
    if not found and (not in_order or (not changed and old["plan_sha256"] != new["plan_sha256"])):
        found = ["the files come in another order"]
    return found, changed


def _by_name(corpus: Sequence[Sequence[Any]]) -> dict[tuple[str, int], Sequence[Any]]:
    """Size and sample of each file by its name and, as several may share one, how many of that name came before."""
    seen: Counter[str] = Counter()
    found: dict[tuple[str, int], Sequence[Any]] = {}
    for name, size, _, sample in corpus:
        found[name, seen[name]] = size, sample
        seen[name] += 1
    return found
