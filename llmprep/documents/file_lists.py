"""A list of file names, as ``find`` writes it -> the names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from llmprep.documents.finding import require_stdin
from llmprep.documents.source import BOM, STDIN, input_error
from llmprep.errors import DataError


def read_names(path: str, *, nul_separated: bool) -> list[str]:
    """Read file names, one a line or separated by NUL bytes, from a file or standard input.

    Raises `InputError` for a list that cannot be read, `DataError` for one that lists no files, is UTF-16 or
    has its names separated by the other.
    """
    if path == STDIN:
        require_stdin()
    try:
        data = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except OSError as error:
        raise input_error(path, error, advise=True) from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: is UTF-16 text; write the list as UTF-8")
    parts = data.split(b"\0") if nul_separated else map(_without_return, data.removeprefix(BOM).split(b"\n"))
    names = [os.fsdecode(name) for name in parts if name]
    if not names:
        raise DataError(f"{path}: lists no files")
    if not nul_separated and b"\0" in data:
        raise DataError(f"{path}: its names end with NUL, as find -print0 writes them; add --null")
    if nul_separated and b"\0" not in data and b"\n" in data and not os.path.lexists(names[0]):
        raise DataError(f"{path}: its names end with a line end, not with NUL; leave out --null")
    return names


def _without_return(line: bytes) -> bytes:
    """Drop the CR of a line end of Windows, unless there is a file of that very name."""
    return line if line.endswith(b"\r") and os.path.lexists(line) else line.removesuffix(b"\r")
