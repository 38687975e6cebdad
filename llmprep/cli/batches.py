"""The first batches that a DataLoader gives, as the course prints them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmprep.choices import SEED
from llmprep.cli.options import DropLast, Shuffle
from llmprep.cli.printer import Printer
from llmprep.errors import UsageError
from llmprep.preview.batches import epoch_line, row_lines

if TYPE_CHECKING:
    from llmprep.preview.characters import Shown
    from llmprep.preview.page import Page
    from llmprep.pytorch.first_batches import Batching, Epoch

PIPE_COLUMNS = 100
"""Columns of the text of a row that goes into a pipe."""


@dataclass(frozen=True, slots=True)
class Batches:
    """How windows make batches, the first of which are shown."""

    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            metavar="N",
            min=1,
            max=2**31 - 1,
            help="Show the first batches of N windows that the DataLoader gives.",
        ),
    ] = None
    shuffle: Shuffle = False
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", metavar="INT", min=0, max=2**64 - 1, help=f"Shuffle with this seed of torch. Default: {SEED}."
        ),
    ] = None
    drop_last: DropLast = False

    def chosen(self, printer: Printer) -> bool:
        """Tell whether batches are wanted. Raises `UsageError` for an option that would not be heeded."""
        given = {"--shuffle": self.shuffle, "--seed": self.seed is not None, "--drop-last": self.drop_last}
        for option in [name for name, is_given in given.items() if is_given and self.batch_size is None]:
            raise UsageError(f"{option}: is only used with --batch-size")
        if self.seed is not None and not self.shuffle:
            raise UsageError("--seed: is only used with --shuffle")
        if self.batch_size is not None and printer.quiet:
            raise UsageError("--batch-size: shows batches, and --quiet shows nothing; leave one out")
        return self.batch_size is not None

    def on_page(self, page: Page) -> Page:
        """Return a page that begins with these batches."""
        if self.batch_size is None:
            return page
        chosen = self.batching()
        return replace(
            page, batch_size=chosen.batch_size, shuffle=chosen.shuffle, seed=chosen.seed, drop_last=chosen.drop_last
        )

    def batching(self) -> Batching:
        """Return how batches are made."""
        from llmprep.pytorch.first_batches import Batching

        return Batching(self.batch_size or 1, self.shuffle, self.drop_last, SEED if self.seed is None else self.seed)


def show_batches(
    printer: Printer, path: Path, shape: tuple[int, int], batches: Batches, count: int, decode: Shown | None
) -> dict[str, Any]:
    """Show the first ``count`` batches of a tokens or windows file, or a store; return them for a JSON object.

    ``shape`` is max_length and stride; ``decode`` makes text of ids, where the vocabulary is at hand.
    """
    from llmprep.pytorch.first_batches import first_batches

    batching = batches.batching()
    epoch = first_batches(path, *shape, batching, count)
    if printer.words:
        printer.lines(_lines(printer, epoch, batching, decode))
        sizes = epoch.n_windows, epoch.n_batches, batching.batch_size, epoch.n_last, epoch.n_dropped
        printer.lines([epoch_line(*sizes)])
    return {
        "batch_size": batching.batch_size,
        "shuffle": batching.shuffle,
        "seed": batching.seed if batching.shuffle else None,
        "drop_last": batching.drop_last,
        "n_batches": epoch.n_batches,
        "n_last": epoch.n_last,
        "n_dropped": epoch.n_dropped,
        "first": [{"input_ids": x.tolist(), "target_ids": y.tolist()} for x, y in epoch.first],
    }


def _lines(printer: Printer, epoch: Epoch, batching: Batching, decode: Shown | None) -> Iterator[str]:
    from llmprep.pytorch.first_batches import tensor_lines

    width = printer.width() if printer.on_terminal else PIPE_COLUMNS
    order = f", shuffled as after torch.manual_seed({batching.seed})" if batching.shuffle else ""
    for number, (inputs, targets) in enumerate(epoch.first):
        yield f"batch {number}{order}"
        for name, tensor in (("Inputs", inputs), ("Targets", targets)):
            yield f"{name}:"
            first, *rest = tensor_lines(tensor, width - 1)
            yield f" {first}"
            yield from [*rest, ""]
        if decode is not None:
            yield from [*row_lines(inputs.tolist(), targets[:, -1].tolist(), decode, width), ""]
