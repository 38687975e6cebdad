"""`inspect --step`: which windows steps of a training run took, and which documents and bytes of files they saw."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from llmprep.choices import WhichVocabulary
from llmprep.cli.batches import Batches
from llmprep.cli.looking import Look, find_text, word_place
from llmprep.cli.options import Ranks, Split, filled
from llmprep.cli.picture import Pictures
from llmprep.cli.printer import Printer
from llmprep.errors import UsageError, plural, shorten
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.pytorch.steps import SeenWindow
    from llmprep.windows.schedule import Sampling

FILES_SHOWN = 24
WINDOWS_SHOWN = 32
"""On a terminal; a pipe gets a line for each."""
PLACES_SHOWN = 3


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
    batches: Batches = field(default_factory=Batches)

    def chosen(self, look: Look, pictures: Pictures, others: Mapping[str, object]) -> bool:
        """Tell whether steps are wanted. Raises `UsageError` for an option that would not be heeded."""
        if self.step is None:
            own = {"--epoch": self.epoch, "--ranks": self.ranks, "--split": self.split}
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


@dataclass(frozen=True, slots=True)
class Run:
    """What else is known of the run: how its windows were cut, and the vocabulary that tells its bytes."""

    max_length: int | None
    stride: int | None
    which: WhichVocabulary | None
    vocab_dir: str | None


def show_steps(printer: Printer, path: str, steps: Steps, run: Run) -> None:
    """Say what steps of a run over a store, or a split of it, have seen."""
    from llmprep.formats.vocabularies import check_vocabulary
    from llmprep.inputs import open_input
    from llmprep.pytorch.steps import see_windows, take_windows
    from llmprep.store.reading import TokenStore
    from llmprep.windows.schedule import Sampling

    batches = steps.batches
    if run.max_length is None or batches.batch_size is None:
        raise UsageError("--step: needs the --max-length and the --batch-size of the run")
    store = open_input([path], split=steps.split, check=False, pipes="unread")
    if not isinstance(store, TokenStore):
        raise UsageError(f"{path}: is no token store, of which alone --step can tell what was seen")
    sampling = Sampling(
        run.max_length,
        run.stride or run.max_length,
        batches.batch_size,
        steps.ranks or 1,
        batches.drop_last,
        batches.seed or 0,
    )
    taken = take_windows(store, sampling, steps.span(), steps.epoch)
    refers = check_vocabulary(path, store.refers, run.which)
    text = find_text(printer, refers, run.vocab_dir)
    table = None if text is None or text.loses != "nothing" else text.decoder.table
    seen = see_windows(store, taken, sampling, table)
    found = Counter(name for each in seen for name in {place.name for place in each.places})
    counts = dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
    printer.lines(_lines(seen, counts, sampling, WINDOWS_SHOWN if printer.on_terminal else len(seen)))
    first, last = steps.span()
    facts = {"steps": [first, last], "epoch": steps.epoch, "split": store.split, **asdict(sampling)}
    files = [{"name": name, "n_windows": count} for name, count in counts.items()]
    values = {"command": "inspect", "path": path, **facts, "n_windows": len(seen), "files": files}
    printer.object(values, windows=map(asdict, seen))


def _lines(seen: Sequence[SeenWindow], counts: Mapping[str, int], sampling: Sampling, n_shown: int) -> Iterator[str]:
    """Yield what steps saw: how many windows of each file, then a line for each window."""
    steps, epochs = (_span([getattr(each, name) for each in seen], name) for name in ("step", "epoch"))
    batches = f"batches of {sampling.batch_size:,} on {plural(sampling.ranks, 'rank')}, seed {sampling.seed}"
    windows = f"{plural(len(seen), 'window')} of {sampling.max_length}"
    yield f"{steps} (from 1 on), {epochs} (from 0 on): {windows}, {batches}"
    for name, count in islice(counts.items(), FILES_SHOWN):
        yield f"  {plain.visible(shorten(name, 200))}: {plural(count, 'window')}"
    if len(counts) > FILES_SHOWN:
        yield f"  ... and {plural(len(counts) - FILES_SHOWN, 'more file')}"
    for each in islice(seen, n_shown):
        where = "; ".join(word_place(asdict(place)) for place in each.places[:PLACES_SHOWN])
        more = len(each.places) - PLACES_SHOWN
        tokens = f"tokens {each.first} to {each.first + sampling.max_length - 1}"
        begin = f"step {each.step}, rank {each.rank}, row {each.row}: window {each.window}, {tokens}: {where}"
        yield begin + (f"; and {plural(more, 'more place')}" if more > 0 else "")
    if n_shown < len(seen):
        yield f"... and {plural(len(seen) - n_shown, 'more window')}; a pipe and --json get all"


def _span(numbers: Sequence[int], noun: str) -> str:
    first, last = min(numbers), max(numbers)
    return f"{noun} {first}" if first == last else f"{noun}s {first} to {last}"
