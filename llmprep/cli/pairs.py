"""`pairs`: growing contexts, each with the token that follows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from llmprep.cli.groups import Inputs, Target
from llmprep.cli.notes import left_out_values, say_notes
from llmprep.cli.options import window_number
from llmprep.cli.picture import LINES_DRAWN, Drawings, Pictures, title_of, with_text
from llmprep.cli.printer import Printer
from llmprep.cli.spread import spread
from llmprep.errors import UsageError
from llmprep.preview import plain
from llmprep.preview.characters import split_lines

if TYPE_CHECKING:
    from llmprep.output.checking import Output
    from llmprep.preview.page import Page
    from llmprep.tokens.decoding import Decoder
    from llmprep.tokens.stream import TokenStream
    from llmprep.vocabulary.vocabulary import Vocabulary
    from llmprep.windows.pairs import Pairs


IDS_LOOKED_AT = 256
"""In how many of the first ids characters are looked for that are split among tokens."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """Which contexts are grown."""

    context_size: Annotated[
        int,
        typer.Option(
            "--context-size", metavar="INT", parser=window_number, help="Grow contexts of up to so many tokens."
        ),
    ] = 4
    start: Annotated[
        int, typer.Option("--start", min=0, metavar="INT", help="Start at this token, counted from 0.")
    ] = 0
    windows: Annotated[
        int,
        typer.Option(
            "--windows", metavar="N", min=1, max=1_000_000, help="Grow the contexts of so many neighbouring windows."
        ),
    ] = 1


@spread
def pairs(texts: Inputs, contexts: Contexts, target: Target, pictures: Pictures) -> None:
    """Show growing contexts, each with the token that follows; -o writes them.

    Examples:
      llmprep pairs story.txt --start 50
      llmprep pairs store/ --context-size 8 -o pairs.pt
    """
    from llmprep.cli.depfile import plan_depfile, write_depfile
    from llmprep.cli.written import made_line, made_values
    from llmprep.inputs import open_tokens
    from llmprep.tokens.decoding import Decoder
    from llmprep.tokens.spooling import open_spool
    from llmprep.tokens.stream import Head
    from llmprep.windows.pairs import Pairs
    from llmprep.windows.views import take_span

    printer, paths = pictures.printer(target.output), texts.paths()
    output, drawings = _check_outputs(paths, target, pictures)
    depfile = plan_depfile(printer, paths, target, [output] if output else [], [texts.files_from])
    stream, size, head = open_tokens(paths, texts.reading(printer)), contexts.context_size, Head(pictures.n_ids)
    n_ids, to_the_end = size * contexts.windows + 1, output is not None or drawings.html is not None
    span = take_span(stream.through(head), contexts.start, n_ids, name=stream.origin.name, to_the_end=to_the_end)
    with open_spool() as ids:
        with pictures.words.progress(stream.figures.counts), closing(stream):
            ids.fill(span)
        vocabulary = stream.origin.load_vocabulary(printer.note)
        grown = Pairs(ids, size, contexts.windows, _pad_id(vocabulary, output))
        n_bytes = _write(output, grown, _meta(stream, contexts)) if output else 0
        write_depfile(depfile)
        say_notes(printer, stream.origin, stream.figures)
        made = made_values(output, n_bytes) if output else {"output": None}
        values = {"command": "pairs", "encoding": stream.origin.encoding, **made}
        values |= left_out_values(stream.figures.left_out)
        decoder = Decoder.of(vocabulary)
        _show(values, grown, decoder, printer)
        if output is not None:
            printer.lines([made_line(output, f"contexts, lengths and targets [{len(grown)}]", n_bytes)])
        few = _first(grown)
        show, page = partial(_show, values, few, decoder), partial(_page, stream, contexts, head.ids, few)
        drawings.write(printer, stream.origin.name, show, lambda: with_text(page(), vocabulary))


def _pad_id(vocabulary: Vocabulary, output: Output | None) -> int:
    """Return the id that fills contexts up in a file; without a file nothing is filled up."""
    return vocabulary.require_eot("-o fills contexts up with it; leave it out") if output else 0


def _first(grown: Pairs) -> Pairs:
    """Return the first pairs, as many as a picture shows."""
    size = min(grown.context_size, LINES_DRAWN)
    n_windows = 1 if size < grown.context_size else min(grown.n_windows, -(-LINES_DRAWN // size))
    return replace(grown, context_size=size, n_windows=n_windows)


def _check_outputs(paths: list[str], target: Target, pictures: Pictures) -> tuple[Output | None, Drawings]:
    from llmprep.cli.naming import files_of, refuse_promises
    from llmprep.output.checking import check_output

    if target.output:
        refuse_promises(target.output, force=target.force)
    inputs = files_of(paths)
    output = check_output(target.output, inputs, force=target.force) if target.output else None
    drawings = pictures.check(inputs, [output], force=target.force)
    if target.force and output is None and not drawings.wanted:
        raise UsageError("--force: is only used with -o, --html or --svg")
    return output, drawings


def _page(stream: TokenStream, contexts: Contexts, head: list[int], grown: Pairs) -> Page:
    from llmprep.preview.page import CELLS_SHOWN, Page

    origin, size, pairs = stream.origin, contexts.context_size, list(islice(grown, CELLS_SHOWN))
    return Page(title_of(origin.name), origin.encoding, stream.figures.n_tokens, head, size, size, pairs=pairs)


def _write(output: Output, grown: Pairs, meta: dict[str, object]) -> int:
    from llmprep.formats.pairs import write_pairs
    from llmprep.output.writing import open_output

    with open_output(output) as sink:
        return write_pairs(sink, grown, meta)


def _meta(stream: TokenStream, contexts: Contexts) -> dict[str, object]:
    from llmprep.formats.meta import make_meta

    chosen = {"start": contexts.start, "context_size": contexts.context_size, "windows": contexts.windows}
    return make_meta("pairs", stream.origin, stream.figures, **chosen, dtype="int64")


def _show(values: Mapping[str, object], grown: Pairs, decoder: Decoder, printer: Printer) -> None:
    """Show each context and its target."""
    if printer.as_json:
        shown = (
            {
                "context": context,
                "target": target,
                "context_text": decoder.text(context),
                "target_text": decoder.text([target]),
            }
            for context, target in grown
        )
        printer.object(values, pairs=shown)
        return
    if printer.words and printer.on_terminal and printer.width() >= plain.TABLE_COLUMNS:
        from llmprep.preview.screen import table_parts

        for part in table_parts(grown, decoder, printer.draw, printer.width()):
            printer.text(part)
    elif printer.words:
        printer.lines(plain.pair_lines(grown, decoder))
    printer.lines(split_lines([grown.ids[0 : min(IDS_LOOKED_AT, len(grown) + 1)].tolist()], decoder))
