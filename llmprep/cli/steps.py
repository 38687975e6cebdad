"""`inspect --step`: which windows steps of a training run took, and which documents and bytes of files they saw."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from llmprep.cli.batches import Batches
from llmprep.cli.looking import Look, find_text, word_place
from llmprep.cli.mixed import Weighed, check_unmixed, open_stores, split_weights
from llmprep.cli.options import Exhausted, Ranks, Split, filled
from llmprep.cli.picture import Pictures
from llmprep.cli.printer import Printer
from llmprep.cli.subject import Subject
from llmprep.errors import UsageError, plural, shorten
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.pytorch.steps import SeenWindow
    from llmprep.store.reading import TokenStore
    from llmprep.windows.schedule import Sampling

FILES_SHOWN = 24
WINDOWS_SHOWN = 32
"""On a terminal; a pipe gets a line for each."""
PLACES_SHOWN = 3
Counts: TypeAlias = Mapping[tuple[str | None, str], int]
"""How many windows there are of each file, by its store in a mixture, and its name."""
Table: TypeAlias = Mapping[int, bytes] | None
"""The bytes of each id, where they tell those of a text."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Which steps of a training run are looked at, and who took them."""

    step: Annotated[
        str | None,
        typer.Option(
            "--step",
            metavar="A-B",
            parser=filled,
            help="Say which documents and bytes steps A to B, from 1 on, have seen, of a WindowSampler of this --seed "
            "(default: 0) and batches of --batch-size on each of --ranks.",
        ),
    ] = None
    epoch: Annotated[
        int | None,
        typer.Option("--epoch", metavar="N", min=0, help="Count the steps within epoch N. Default: over all epochs."),
    ] = None
    ranks: Ranks = None
    split: Split = None
    exhausted: Exhausted = None
    batches: Batches = field(default_factory=Batches)

    def chosen(self, look: Look, pictures: Pictures, others: Mapping[str, object]) -> bool:
        """Tell whether steps are wanted. Raises `UsageError` for an option that would not be heeded."""
        if self.step is None:
            own = {"--epoch": self.epoch, "--ranks": self.ranks, "--split": self.split}
            own["--exhausted"] = self.exhausted
            for option in [option for option, value in own.items() if value is not None]:
                raise UsageError(f"{option}: is only used with --step")
            return False
        given = {
            "--window, --around, --where": look.inside,
            "--shuffle": self.batches.shuffle,
            "--html, --svg": pictures.html is not None or pictures.svg is not None,
            **others,
        }
        for option in [option for option, is_given in given.items() if is_given]:
            raise UsageError(f"{option}: is not used with --step; leave it out")
        return True

    def span(self) -> tuple[int, int]:
        """Return the first and the last step."""
        found = re.fullmatch(r"([0-9]{1,15})(?:-([0-9]{1,15}))?", self.step or "")
        if found is None:
            raise UsageError(f"--step {self.step}: must be a step, as 7, or the first and the last, as 100-110")
        return int(found[1]), int(found[2] or found[1])


def _see(
    stores: Mapping[str, TokenStore], mixed: Sequence[Weighed] | None, sampling: Sampling, steps: Steps, table: Table
) -> list[SeenWindow]:
    """Return what the steps saw of one store, or of a mixture."""
    from llmprep.pytorch.mixture_plan import mix_stores, see_mixture, take_mixture
    from llmprep.pytorch.steps import see_windows, take_windows

    if mixed is None:
        (store,) = stores.values()
        return see_windows(store, take_windows(store, sampling, steps.span(), steps.epoch), sampling, table)
    weights = {each.name: each.weight for each in mixed}
    mixing = mix_stores(stores, weights, sampling, steps.exhausted or "repeat")
    return see_mixture(stores, take_mixture(mixing, sampling, steps.span(), steps.epoch), sampling, table)


def show_steps(printer: Printer, subject: Subject, steps: Steps) -> None:
    """Say what steps of a run over a store, or a split of it, or over a mixture of stores, have seen."""
    from llmprep.formats.vocabularies import check_vocabulary
    from llmprep.windows.schedule import Sampling

    batches, mixed = steps.batches, split_weights(subject.paths)
    if subject.max_length is None or batches.batch_size is None:
        raise UsageError("--step: needs the --max-length and the --batch-size of the run")
    sizes = subject.max_length, subject.stride or subject.max_length, batches.batch_size, steps.ranks or 1
    sampling = Sampling(*sizes, batches.drop_last, batches.seed or 0)
    if mixed is None:
        check_unmixed({"--exhausted": steps.exhausted})
    stores = open_stores(mixed or [Weighed("", subject.paths[0], Fraction(1))], steps.split)
    store = next(iter(stores.values()))
    refers = check_vocabulary(str(store.folder), store.refers, subject.which())
    text = find_text(printer, refers, subject.vocab_dir)
    table = None if text is None or text.loses != "nothing" else text.decoder.table
    seen = _see(stores, mixed, sampling, steps, table)
    counts = _count_files(seen)
    first, last = steps.span()
    printer.lines(_lines(seen, counts, sampling, WINDOWS_SHOWN if printer.on_terminal else len(seen)))
    facts = {"steps": [first, last], "epoch": steps.epoch, "split": steps.split, **asdict(sampling)}
    files = [{"source": source, "name": name, "n_windows": n} for (source, name), n in counts.items()]
    values = {"command": "inspect", "paths": [*subject.paths], **facts, "n_windows": len(seen), "files": files}
    printer.object(values, windows=map(asdict, seen))


def _lines(seen: Sequence[SeenWindow], counts: Counts, sampling: Sampling, n_shown: int) -> Iterator[str]:
    """Yield what steps saw: how many windows of each file, then a line for each window."""
    steps, epochs = (_span([getattr(each, name) for each in seen], name) for name in ("step", "epoch"))
    batches = f"batches of {sampling.batch_size:,} on {plural(sampling.ranks, 'rank')}, seed {sampling.seed}"
    windows = f"{plural(len(seen), 'window')} of {sampling.max_length}"
    yield f"{steps} (from 1 on), {epochs} (from 0 on): {windows}, {batches}"
    for (source, name), count in islice(counts.items(), FILES_SHOWN):
        yield f"  {_of(source)}{plain.visible(shorten(name, 200))}: {plural(count, 'window')}"
    if len(counts) > FILES_SHOWN:
        yield f"  ... and {plural(len(counts) - FILES_SHOWN, 'more file')}"
    for each in islice(seen, n_shown):
        where = "; ".join(word_place(asdict(place)) for place in each.places[:PLACES_SHOWN])
        more = len(each.places) - PLACES_SHOWN
        tokens = f"tokens {each.first} to {each.first + sampling.max_length - 1}"
        window = f"step {each.step}, rank {each.rank}, row {each.row}: {_of(each.source)}window {each.window}"
        yield f"{window}, {tokens}: {where}" + (f"; and {plural(more, 'more place')}" if more > 0 else "")
    if n_shown < len(seen):
        yield f"... and {plural(len(seen) - n_shown, 'more window')}; a pipe and --json get all"


def _count_files(seen: Sequence[SeenWindow]) -> Counts:
    """Return how many windows have tokens of each file, those of the most windows first."""
    found = Counter(name for each in seen for name in {(each.source, place.name) for place in each.places})
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0][0] or "", item[0][1])))


def _of(source: str | None) -> str:
    """Return what is said of the store, in a mixture, before what is of it."""
    return "" if source is None else f"{plain.visible(source)} "


def _span(numbers: Sequence[int], noun: str) -> str:
    first, last = min(numbers), max(numbers)
    return f"{noun} {first}" if first == last else f"{noun}s {first} to {last}"
