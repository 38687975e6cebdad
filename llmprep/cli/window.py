"""`window`: texts or a tokens file -> input and target windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmprep import choices
from llmprep.cli.batches import Batches, show_batches
from llmprep.cli.groups import IdFile, Inputs, Target
from llmprep.cli.notes import find_decoder, left_out_words, say_notes, stream_values
from llmprep.cli.options import Stride, ValFraction, window_number
from llmprep.cli.picture import Pictures, find_vocabulary, title_of, with_text
from llmprep.cli.printer import Printer
from llmprep.cli.spread import spread
from llmprep.cli.unwritten import say_made
from llmprep.errors import UsageError, plural
from llmprep.preview import plain
from llmprep.preview.characters import split_lines

if TYPE_CHECKING:
    from llmprep.formats.windows import WindowOptions
    from llmprep.output.checking import Output
    from llmprep.preview.page import Page
    from llmprep.tokens.stream import Head, TokenStream
    from llmprep.windows.coverage import Coverage

CONTEXTS_SHOWN = 8
MAX_HEAD = 1 << 16


@dataclass(frozen=True, slots=True)
class Shape:
    """Which windows are cut, and how they are stored."""

    max_length: Annotated[
        int,
        typer.Option("--max-length", metavar="INT", parser=window_number, help="Take so many tokens into a window."),
    ] = choices.MAX_LENGTH
    stride: Stride = None
    val_fraction: ValFraction = None
    dense: Annotated[
        bool, typer.Option("--dense", help="Write each window's tokens anew, not views of one storage.")
    ] = False


@dataclass(frozen=True, slots=True)
class Look:
    """What is shown of the windows."""

    explain: Annotated[bool, typer.Option("--explain", help="Draw what max-length and stride do to this text.")] = False
    preview: Annotated[int, typer.Option("--preview", min=0, metavar="N", help="Show so many windows, or batches.")] = 2
    batches: Batches = field(default_factory=Batches)

    def check(self, printer: Printer, outputs: Sequence[Output], file: IdFile) -> None:
        """Raise `UsageError` for batches that cannot be shown, as where what is written cannot be read back."""
        if not self.batches.chosen(printer):
            return
        if file.dry_run:
            raise UsageError("--batch-size: --dry-run makes no windows to take batches of; leave one out")
        for output in outputs:
            if output.direct:
                raise UsageError(f"--batch-size: batches are read from the file that is written; {output.name} is none")


@spread
def window(texts: Inputs, shape: Shape, look: Look, file: IdFile, target: Target, pictures: Pictures) -> None:
    """Slice texts or a tokens file into input and target windows.

    Examples:
      llmprep window story.txt --max-length 256 --stride 128
      llmprep window story.txt --max-length 4 --explain --html story.html
      cat story.txt | llmprep window - -o windows.pt
    """
    from llmprep.cli.depfile import plan_depfile, write_depfile
    from llmprep.cli.dry_run import plan_windows, show_plan
    from llmprep.cli.naming import check_outputs, files_of, name_output, split_names
    from llmprep.cli.unwritten import is_only_shown, unwritten
    from llmprep.formats.windows import WindowOptions
    from llmprep.inputs import open_tokens

    printer, paths = pictures.printer(target.output), texts.paths()
    reading, val_fraction = texts.reading(printer), shape.val_fraction
    options = WindowOptions(shape.max_length, shape.stride or shape.max_length, file.resolved_dtype(), shape.dense)
    shows_only = is_only_shown(printer, paths, target, file)
    names = split_names("shown.pt" if shows_only else name_output(paths, target.output, "windows"), val_fraction)
    outputs = [] if shows_only else check_outputs(paths, names, target)
    look.check(printer, outputs, file)
    drawings = pictures.check(files_of(paths), outputs, force=target.force, dry_run=file.dry_run)
    depfile = plan_depfile(printer, paths, target, outputs, [texts.files_from], dry_run=file.dry_run)
    if file.dry_run:
        show_plan(printer, paths, reading, plan_windows(" and ".join(names), options, val_fraction))
        return
    preview, stream = Preview(printer, options, look), open_tokens(paths, reading)
    with unwritten(len(names), kept=bool(look.batches.batch_size)) as nowhere:
        with pictures.words.progress(stream.figures.counts):
            n_ids = max(preview.n_ids, pictures.n_ids)
            made = _write(stream, val_fraction, outputs or nowhere, options, n_ids, printer.note)
        write_depfile(depfile)
        say_notes(printer, stream.origin, stream.figures)
        preview.show_all(made)
        first, head, *_ = made[0]
        page = partial(_page, first, head, options, look.batches)
        drawings.write(printer, first.origin.name, lambda sheet: replace(preview, printer=sheet).show_all(made), page)


def _write(
    stream: TokenStream,
    val_fraction: float | None,
    outputs: Sequence[Output],
    options: WindowOptions,
    n_ids: int,
    note: Callable[[str], None],
) -> list[tuple[TokenStream, Head, Output, int]]:
    """Write the windows of a stream, or of its two parts; return the parts, each with its first ids."""
    from llmprep.formats.splitting import split_stream
    from llmprep.formats.windows import write_windows
    from llmprep.output.writing import open_outputs
    from llmprep.tokens.stream import Head

    with open_outputs(*outputs) as sinks:
        parts = [stream] if val_fraction is None else split_stream(stream, val_fraction)
        heads = [Head(n_ids) for _ in parts]
        headed = [part.through(head) for part, head in zip(parts, heads, strict=True)]
        sizes = [write_windows(sink, part, options, note) for sink, part in zip(sinks, headed, strict=True)]
    return list(zip(parts, heads, outputs, sizes, strict=True))


def _page(stream: TokenStream, head: Head, options: WindowOptions, batches: Batches) -> Page:
    from llmprep.preview.page import Page

    origin, n_tokens = stream.origin, stream.figures.n_tokens
    page = Page(title_of(origin.name), origin.encoding, n_tokens, head.ids, options.max_length, options.stride)
    return with_text(batches.on_page(page), find_vocabulary(origin.load_vocabulary))


@dataclass(frozen=True, slots=True)
class Preview:
    """Says what became of a stream, and shows its first windows."""

    printer: Printer
    options: WindowOptions
    look: Look

    @property
    def n_ids(self) -> int:
        """How many of a stream's first ids are needed to show its first windows."""
        from llmprep.preview.explain import MAX_WORDS

        needed = (self.look.preview - 1) * self.options.stride + self._length + 1
        explained = MAX_WORDS if self.look.explain else 0
        return max(explained, min(MAX_HEAD, needed) if self.look.preview else 0)

    @property
    def _length(self) -> int:
        """How much of a window is shown: all of it as JSON, as many contexts as a person reads in words."""
        length = self.options.max_length
        return length if self.printer.as_json else min(length, CONTEXTS_SHOWN)

    def show_all(self, made: Iterable[tuple[TokenStream, Head, Output, int]]) -> None:
        """Say what was made of each stream, with its first ids, its output and its size."""
        shown = [self.show(part, head.ids, output, n_bytes) for part, head, output, n_bytes in made]
        whole = shown[0] if len(shown) == 1 else {"command": "window", "train": shown[0], "val": shown[1]}
        self.printer.object(whole)

    def show(self, stream: TokenStream, head: list[int], output: Output, n_bytes: int) -> dict[str, Any]:
        """Say what was made of a stream; return it as the values of a JSON object."""
        from llmprep.cli.written import made_values
        from llmprep.windows.coverage import cover

        coverage = cover(stream.figures.n_tokens, self.options.max_length, self.options.stride)
        by_batches = bool(self.look.batches.batch_size)
        rows = [] if by_batches else self._first_windows(head)
        if not by_batches and len(rows) < min(self.look.preview, coverage.n_windows):
            limit = f"{len(rows)} shown; a preview reads the first {MAX_HEAD:,} tokens"
            self.printer.note(f"--preview {self.look.preview}: {limit}")
        batches = self._show_batches(stream, output) if by_batches else None
        if self.printer.words:
            self._say(stream, coverage, rows, head)
        left_out = left_out_words(len(stream.figures.counts), stream.figures.left_out)
        shape = f"[{coverage.n_windows}, {self.options.max_length}]"
        say_made(self.printer, output, f"input_ids and target_ids {shape}", n_bytes, left_out)
        return {
            **stream_values(stream.origin, stream.figures),
            "command": "window",
            **made_values(output, n_bytes),
            "max_length": self.options.max_length,
            "stride": self.options.stride,
            "n_windows": coverage.n_windows,
            "coverage": asdict(coverage),
            "windows": [{"input_ids": ids[:-1], "target_ids": ids[1:]} for ids in rows],
            **({} if batches is None else {"batches": batches}),
        }

    def _show_batches(self, stream: TokenStream, output: Output) -> dict[str, Any]:
        """Show the first batches of the file that was written."""
        decode = find_decoder(self.printer, stream.origin) if self.look.preview and self.printer.words else None
        shape = self.options.max_length, self.options.stride
        return show_batches(
            self.printer, output.path or Path(output.name), shape, self.look.batches, self.look.preview, decode
        )

    def _first_windows(self, head: list[int]) -> list[list[int]]:
        """Return what is shown of each window, its last target included; none that the head cuts short."""
        held = len(head) // self.options.stride + 1
        starts = (k * self.options.stride for k in range(min(self.look.preview, held)))
        rows = (head[start : start + self._length + 1] for start in starts)
        return [row for row in rows if len(row) == self._length + 1]

    def _say(self, stream: TokenStream, coverage: Coverage, rows: list[list[int]], head: list[int]) -> None:
        """Show the first windows, then say in a sentence, or explain, what became of all tokens."""
        from llmprep.preview.explain import summary

        decode = find_decoder(self.printer, stream.origin) if rows or self.look.explain else None
        for number, row in enumerate(rows):
            pairs = [(row[:k], row[k]) for k in range(1, len(row))]
            if self.printer.on_terminal and self.printer.width() >= plain.TABLE_COLUMNS:
                from llmprep.preview.screen import pair_table

                self.printer.render(pair_table(pairs, decode, title=f"window {number}"))
            else:
                self.printer.lines(plain.pair_lines(pairs, decode))
            if self.options.max_length > CONTEXTS_SHOWN:
                longer = self.options.max_length - CONTEXTS_SHOWN
                self.printer.lines([f"... and {plural(longer, 'longer context')} in this window"])
        if decode is not None:
            self.printer.lines(split_lines(rows, decode))
        self.printer.lines([summary(coverage, self.options.max_length, self.options.stride)])
        if self.look.explain:
            self._explain(coverage, head, decode)

    def _explain(self, coverage: Coverage, head: list[int], decode: plain.Decode | None) -> None:
        """Draw what max_length and stride do to this text."""
        from llmprep.preview.explain import explain_lines, find_drawn

        drawn = find_drawn(coverage.n_tokens, self.options.max_length, self.options.stride)
        if self.printer.on_terminal:
            from llmprep.preview.screen import in_colour

            lines = explain_lines(coverage, drawn, head, decode, width=self.printer.width())
            self.printer.render(in_colour(lines))
            return
        lines = explain_lines(coverage, drawn, head, decode)
        self.printer.lines(["", *("".join(text for text, _ in line).rstrip() for line in lines), ""])
