"""Refusals: what a command line must not take, as a table of what to make, the arguments, the code and the line."""

import contextlib
import os
import re
import shlex
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from support.commands import Call, Ended

Make: TypeAlias = Mapping[str, str | bytes] | Callable[[Path], object] | None
"""What files hold, by name, or a function that fills a folder."""
OLD = b"PK\x03\x04 the old file"
"""What is in a file that a run may replace, and must leave as it is where it fails."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A command line that must be refused, or one for each of some ``commands``, which go before the ``arguments``.

    ``line`` is what stands after ``llmprep: error: ``; three dots in it stand for any text. ``notes`` is how many notes
    come before it.
    """

    make: Make
    arguments: str | Sequence[str | Path]
    code: int
    line: str
    notes: int = 0
    commands: Sequence[str] = ("",)


def each_row(table: Mapping[str, Refusal]) -> pytest.MarkDecorator:
    """Run a test once for each row of a table, as ``refusal``, under the row's name."""
    return pytest.mark.parametrize("refusal", table.values(), ids=table.keys())


def check_refusal(call: Call, refusal: Refusal, commands: Sequence[str] = ()) -> None:
    """Make what a row needs, in the current folder, and run its command lines, or those of other ``commands``."""
    fill(Path(), refusal.make)
    given = refusal.arguments
    arguments = shlex.split(given) if isinstance(given, str) else given
    for command in commands or refusal.commands:
        whole = (*shlex.split(command), *arguments)
        check_refused(call, *whole, code=refusal.code, line=refusal.line, notes=refusal.notes)


def check_refused(call: Call, *arguments: str | Path, code: int, line: str, notes: int = 0) -> Ended:
    """Run one command line in this process, which must be refused so; returns how it ended.

    The folder stays as it was: no output, no temporary file, no byte changed.
    """
    before = tree(Path())
    ended = call(*arguments)
    check_error(ended, code, line, notes)
    assert tree(Path()) == before
    return ended


def check_error(ended: Ended, code: int, line: str, notes: int = 0) -> str:
    """Check that a command line, or a process, ended with nothing but one line of error; returns the line."""
    assert (ended.code, ended.stdout) == (code, b""), ended
    *said, error = ended.notes
    assert len(said) == notes, ended
    assert all(note.startswith("llmprep: note: ") for note in said), ended
    assert matches(f"llmprep: error: {line}", error), f"\n{error}\nis not\nllmprep: error: {line}"
    assert error.isprintable()
    assert "internal error" not in error
    return error


def matches(pattern: str, text: str) -> bool:
    """Whether a text is as a pattern says, in which three dots stand for any text."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("..."))), text, re.DOTALL) is not None


@contextlib.contextmanager
def frugal(n_bytes: int = 4_000_000, seconds: float = 5) -> Iterator[None]:
    """Check that the block takes little memory, and little of this process's time."""
    begun = time.process_time()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < n_bytes
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < seconds


def fill(folder: Path, make: Make) -> None:
    """Write files, or have a function fill the folder."""
    if isinstance(make, Mapping):
        for name, data in make.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    elif make is not None:
        make(folder)


def tree(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything in a folder and below: what each thing is, and what a file holds, or where a link leads."""
    found = {}
    for path in folder.rglob("*"):
        status, held = path.lstat(), b""
        if path.is_symlink():
            held = os.fsencode(path.readlink())
        elif path.is_file() and os.access(path, os.R_OK):
            held = path.read_bytes()
        found[str(path.relative_to(folder))] = status.st_mode, status.st_ino, held
    return found


def names(folder: Path) -> set[str]:
    """What lies in a folder, hidden files too."""
    return {path.name for path in folder.iterdir()}
