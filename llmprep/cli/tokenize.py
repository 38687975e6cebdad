"""`tokenize`: texts -> one file of token ids, a token store, or ids and counts as lines."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmprep import choices
from llmprep.cli.groups import IdFile, Inputs, Target
from llmprep.cli.listing import Listing, print_counts, print_ids
from llmprep.cli.notes import find_decoder, left_out_words, say_notes, stream_values
from llmprep.cli.picture import PAGE_LENGTH, Pictures, find_vocabulary, title_of, with_text
from llmprep.cli.printer import Printer
from llmprep.cli.spread import spread
from llmprep.cli.store import Shards, make_store, plan_store
from llmprep.cli.unwritten import say_made
from llmprep.errors import UsageError, plural, shorten
from llmprep.preview import plain
from llmprep.preview.characters import split_lines

if TYPE_CHECKING:
    from llmprep.output.checking import Output
    from llmprep.preview.page import Page
    from llmprep.tokens.decoding import Decoder
    from llmprep.tokens.stream import TokenStream

TOKENS_SHOWN = 48
IDS_SHOWN = 16


@dataclass(frozen=True, slots=True)
class BoundedTexts:
    """Texts, and where a document begins among their tokens."""

    texts: Inputs
    boundaries: Annotated[
        choices.Boundaries | None,
        typer.Option(
            "--boundaries",
            help="Note, as document_starts, where a document begins: where an input or record does (documents), or "
            "also after each end-of-text token in a text (text). Default: documents.",
        ),
    ] = None

    def reading(self, printer: Printer) -> choices.Reading:
        """Return how the texts are read."""
        reading = self.texts.reading(printer)
        if self.boundaries is None:
            return reading
        return replace(reading, options=replace(reading.options or choices.TextOptions(), boundaries=self.boundaries))


@spread
def tokenize(
    documents: BoundedTexts, listing: Listing, file: IdFile, shards: Shards, target: Target, pictures: Pictures
) -> None:
    """Encode texts into one file of token ids, or into a token store (-o FOLDER/).

    Examples:
      llmprep tokenize story.txt
      llmprep tokenize corpus/ -o store/ --val-fraction 0.1
      llmprep tokenize --count *.txt | sort -n
    """
    from llmprep.cli.depfile import plan_depfile, write_depfile

    printer, texts = pictures.printer(target.output), documents.texts
    paths, as_store, reading = texts.paths(), shards.wanted(target.output), documents.reading(printer)
    if as_store and texts.text is not None:
        raise UsageError("--text: a token store is built from files; put the text into one")
    if listing.count or listing.ids:
        pictures.refuse("--count and --ids draw nothing; leave one out")
        listing.refuse_rest(target, file, shards)
        if documents.boundaries is not None:
            raise UsageError("--boundaries: --count and --ids write no file that notes them; leave one out")
        (print_counts if listing.count else print_ids)(printer, paths, reading)
    elif as_store:
        pictures.refuse("a token store is shown when it is built, by llmprep inspect STORE/")
        shards.refuse_rest(target, file)
        manifest = str(Path(target.output or "", "manifest.json"))
        depfile = plan_depfile(printer, paths, target, [manifest], [texts.files_from], dry_run=file.dry_run)
        (plan_store if file.dry_run else make_store)(printer, paths, target.output, reading, shards)
        write_depfile(depfile)
    else:
        _write_file(printer, pictures, paths, documents, target, file)


def _write_file(
    printer: Printer, pictures: Pictures, paths: list[str], documents: BoundedTexts, target: Target, file: IdFile
) -> None:
    from llmprep.cli.depfile import plan_depfile, write_depfile
    from llmprep.cli.dry_run import Planned, show_plan
    from llmprep.cli.naming import check_outputs, files_of, name_output
    from llmprep.cli.unwritten import is_only_shown, nowhere
    from llmprep.cli.written import made_values
    from llmprep.formats.tokens import write_tokens
    from llmprep.inputs import open_tokens
    from llmprep.output.writing import open_output
    from llmprep.tokens.stream import Distinct, Head

    dtype, reading, listed = file.resolved_dtype(), documents.reading(printer), documents.texts.files_from
    shows_only = is_only_shown(printer, paths, target, file)
    if shows_only:
        output = nowhere()
    else:
        (output,) = check_outputs(paths, [name_output(paths, target.output, "tokens")], target)
    outputs = [] if shows_only else [output]
    drawings = pictures.check(files_of(paths), outputs, force=target.force, dry_run=file.dry_run)
    depfile = plan_depfile(printer, paths, target, outputs, [listed], dry_run=file.dry_run)
    if file.dry_run:
        show_plan(printer, paths, reading, Planned(output.name, dtype))
        _say_kind(printer, output, paths)
        return
    stream, head = open_tokens(paths, reading), Head(max(TOKENS_SHOWN, pictures.n_ids))
    distinct = Distinct(stream.origin.n_vocab)
    if not printer.quiet or drawings.wanted:
        stream = stream.through(head).through(distinct)
    with open_output(output) as sink, pictures.words.progress(stream.figures.counts):
        n_bytes = write_tokens(sink, stream, dtype=dtype)
    write_depfile(depfile)
    _say_kind(printer, output, paths)
    made = {**made_values(output, n_bytes), "n_distinct": distinct.count}
    show = partial(_show_file, stream, head.ids[:TOKENS_SHOWN], made, output)
    show(printer)
    drawings.write(printer, stream.origin.name, show, partial(_page, stream, head.ids))


def _show_file(stream: TokenStream, head: list[int], made: dict[str, Any], output: Output, printer: Printer) -> None:
    _show(printer, stream, head, made)
    left_out = left_out_words(len(stream.figures.counts), stream.figures.left_out)
    say_made(printer, output, f"token_ids [{stream.figures.n_tokens}]", made["output_bytes"], left_out)


def _page(stream: TokenStream, head: list[int]) -> Page:
    from llmprep.preview.page import Page

    origin, n_tokens = stream.origin, stream.figures.n_tokens
    length = max(1, min(PAGE_LENGTH, n_tokens - 1))
    page = Page(title_of(origin.name), origin.encoding, n_tokens, head, length, length)
    return with_text(page, find_vocabulary(origin.load_vocabulary))


def _say_kind(printer: Printer, output: Output, paths: list[str]) -> None:
    """Say that a name without an ending, given for a folder or many files, is a file's: a store's was meant, maybe."""
    is_many = len(paths) > 1 or any(Path(path).is_dir() for path in paths)
    if is_many and not output.direct and not Path(output.name).suffix:
        printer.note(f"{output.name}: a .pt file of tokens; for a token store of many files write -o {output.name}/")


def _show(printer: Printer, stream: TokenStream, head: list[int], made: dict[str, Any]) -> None:
    """Say what was made."""
    figures = stream.figures
    n_chars = sum(each.n_chars for each in figures.counts)
    per_token = n_chars / figures.n_tokens
    say_notes(printer, stream.origin, figures)
    printer.object(
        {
            **stream_values(stream.origin, figures),
            "command": "tokenize",
            **made,
            "n_chars": n_chars,
            "chars_per_token": round(per_token, 4),
            "first_ids": head[:IDS_SHOWN],
        }
    )
    if not printer.words:
        return
    n_read = sum(source["bytes"] for source in figures.sources)
    encoding, distinct = plain.visible(shorten(stream.origin.encoding)), plain.number(made["n_distinct"])
    tokens = f"{plural(figures.n_tokens, 'token')} ({encoding}), {distinct} distinct"
    text = f", {plural(n_chars, 'character')} ({per_token:.2f} per token)" if n_chars else ""
    printer.lines([f"{tokens}{text}, {plural(n_read, 'byte')}"])
    _preview(printer, find_decoder(printer, stream.origin), head)


def _preview(printer: Printer, decode: Decoder | None, head: list[int]) -> None:
    if printer.on_terminal and decode is not None:
        from llmprep.preview.screen import token_strip

        printer.render(token_strip(head, decode, printer.width()))
        return
    shown = head[:IDS_SHOWN]
    printer.lines([" ".join(map(str, shown))])
    if decode is not None:
        printer.lines(["|".join(plain.visible(decode([i])) for i in shown), *split_lines([shown], decode)])
