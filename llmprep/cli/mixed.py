"""Stores named with weights, as web/=0.7 code/=0.3: a mixture, as `plan` and `inspect --step` take it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmprep.choices import Exhausted
from llmprep.cli.printer import Printer
from llmprep.errors import UsageError, list_names, plural
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.pytorch.mixture_plan import MixturePlan
    from llmprep.store.reading import TokenStore
    from llmprep.windows.planning import Goal
    from llmprep.windows.schedule import Sampling

EXHAUSTED = {
    "repeat": "A store whose windows are all taken begins its next epoch",
    "stop": "A pass ends before the first window that would be a store's second time",
    "drop": "A store whose windows are all taken is left out from there on, and the others share its weight",
}
"""What --exhausted does, in words."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """A store of a mixture: what it is called there, its path and its weight."""

    name: str
    path: str
    weight: Fraction


def split_weights(given: Sequence[str]) -> list[Weighed] | None:
    """Return the stores of a mixture, None for a single one without a weight.

    A store is PATH=WEIGHT, called by the last part of its path, or NAME=PATH=WEIGHT. A path that is there is taken for
    one, whatever it holds. Raises `UsageError` for several stores without weights, for a weight that is no number, and
    for two of one name.
    """
    weighed = [_split(each) for each in given]
    stores = [each for each in weighed if each is not None]
    for one, other in zip(given, weighed, strict=True):
        path, _, weight = one.rpartition("=")
        named = os.path.lexists(path) or os.path.lexists(path.partition("=")[2])
        if other is None and named and not os.path.lexists(one):
            raise UsageError(f"{one}: {weight or 'nothing'} is no weight, such as 0.7 or 70")
    if not stores and len(given) == 1:
        return None
    for one, other in zip(given, weighed, strict=True):
        if other is None:
            raise UsageError(f"{one}: several stores are a mixture; give each a weight, as {one}=0.7")
    names = [each.name for each in stores]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{name}: two stores have this name; name them, as NAME=PATH=WEIGHT")
    return stores


def _split(given: str) -> Weighed | None:
    path, _, weight = given.rpartition("=")
    if os.path.lexists(given) or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", weight):
        return None
    name, _, rest = path.partition("=")
    if name and rest and not os.path.lexists(path):
        return Weighed(name, rest, Fraction(weight))
    return Weighed(Path(path).name or path, path, Fraction(weight))


def open_stores(stores: Sequence[Weighed], split: str | None) -> dict[str, TokenStore]:
    """Open the stores of a mixture, in the order of their names, without reading them through."""
    from llmprep.inputs import open_input
    from llmprep.store.reading import TokenStore

    opened = {}
    for each in sorted(stores, key=lambda store: store.name):
        found = open_input([each.path], split=split, check=False, pipes="unread")
        if not isinstance(found, TokenStore):
            raise UsageError(f"{each.path}: is no token store; --step and mixtures take nothing else")
        opened[each.name] = found
    return opened


@dataclass(frozen=True, slots=True)
class MixedRun:
    """How a mixture is sampled, how long, and what it does when a store has no more windows."""

    sampling: Sampling
    goal: Goal
    exhausted: Exhausted


def show_mixture(printer: Printer, mixed: Sequence[Weighed], split: str | None, run: MixedRun) -> None:
    """Say what a run takes of a mixture."""
    from llmprep.preview.explain import summary
    from llmprep.preview.planned import room_line
    from llmprep.pytorch.mixture_plan import mix_stores, plan_mixture
    from llmprep.windows.coverage import cover

    stores, sampling = open_stores(mixed, split), run.sampling
    mixing = mix_stores(stores, {each.name: each.weight for each in mixed}, sampling, run.exhausted)
    planned = plan_mixture(mixing, sampling, run.goal)
    covered = {name: cover(len(store), sampling.max_length, sampling.stride) for name, store in stores.items()}
    part = "" if split is None else f" ({plain.visible(split)})"
    for name, coverage in covered.items():
        printer.lines([f"{plain.visible(name)}{part}: {summary(coverage, sampling.max_length, sampling.stride)}"])
    n_bytes = {name: sum(shard.bytes for shard in store.manifest.shards) for name, store in stores.items()}
    printer.lines(_lines(planned, run.exhausted))
    printer.lines([room_line(planned.schedule, sampling.max_length, sum(n_bytes.values()))])
    rows = [
        {
            "name": source.name,
            "path": str(stores[source.name].folder),
            "share": float(source.share),
            "n_windows": source.n_windows,
            "n_tokens": source.n_windows * sampling.max_length,
            "epochs": float(source.epochs),
            "used_up": source.used_up,
            "bytes": n_bytes[source.name],
            "coverage": asdict(covered[source.name]),
        }
        for source in planned.sources
    ]
    printer.object({"command": "plan", **asdict(sampling), **_values(planned, run.exhausted), "stores": rows})


def _lines(planned: MixturePlan, exhausted: str) -> Iterator[str]:
    """Yield what a run takes of a mixture, with a row for each store."""
    from llmprep.preview.planned import passes_in_words

    schedule, n_windows = planned.schedule, planned.schedule.n_windows
    are_left = "one is" if schedule.left_out == 1 else f"{schedule.left_out:,} are"
    left = f", of which the last {are_left} left out" if schedule.left_out else ""
    each = f", {plain.number(schedule.batch_size)} on each of {schedule.ranks:,} ranks" if schedule.ranks > 1 else ""
    tokens = plural(schedule.windows_per_step * planned.max_length, "token")
    yield f"A step takes {plural(schedule.windows_per_step, 'window')}{each}: {tokens}."
    yield f"A pass is {plural(schedule.steps_per_epoch, 'step')}: {plural(n_windows, 'window')}{left}."
    steps, are = plural(planned.n_steps, "step"), "is" if planned.n_steps == 1 else "are"
    taken = f"{plural(planned.n_windows, 'window')}, {plural(planned.n_tokens, 'token')}"
    yield f"{steps} {are} {passes_in_words(planned.passes)}: {taken}."
    yield f"{EXHAUSTED[exhausted]} (--exhausted {exhausted})."
    yield ""
    yield f"{'store':<24}{'share':>9}{'windows':>16}{'tokens':>20}{'epochs':>10}"
    for source in planned.sources:
        row = f"{plain.visible(source.name):<24}{float(source.share):>9.2%}{source.n_windows:>16,}"
        yield f"{row}{source.n_windows * planned.max_length:>20,}{float(source.epochs):>10,.2f}"
    for source in planned.sources:
        if source.used_up is not None:
            at = source.used_up // schedule.windows_per_step + 1
            yield f"{plain.visible(source.name)} has no more windows from step {at:,} of a pass on."


def _values(planned: MixturePlan, exhausted: str) -> dict[str, Any]:
    """Return the same as values of a JSON object."""
    return {
        "exhausted": exhausted,
        "n_steps": planned.n_steps,
        "n_windows": planned.n_windows,
        "n_tokens": planned.n_tokens,
        "passes": float(planned.passes),
        "windows_per_step": planned.schedule.windows_per_step,
        "steps_per_pass": planned.schedule.steps_per_epoch,
        "windows_per_pass": planned.schedule.windows_per_epoch,
        "left_out": planned.schedule.left_out,
    }


def check_unmixed(given: Mapping[str, object]) -> None:
    """Raise `UsageError` for options of a mixture, by their values, where there is one store."""
    options = [option for option, value in given.items() if value is not None]
    if options:
        raise UsageError(f"{list_names(options)}: for a mixture, such as web/=0.7 code/=0.3; leave it out")
