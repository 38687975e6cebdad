"""`--html` and `--svg`: what a command shows, in a file besides: a page for a browser, a picture of a terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmprep.cli.groups import Words
from llmprep.cli.options import output_name
from llmprep.cli.printer import SHEET_COLUMNS, Printer
from llmprep.errors import UsageError, VocabularyError, plural
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.cli.looking import Opened
    from llmprep.output.checking import Output
    from llmprep.preview.page import Page
    from llmprep.vocabulary.vocabulary import Vocabulary

LINES_DRAWN = 300
"""The most lines of a terminal that a picture shows."""
PAGE_LENGTH = 8
"""The max_length that a page begins with, where the command has none."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """What is said, and what is drawn into files besides."""

    words: Words
    html: Annotated[
        str | None,
        typer.Option(
            "--html",
            metavar="PATH",
            parser=output_name,
            help="Write a page to this file, which shows tokens, windows and batches in a browser; - is standard "
            "output.",
        ),
    ] = None
    svg: Annotated[
        str | None,
        typer.Option(
            "--svg",
            metavar="PATH",
            parser=output_name,
            help="Write a picture of what a terminal shows to this SVG file; - is standard output.",
        ),
    ] = None

    @property
    def n_ids(self) -> int:
        """How many of a stream's first ids a page needs."""
        from llmprep.preview.page import IDS_HELD

        return IDS_HELD if self.html else 0

    def printer(self, *outputs: str | None) -> Printer:
        """Return what prints: on standard error, where one of these outputs or a picture takes standard output."""
        return self.words.printer(*outputs, self.html, self.svg)

    def refuse(self, reason: str) -> None:
        """Raise `UsageError` where a page or picture is wanted of a run that shows nothing to draw."""
        for option, name in (("--html", self.html), ("--svg", self.svg)):
            if name is not None:
                raise UsageError(f"{option}: {reason}")

    def check(
        self, inputs: Sequence[str], others: Sequence[Output | None], *, force: bool, dry_run: bool = False
    ) -> Drawings:
        """Check, before any work, that both can be written, and to no file that ``others`` go to."""
        from llmprep.cli.naming import refuse_promises
        from llmprep.output.checking import Kind, check_output
        from llmprep.preview import page, picture

        kinds = {
            "--html": Kind("a page of llmprep's", page.MAGIC, "a page is for a browser", "--html"),
            "--svg": Kind("a picture of llmprep's", picture.MAGIC, "a picture is for a browser", "--svg"),
        }
        taken = [other for other in others if other is not None]
        found: dict[str, Output] = {}
        for option, name in (("--html", self.html), ("--svg", self.svg)):
            if name is None:
                continue
            noun = "page" if option == "--html" else "picture"
            refuse_promises(name, force=force, ending=f".{option[2:]}", written=f"a {noun}")
            output = check_output(name, inputs, force=force, kind=kinds[option])
            if any(other.path == output.path and not (output.direct and output.path) for other in taken):
                raise UsageError(f"{option} {name}: is also another output; name another file")
            taken.append(output)
            found[option] = output
        if dry_run:
            self.refuse("--dry-run draws nothing; leave one out")
        return Drawings(found.get("--html"), found.get("--svg"))


@dataclass(frozen=True, slots=True)
class Drawings:
    """Checked places for a page and a picture; None for what is not wanted."""

    html: Output | None
    svg: Output | None

    @property
    def wanted(self) -> bool:
        """Whether there is anything to draw."""
        return self.html is not None or self.svg is not None

    def write(self, printer: Printer, name: str, show: Callable[[Printer], object], page: Callable[[], Page]) -> None:
        """Write what is wanted, then say so: a picture of what ``show`` prints, under an input's name, and the page."""
        from llmprep.preview.page import draw_page
        from llmprep.preview.picture import draw_screen

        if self.svg is not None:
            sheet = io.StringIO()
            show(Printer(sheet=sheet))
            shown = _first_lines(sheet.getvalue())
            title = plain.visible(title_of(name))
            _write(printer, self.svg, "picture", draw_screen(shown, title, SHEET_COLUMNS))
        if self.html is not None:
            _write(printer, self.html, "page", draw_page(page()))


def _write(printer: Printer, output: Output, noun: str, document: str) -> None:
    from llmprep.cli.written import made_line
    from llmprep.output.writing import open_output

    data = document.encode("utf-8", "replace")
    with open_output(output) as sink:
        sink.write(data)
    printer.lines([made_line(output, noun, len(data))])


def _first_lines(shown: str) -> str:
    lines = shown.split("\n")
    more = len(lines) - LINES_DRAWN
    return shown if more <= 1 else "\n".join([*lines[:LINES_DRAWN], f"... and {plural(more - 1, 'more line')}"])


def find_vocabulary(load: Callable[..., Vocabulary]) -> Vocabulary | None:
    """Return a vocabulary, or None where it is not on this machine, which a page says itself."""
    try:
        return load(download=False)
    except VocabularyError:
        return None


def with_text(page: Page, vocabulary: Vocabulary | None) -> Page:
    """Return a page of ids with what their vocabulary tells of them, and as many of them as it shows."""
    from llmprep.preview.page import IDS_HELD, fit_ids
    from llmprep.tokens.merging import find_pieces

    if vocabulary is None:
        ids = fit_ids(page.ids, {})
        return replace(page, ids=ids, more=page.ids[len(ids) : IDS_HELD])
    table = vocabulary.token_table()
    ids = fit_ids(page.ids, table)
    pieces = find_pieces(ids, vocabulary, complete=len(ids) == page.n_tokens)
    more, merges = page.ids[len(ids) : IDS_HELD], vocabulary.pattern is not None and vocabulary.known is not None
    return replace(page, ids=ids, more=more, table=table, eot_id=vocabulary.eot_id, pieces=list(pieces), merges=merges)


def inspected_page(opened: Opened, vocab_dir: str | None) -> Page:
    """Return a page of a store or a file."""
    from llmprep.preview.page import IDS_HELD, Page
    from llmprep.store.reading import TokenStore
    from llmprep.vocabulary.loading import load_vocabulary

    vocabulary = find_vocabulary(partial(load_vocabulary, opened.refers, vocab_dir))
    ids, n_tokens = opened.read(0, IDS_HELD).tolist(), opened.facts["n_tokens"]
    page = Page(title_of(opened.path), opened.refers.name, n_tokens, ids, opened.max_length, opened.stride)
    return with_text(replace(page, store=isinstance(opened.ids, TokenStore)), vocabulary)


def title_of(name: str) -> str:
    """Return what a page is headed: a file's name without its folders, which are this machine's own.

    >>> title_of("/home/me/story.txt"), title_of("-")
    ('story.txt', 'standard input')
    >>> title_of("/dev/fd/63")
    'an unnamed input'
    """
    nameless = {"-": "standard input", "--text": "a text"}
    if re.fullmatch(r"/(dev|proc/(self|\d+))/fd/\d+", name):
        return "an unnamed input"
    return nameless.get(name) or Path(name).name or Path(name).resolve().name
