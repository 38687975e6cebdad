"""What is only shown: an input without a name, where no output is named, is read to its end and nothing is written."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmprep.cli.printer import Printer
from llmprep.cli.written import made_line
from llmprep.errors import UsageError
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.cli.groups import IdFile, Target
    from llmprep.output.checking import Output


def is_only_shown(printer: Printer, paths: list[str], target: Target, file: IdFile) -> bool:
    """Tell whether a run shows what it is given and writes nothing. Raises `UsageError` for what that does not heed."""
    if target.output is not None or paths not in ([], ["-"]) or printer.quiet:
        return False
    for option, given in (("--force", target.force), ("--dry-run", file.dry_run and paths == ["-"])):
        if given:
            raise UsageError(f"{option}: is only used with -o, without which nothing of {_named(paths)} is written")
    return True


def _named(paths: list[str]) -> str:
    return "standard input" if paths else "--text"


def _goes_into_a_file() -> bool:
    """Tell whether standard output is a file: whoever forgets ``-o -`` takes that for the output."""
    with suppress(OSError, ValueError, AttributeError):
        return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    return False


def nowhere(path: str = os.devnull) -> Output:
    """Return an output that is written to no file that stays."""
    from llmprep.output.checking import Output

    return Output("temporary file", Path(path), direct=True, kept=False)


@contextmanager
def unwritten(count: int, *, kept: bool) -> Iterator[list[Output]]:
    """Give outputs that keep nothing, or, if they are to be read back, that keep it until the end of the block."""
    from llmprep.output.temporary import temporary_file

    with ExitStack() as files:
        paths = [files.enter_context(temporary_file(suffix=".pt")).name for _ in range(count if kept else 0)]
        yield [nowhere(path) for path in paths or [os.devnull] * count]


def say_made(printer: Printer, output: Output, what: str, n_bytes: int, more: str = "") -> None:
    """Say what was written and where, or that nothing was, and what it would have been.

    A picture shows what is in a file, and not that it was there before: the same run draws the same.
    """
    if output.kept:
        told = output if printer.sheet is None else replace(output, before=None)
        printer.lines([made_line(told, what, n_bytes) + more])
        return
    printer.lines([f"nothing written; -o FILE writes it: {what}, {plain.size(n_bytes)}{more}"])
    if _goes_into_a_file():
        printer.note("standard output got what was shown, and no .pt file; -o - writes one there")
