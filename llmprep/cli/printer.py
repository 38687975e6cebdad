"""The only printing: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, TextIO

from llmprep.errors import OutputError, ReaderGoneError
from llmprep.preview.plain import visible

if TYPE_CHECKING:
    from rich.console import RenderableType

PART_CHARS = 1 << 16
"""How much of a long result is written at once."""


@dataclass(frozen=True, slots=True)
class Printer:
    """Prints what a command says. ``binary``: standard output carries a file, so results go to standard error."""

    quiet: bool = False
    as_json: bool = False
    binary: bool = False

    @property
    def stream(self) -> TextIO:
        """Where results go."""
        return sys.stderr if self.binary else sys.stdout

    @property
    def on_terminal(self) -> bool:
        """Whether a person reads the results."""
        return self.stream.isatty()

    @property
    def words(self) -> bool:
        """Whether results are wanted in words."""
        return not self.quiet and not self.as_json

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines as they are; callers have made what comes from files visible."""
        if self.words:
            _write_parts(self.stream, (f"{line}\n" for line in lines))

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
        from rich.console import Console

        console = Console(file=self.stream, markup=False, emoji=False, highlight=False)
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
        if not self.quiet:
            print_note(text)

    def width(self) -> int:
        """Columns of the terminal."""
        from rich.console import Console

        return Console(file=self.stream).width


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


def print_note(text: str) -> None:
    """Print one line on standard error."""
    _print_aside(f"llmprep: note: {text}")


def print_error(text: str) -> None:
    """Print the one line of an error on standard error."""
    _print_aside(f"llmprep: error: {text}")


def _print_aside(line: str) -> None:
    """Standard error may be closed or full; there is nobody left to tell."""
    try:
        _write(sys.stderr, visible(line) + "\n")
    except (OutputError, ReaderGoneError):
        return
