"""`tokenize --count` and `--ids`: what each input holds, a line for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmprep.choices import Reading
from llmprep.cli.groups import IdFile, Target
from llmprep.cli.notes import left_out_values, left_out_words, say_notes
from llmprep.cli.printer import Printer
from llmprep.cli.store import Shards
from llmprep.errors import EmptyError, UsageError
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.documents.source import LeftOut
    from llmprep.tokens.stream import TokenStream
    from llmprep.tokens.tiktoken import Ids


@dataclass(frozen=True, slots=True)
class Listing:
    """What is printed for each input, instead of one file being written."""

    count: Annotated[
        bool, typer.Option("--count", help="Print how many tokens each file has, and a total; write nothing.")
    ] = False
    ids: Annotated[bool, typer.Option("--ids", help="Print the ids, a line for each file; write nothing.")] = False

    def refuse_rest(self, target: Target, file: IdFile, shards: Shards) -> None:
        """Raise `UsageError` for options that only what is written heeds."""
        rest = (
            target.output,
            target.force,
            target.depfile,
            file.dtype,
            file.dry_run,
            shards.shard_bytes,
            shards.shard_tokens,
        )
        if (self.count and self.ids) or any(rest):
            raise UsageError(
                "--count and --ids write no file, and cannot be combined with each other or with options of a file"
            )


def print_counts(printer: Printer, paths: list[str], reading: Reading) -> None:
    """Print tokens per input as ``wc`` does, and a total if there are several."""
    from llmprep.inputs import open_each

    counts: list[tuple[int, str]] = []
    left_out: Sequence[LeftOut] = ()
    for stream in open_each(paths, reading):
        counts.append((sum(map(len, _blocks(stream))), plain.visible(stream.origin.name)))
        left_out = stream.figures.left_out
        if stream.figures.n_tokens:
            say_notes(printer, stream.origin, stream.figures)
    total = sum(count for count, _ in counts)
    if not total:
        raise _all_empty(name for _, name in counts)
    width = len(str(total))
    rows = [*counts, (total, "total")] if len(counts) > 1 else counts
    printer.lines(f"{count:>{width}} {name}" for count, name in rows)
    values = {"command": "tokenize", "counts": [{"name": n, "tokens": c} for c, n in counts], "n_tokens": total}
    printer.object(values | left_out_values(left_out))
    if left_out:
        printer.note(left_out_words(len(counts), left_out).removeprefix("; "))


def _blocks(stream: TokenStream) -> Iterator[Ids]:
    """Yield a stream's blocks; one that is empty has none, which among others is no error."""
    try:
        yield from stream
    except EmptyError:
        return


def _all_empty(names: Iterable[str]) -> EmptyError:
    return EmptyError(f"{', '.join(names)}: empty: 0 tokens")


def print_ids(printer: Printer, paths: list[str], reading: Reading) -> None:
    """Print each input's ids on one line, as they come, or all in one object; an empty one among others has none."""
    from llmprep.inputs import open_each

    rows: list[dict[str, Any]] = []
    left_out: Sequence[LeftOut] = ()
    lines = _IdLines(printer)
    for stream in open_each(paths, reading):
        row: list[int] = []
        for block in _blocks(stream):
            ids = block.tolist()
            row += ids if printer.as_json else ()
            lines.add(ids)
        lines.end()
        left_out = stream.figures.left_out
        rows.append({"name": plain.visible(stream.origin.name), "token_ids": row})
        if stream.figures.n_tokens:
            say_notes(printer, stream.origin, stream.figures)
    if not lines.begun:
        raise _all_empty(row["name"] for row in rows)
    printer.object({"command": "tokenize", "ids": rows, **left_out_values(left_out)})
    if left_out:
        printer.note(left_out_words(len(rows), left_out).removeprefix("; "))


@dataclass(slots=True)
class _IdLines:
    """Prints ids line by line; blank lines wait for the first id, as without any the run is an error."""

    printer: Printer
    begun: bool = False
    gap: str = ""
    used: int = 0

    def add(self, ids: list[int]) -> None:
        if self.printer.on_terminal:
            self.printer.text(self.gap.strip(" ") + "".join(self._wrapped(ids, self.printer.width())))
        else:
            self.printer.text(self.gap + " ".join(map(str, ids)))
        self.begun, self.gap = True, " "

    def _wrapped(self, ids: list[int], width: int) -> Iterator[str]:
        """Yield ids, each with what sets it off, in lines of a terminal, which would break one at its edge."""
        for shown in map(str, ids):
            if not self.used or self.used + 1 + len(shown) > width:
                yield ("\n" if self.used else "") + shown
                self.used = len(shown)
            else:
                yield f" {shown}"
                self.used += 1 + len(shown)

    def end(self) -> None:
        if self.begun:
            self.printer.text("\n")
            self.gap, self.used = "", 0
        else:
            self.gap += "\n"
