"""What the user named -> a list of inputs, each checked before any is read."""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from llmprep.errors import DataError, InputError, UsageError

if TYPE_CHECKING:
    from llmprep.documents.opening import ByteStream

STDIN = "-"
FIELD = "text"
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")

Format: TypeAlias = Literal["text", "jsonl", "parquet"]
_FORMATS: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


@dataclass(slots=True)
class Source:
    """One input, and what has been read of it so far.

    ``path`` is as the user gave it, for messages; ``name`` is its last part, or its place inside a folder that was
    named, for files: it must not depend on where the folder lies. ``size`` is None for what does not tell it (a pipe).
    ``n_bytes`` and ``sha256`` are of the bytes as they came, compressed or not; ``n_text`` counts those of a plain
    text as it is encoded, with newlines as chosen and without a mark. A ``span`` names a part of a plain text or
    of JSON Lines by two byte positions, each of which means the first safe cut, or begin of a line, at or after it;
    ``begin`` is where it really begins.
    """

    path: str
    name: str
    size: int | None = None
    format: Format = "text"
    text_field: str = FIELD
    span: tuple[int, int] | None = None
    begin: int = 0
    n_bytes: int = 0
    n_chars: int = 0
    n_text: int = 0
    n_tokens: int = 0
    n_documents: int = 0
    bom: bool = False
    sha256: str = ""
    stream: ByteStream | None = field(default=None, repr=False)


def find_sources(
    paths: Sequence[str], field_name: str | None = None, announce: Callable[[str], None] | None = None
) -> list[Source]:
    """Return one source per file: ``-`` is standard input, folders are walked, patterns expanded.

    Files of a folder or pattern come in byte order of their path, on every machine. ``.jsonl`` and ``.parquet`` files
    hold records, whose ``field_name`` is the text; with a ``field_name``, so does standard input (JSON Lines).
    Raises `InputError` for what is missing or unreadable, `UsageError` for a folder without files or a terminal.
    """
    if list(paths).count(STDIN) > 1:
        raise UsageError("-: standard input can be read only once")
    if field_name is not None and not _is_utf8(field_name):
        raise UsageError(f"--field {field_name}: is not valid UTF-8, as the name of every field is")
    return [_check(path, name, field_name) for path, name in expand_paths(paths, announce)]


def expand_paths(paths: Sequence[str], announce: Callable[[str], None] | None = None) -> Iterator[tuple[str, str]]:
    """Yield (path, name) for every file that ``paths`` mean.

    In a folder, hidden files are left out, and said. So are, in a folder or behind a pattern, pipes, sockets and
    devices, which may have no end. By its own name each is taken.
    """
    for path in paths:
        if path == STDIN:
            yield path, path
        elif os.path.isdir(path):  # noqa: PTH112 - Path would drop a leading ./ and trailing slashes from messages
            yield from _walk(path, announce)
        elif glob.has_magic(path) and not os.path.lexists(path):
            yield from _expand(path, announce)
        else:
            yield path, Path(path).name


def _walk(folder: str, announce: Callable[[str], None] | None) -> list[tuple[str, str]]:
    """Every file below a folder; links to folders are not followed, so a loop cannot trap us."""

    def fail(error: OSError) -> None:
        raise input_error(str(error.filename), error) from error

    found: list[str] = []
    hidden = links = 0
    for parent, folders, names in os.walk(folder, onerror=fail):
        shown = [name for name in names if not name.startswith(".")]
        hidden += len(names) - len(shown) + sum(name.startswith(".") for name in folders)
        folders[:] = [name for name in folders if not name.startswith(".")]
        links += sum(os.path.islink(os.path.join(parent, name)) for name in folders)  # noqa: PTH114, PTH118
        found += [os.path.join(parent, name) for name in shown]  # noqa: PTH118
    if hidden and announce is not None:
        announce(f"{folder}: {hidden} hidden files or folders in it are left out; name them to take them")
    if links and announce is not None:
        announce(f"{folder}: {links} links to folders in it are not followed; name them to follow them")
    taken = _leave_out_endless(folder, found, announce)
    if not taken:
        raise UsageError(f"{folder}: there is no file in this folder")
    named = [(path, os.path.relpath(path, folder)) for path in taken]
    return sorted(named, key=lambda pair: os.fsencode(pair[1]))


def _expand(pattern: str, announce: Callable[[str], None] | None) -> list[tuple[str, str]]:
    matching = [path for path in set(_matches(pattern)) if not os.path.isdir(path)]  # noqa: PTH112
    found = _leave_out_endless(pattern, matching, announce)
    if not found:
        raise InputError(f"{pattern}: no file matches")
    return [(path, Path(path).name) for path in sorted(found, key=os.fsencode)]


def _leave_out_endless(where: str, paths: list[str], announce: Callable[[str], None] | None) -> list[str]:
    """Return the paths without pipes, sockets and devices, which are named; what is missing has its own error."""
    endless = sorted(filter(_is_endless, paths), key=os.fsencode)
    if not endless:
        return paths
    if announce is not None:
        more = f" and {len(endless) - 5} more" if len(endless) > 5 else ""
        announce(f"{where}: left out, as no regular file: {', '.join(endless[:5])}{more}; name one to read it")
    left_out = set(endless)
    return [path for path in paths if path not in left_out]


def _is_endless(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path)  # noqa: PTH110, PTH113 - there may be many


def _matches(pattern: str) -> Iterator[str]:
    """Yield what a pattern matches; unlike glob's own, a ``**`` in it follows no links, so a loop cannot trap us."""
    before, rest = pattern, ""
    if "**" in (parts := pattern.split("/")):
        place = parts.index("**")
        before, rest = "".join(f"{part}/" for part in parts[:place]), "/".join(parts[place + 1 :]) or "*"
    if not rest:
        yield from glob.iglob(pattern)  # noqa: PTH207
        return
    for base in glob.iglob(before) if before else ["."]:  # noqa: PTH207
        for folder, folders, _ in os.walk(base):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for path in _matches(os.path.join(glob.escape(folder), rest)):  # noqa: PTH118
                yield path if before else path.removeprefix("./")


def read_names(path: str, *, nul_separated: bool) -> list[str]:
    """Read a list of file names, one a line (or separated by NUL bytes), from a file or standard input."""
    if path == STDIN:
        _check_stdin()
    try:
        data = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except OSError as error:
        raise input_error(path, error) from error
    names = [os.fsdecode(name) for name in data.split(b"\0" if nul_separated else b"\n") if name]
    if not names:
        raise DataError(f"{path}: names no file")
    return names


def _check(path: str, name: str, field_name: str | None) -> Source:
    if path == STDIN:
        _check_stdin()
        return Source(path, name, format="jsonl" if field_name else "text", text_field=field_name or FIELD)
    try:
        status = Path(path).stat()
    except (OSError, ValueError) as error:
        raise input_error(path, error) from error
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: permission denied")
    size = status.st_size if stat.S_ISREG(status.st_mode) else None
    if size == 0 and _holds_any(path):
        size = None  # as files of /proc, and some of network file systems: it is known when they have been read
    kind = _format_of(path)
    if kind == "parquet" and size is None:
        raise UsageError(f"{path}: a Parquet file is read by seeking; it cannot come through a pipe")
    shown = os.fsencode(name).decode("utf-8", "backslashreplace")
    return Source(path, shown, size, format=kind, text_field=field_name or FIELD)


def _holds_any(path: str) -> bool:
    """Tell a file that says it is empty, and is not, from an empty one."""
    try:
        with Path(path).open("rb") as file:
            return bool(file.read(1))
    except OSError as error:
        raise input_error(path, error) from error


def _is_utf8(text: str) -> bool:
    """Tell whether a word of the command line, where bytes that are no UTF-8 become surrogates, is UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_stdin() -> None:
    if sys.stdin is None:
        raise InputError("-: standard input is closed")
    if sys.stdin.isatty():
        raise UsageError("-: standard input is a terminal; pipe text into it or name a file")


def _format_of(path: str) -> Format:
    plain = Path(path)
    if plain.suffix.lower() in COMPRESSED:
        plain = plain.with_suffix("")
    return _FORMATS.get(plain.suffix.lower(), "text")


def input_error(path: str, error: OSError | ValueError) -> InputError:
    """Return the error for a file that cannot be opened or read, in the operating system's words."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(f"{path}: {reason[:1].lower()}{reason[1:]}")
