"""`plan`: how many steps, tokens and epochs a run over stores takes, and what is lost, before it is begun."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmprep.choices import MAX_LENGTH
from llmprep.cli.groups import Words
from llmprep.cli.mixed import MixedRun, check_unmixed, show_mixture, split_weights
from llmprep.cli.options import DropLast, Exhausted, MaxLengthOfText, Ranks, Split, Stride, filled
from llmprep.cli.spread import spread
from llmprep.errors import UsageError

if TYPE_CHECKING:
    from llmprep.windows.planning import Goal, RunPlan
    from llmprep.windows.schedule import Sampling

MAX_COUNT = 10**18
"""Largest number of steps, tokens and epochs."""
_SCALES = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def exact_number(given: str | Fraction) -> Fraction:
    """Parse a number such as 1.5, 3e9 or 300B, exactly."""
    found = re.fullmatch(r"([0-9]{1,20}(?:\.[0-9]{1,9})?(?:e[0-9]{1,2})?)([kMBT]?)", filled(str(given)))
    value = Fraction(0) if found is None else Fraction(found[1]) * _SCALES[found[2]]
    if not 0 < value <= MAX_COUNT:
        raise typer.BadParameter(f"{given} is not a number such as 1.5, 3e9 or 300B")
    return value


def whole_number(given: str | int) -> int:
    """Parse a number such as 20000, 3e9 or 300B, which must be whole."""
    value = exact_number(str(given))
    if value.denominator != 1:
        raise typer.BadParameter(f"{given} is not a whole number")
    return int(value)


@dataclass(frozen=True, slots=True)
class Taking:
    """Which windows there are, and how many of them a step takes."""

    max_length: MaxLengthOfText = None
    stride: Stride = None
    split: Split = None
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="N", min=1, max=2**31 - 1, help="Take N windows a step on each rank.")
    ] = 1
    ranks: Ranks = None
    drop_last: DropLast = False
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", metavar="INT", min=0, max=2**64 - 1, help="Mix stores in the order of this seed. Default: 0."
        ),
    ] = None
    exhausted: Exhausted = None

    def sampling(self, max_length: int, stride: int | None) -> Sampling:
        """Return how windows of these sizes are taken."""
        from llmprep.windows.schedule import Sampling

        sizes = max_length, stride or max_length, self.batch_size, self.ranks or 1
        return Sampling(*sizes, self.drop_last, self.seed or 0)


@dataclass(frozen=True, slots=True)
class Length:
    """How long the run is."""

    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", parser=whole_number, help="Plan a run of N steps.")
    ] = None
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens", metavar="N", parser=whole_number, help="Plan a run of N tokens or a few more, as 3e9 or 300B."
        ),
    ] = None
    epochs: Annotated[
        Fraction | None,
        typer.Option(
            "--epochs", metavar="N", parser=exact_number, help="Plan a run of N epochs, as 3 or 1.5. Default: 1."
        ),
    ] = None

    def goal(self) -> Goal:
        """Return it as a value. Raises `UsageError` for two of the options."""
        from llmprep.windows.planning import Goal

        return Goal(self.steps, self.tokens, self.epochs)


@dataclass(frozen=True, slots=True)
class Named:
    """What the run takes windows of."""

    stores: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STORE...",
            parser=filled,
            help="A token store, a tokens or a windows file; or stores with weights, as web/=0.7 code/=0.3, or with "
            "the names that a WindowMixture gives them, as web=data/w/=0.7.",
            show_default=False,
        ),
    ] = None

    def paths(self) -> list[str]:
        """Return the names, one or more."""
        if not self.stores:
            raise UsageError("Missing argument 'STORE...'; name a token store, or a tokens or windows file")
        return self.stores


@spread
def plan(
    named: Named,
    taking: Taking,
    length: Length,
    words: Words,
) -> None:
    """Say how many steps, tokens and epochs a run takes, what is lost, and what it needs; nothing is read through.

    Examples:
      llmprep plan store/ --max-length 2048 --batch-size 32 --ranks 64 --tokens 300B
      llmprep plan store/ --split train --max-length 1024 --stride 512 --epochs 3 --json
      llmprep plan web/=0.7 code/=0.3 --max-length 2048 --batch-size 32 --steps 20000
    """
    printer, goal = words.printer(), length.goal()
    mixed = split_weights(named.paths())
    if mixed is None:
        check_unmixed({"--seed": taking.seed, "--exhausted": taking.exhausted})
        stream = _measure(named.paths()[0], taking)
        planned = stream.plan(taking, goal)
        printer.lines(_lines(stream, planned))
        printer.object({"command": "plan", **_values(stream, planned)})
        return
    sampling = taking.sampling(taking.max_length or MAX_LENGTH, taking.stride)
    show_mixture(printer, mixed, taking.split, MixedRun(sampling, goal, taking.exhausted or "repeat"))


@dataclass(frozen=True, slots=True)
class Stream:
    """The windows of a store or file: how many tokens they are cut from, their sizes, and its bytes on disk."""

    path: str
    split: str | None
    n_tokens: int
    max_length: int
    stride: int
    n_bytes: int

    @property
    def name(self) -> str:
        """What it is called."""
        return self.path if self.split is None else f"{self.path} ({self.split})"

    def plan(self, taking: Taking, goal: Goal) -> RunPlan:
        """Return what a run takes of it."""
        from llmprep.windows.planning import plan_run

        return plan_run(self.n_tokens, taking.sampling(self.max_length, self.stride), goal, self.name)


def _measure(name: str, taking: Taking) -> Stream:
    """Open what is named, without reading it through. Raises `UsageError` for texts, whose tokens nobody knows."""
    from llmprep.formats.meta import checked_meta
    from llmprep.formats.tokens import read_tokens
    from llmprep.formats.windows import read_windows
    from llmprep.inputs import open_input
    from llmprep.ptfile.reading import PtFile
    from llmprep.store.reading import TokenStore

    max_length = taking.max_length or MAX_LENGTH
    stride = taking.stride or max_length
    match open_input([name], split=taking.split, check=False, pipes="unread"):
        case TokenStore() as store:
            n_bytes = sum(shard.bytes for shard in store.manifest.shards)
            return Stream(name, taking.split, len(store), max_length, stride, n_bytes)
        case PtFile() as file if "input_ids" in file.tensors:
            read_windows(file, taking.max_length, taking.stride)
            meta = checked_meta(file)
            sizes = meta["options"]["max_length"], meta["options"]["stride"]
            return Stream(name, None, meta["n_tokens"], *sizes, _size(name))
        case PtFile() as file:
            return Stream(name, None, len(read_tokens(file)), max_length, stride, _size(name))
        case _:
            raise UsageError(f"{name}: is no token store and no .pt file; llmprep window --dry-run estimates a text")


def _size(name: str) -> int:
    from pathlib import Path

    return Path(name).stat().st_size


def _lines(stream: Stream, planned: RunPlan) -> Iterator[str]:
    from llmprep.preview.planned import context_lines, room_line, run_lines

    yield from run_lines(stream.name, planned)
    yield room_line(planned.schedule, planned.max_length, stream.n_bytes)
    yield ""
    yield from context_lines(planned.contexts(), planned.coverage, planned.max_length)


def _values(stream: Stream, planned: RunPlan) -> dict[str, Any]:
    """Return the plan as values of a JSON object."""
    from llmprep.windows.planning import batch_bytes

    return {
        "max_length": planned.max_length,
        "stride": planned.stride,
        "batch_size": planned.schedule.batch_size,
        "ranks": planned.schedule.ranks,
        "n_steps": planned.n_steps,
        "n_windows": planned.n_windows,
        "n_tokens": planned.n_tokens,
        "windows_per_step": planned.schedule.windows_per_step,
        "batch_bytes": batch_bytes(planned.schedule.batch_size, planned.max_length),
        "stores": [_stream_values(stream, planned)],
    }


def _stream_values(stream: Stream, planned: RunPlan) -> dict[str, Any]:
    schedule = planned.schedule
    return {
        "path": stream.path,
        "split": stream.split,
        "n_windows": planned.n_windows,
        "n_tokens": planned.n_tokens,
        "epochs": float(planned.epochs),
        "steps_per_epoch": schedule.steps_per_epoch,
        "windows_per_epoch": schedule.windows_per_epoch,
        "left_out": schedule.left_out,
        "bytes": stream.n_bytes,
        "coverage": asdict(planned.coverage),
        "contexts": [asdict(each) for each in planned.contexts()],
    }
