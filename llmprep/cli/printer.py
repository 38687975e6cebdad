"""The only printing: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, TextIO

from llmprep.choices import Color
from llmprep.cli.colours import columns, is_terminal, open_console, wants_colour
from llmprep.errors import OutputError, ReaderGoneError
from llmprep.preview.fitting import wrap_line
from llmprep.preview.plain import visible

if TYPE_CHECKING:
    from rich.console import RenderableType

PART_CHARS = 1 << 16
"""How much of a long result is written at once."""
SHEET_COLUMNS = 80
"""The width of the terminal that a picture shows."""
ERROR_COLOR: ContextVar[Color] = ContextVar("ERROR_COLOR", default="auto")
"""Whether errors have colours: what the command line says, also one of which nothing else is understood."""
_ASIDES = {"note": "\x1b[35m", "error": "\x1b[1;31m"}
"""What is said on standard error, and the colour of its first word."""


@dataclass(frozen=True, slots=True)
class Printer:
    """Prints what a command says. ``binary``: standard output carries a file, so results go to standard error.

    With a ``sheet``, results go there as to a terminal of `SHEET_COLUMNS` columns, and nothing else is said.
    """

    quiet: bool = False
    as_json: bool = False
    binary: bool = False
    color: Color = "auto"
    sheet: TextIO | None = None

    @property
    def stream(self) -> TextIO:
        """Where results go."""
        return self.sheet or (sys.stderr if self.binary else sys.stdout)

    @property
    def on_terminal(self) -> bool:
        """Whether a person reads the results, or whoever wants what a person would see, in colour."""
        return self.sheet is not None or is_terminal(self.stream) or wants_colour(self.stream, self.color)

    @property
    def words(self) -> bool:
        """Whether results are wanted in words."""
        return not self.quiet and not self.as_json

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines; callers have made what comes from files visible. On a terminal they are broken between words."""
        if self.words:
            width = self.width() if self.on_terminal else None
            _write_parts(self.stream, (f"{wrap_line(line, width) if width else line}\n" for line in lines))

    def text(self, text: str) -> None:
        """Print a piece of a line."""
        if self.words:
            _write(self.stream, text)

    def render(self, item: RenderableType) -> None:
        """Print a rich renderable on a terminal."""
        self.text(self.draw(item))

    def draw(self, item: RenderableType) -> str:
        """Return a rich renderable as this terminal shows it, or nothing where no words are wanted."""
        if not self.words:
            return ""
        colour = self.sheet is not None or wants_colour(self.stream, self.color)
        console = open_console(self.stream, colour=colour, width=self.width())
        with console.capture() as captured:
            console.print(item)
        return captured.get()

    def object(self, values: Mapping[str, Any], **lists: Iterable[Any]) -> None:
        """Print the one JSON object, if that was asked for; in ASCII, so that nothing in it acts on a terminal.

        ``lists`` are its last values, long ones, of which no more is held than one item.
        """
        if self.as_json and not self.quiet:
            _write_parts(self.stream, chain(_object_parts(values, lists), "\n"))

    def note(self, text: str) -> None:
        """Say what is not a result, on standard error."""
        if not self.quiet and self.sheet is None:
            _print_aside("note", text, self.color)

    def width(self) -> int:
        """Columns of the terminal."""
        return columns(self.stream) if self.sheet is None else SHEET_COLUMNS


def _object_parts(values: Mapping[str, Any], lists: Mapping[str, Iterable[Any]]) -> Iterator[str]:
    """Yield ``json.dumps({**values, **lists})`` in parts; there is at least one value."""
    yield json.dumps(values)[:-1]
    for key, items in lists.items():
        yield f", {json.dumps(key)}: ["
        for number, item in enumerate(items):
            yield ", " * (number > 0) + json.dumps(item)
        yield "]"
    yield "}"


def _write_parts(stream: TextIO | None, parts: Iterable[str]) -> None:
    """Write parts of a text, many at once."""
    held: list[str] = []
    n_held = 0
    for part in parts:
        held.append(part)
        n_held += len(part)
        if n_held >= PART_CHARS:
            _write(stream, "".join(held))
            held, n_held = [], 0
    _write(stream, "".join(held))


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:
        return
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
        stream.flush()
    except BrokenPipeError as error:
        raise ReaderGoneError("standard output: its reader is gone") from error
    except OSError as error:
        raise OutputError(f"standard output: {os.strerror(error.errno or 0).lower()}") from error


def finish_stdout() -> None:
    """Flush what others (``--help``) have printed; a full or closed standard output is an error."""
    _write(sys.stdout, "")


def print_progress(text: str) -> None:
    """Say how far a run has come, on standard error."""
    _print_line(f"llmprep: {text}")


def print_error(text: str) -> None:
    """Print the one line of an error on standard error."""
    _print_aside("error", text, ERROR_COLOR.get())


def _print_aside(kind: str, text: str, color: Color) -> None:
    """Print one line on standard error, on a terminal in short ones."""
    coloured = wants_colour(sys.stderr, color)
    line, begin = visible(f"llmprep: {kind}: {text}"), f"llmprep: {kind}:"
    if coloured or is_terminal(sys.stderr):
        line = wrap_line(line, columns(sys.stderr), indent=2)
    if coloured:
        line = line.replace(begin, f"llmprep: {_ASIDES[kind]}{kind}:\x1b[0m", 1)
    _print_line(line)


def _print_line(line: str) -> None:
    """Print a line on standard error, which may be closed or full: there is nobody left to tell."""
    try:
        _write(sys.stderr, line + "\n")
    except (OutputError, ReaderGoneError):
        return
