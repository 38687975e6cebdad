"""What the user named -> a list of inputs, each checked before any is read."""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from llmprep.choices import TEXT_FIELD
from llmprep.documents.patterns import match_pattern
from llmprep.documents.pointers import POINTER_BYTES, refuse_pointer
from llmprep.documents.source import BOM, STDIN, Format, Source, input_error, promises_compression
from llmprep.errors import DataError, InputError, UsageError

BESIDE = ("_metadata", "_common_metadata", "_SUCCESS")
"""Files that Parquet's writers leave beside the data; they hold none."""
Identity: TypeAlias = tuple[int, int]
PathName: TypeAlias = str | os.PathLike[str]
_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".jsonlines": "jsonl", ".jl": "jsonl", ".parquet": "parquet",
}  # fmt: skip


def path_names(paths: PathName | Sequence[PathName]) -> list[str]:
    """Return the names of one path or of several.

    >>> path_names("a.txt"), path_names([Path("b.txt"), "-"])
    (['a.txt'], ['b.txt', '-'])
    """
    return list(map(os.fsdecode, [paths] if isinstance(paths, str | bytes | os.PathLike) else paths))


def find_sources(
    paths: Sequence[str], field_name: str | None = None, announce: Callable[[str], None] | None = None
) -> list[Source]:
    """Return one source per file: ``-`` is standard input, folders are walked, patterns expanded.

    Files of a folder or pattern come in byte order of their path, on every machine. ``.jsonl`` and ``.parquet`` files
    hold records, whose ``field_name`` is the text; with a ``field_name`` every input that is not Parquet is JSON Lines.
    Where several have one name, each gets as many of its folders as tell it from the others.
    Raises `InputError` for what is missing or unreadable, `UsageError` for a folder without files or a terminal,
    `DataError` for a pointer that stands for a file.
    """
    if list(paths).count(STDIN) > 1:
        raise UsageError("-: standard input can be read only once")
    if field_name is not None and not _is_utf8(field_name):
        raise UsageError(f"--field {field_name}: is not valid UTF-8, as the name of every field is")
    found = [_check(path, name, field_name) for path, name in expand_paths(paths, announce)]
    if announce is not None:
        _say_twice(found, announce)
    return _tell_apart([source for source, _ in found])


def _tell_apart(sources: list[Source]) -> list[Source]:
    """Lengthen names that several files share, folder by folder, until they differ. One file keeps one name."""
    if len({source.name for source in sources}) == len(sources):
        return sources
    parts = {s.path: os.path.abspath(s.path).strip("/").split("/") for s in sources if s.path != STDIN}  # noqa: PTH100
    depths = {s.path: s.name.count("/") + 1 for s in sources if s.path != STDIN}
    while True:
        sharing: defaultdict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
        for path, depth in depths.items():
            sharing[tuple(parts[path][-depth:])].add(tuple(parts[path]))
        longer = [
            path
            for path, depth in depths.items()
            if len(sharing[tuple(parts[path][-depth:])]) > 1 and depth < len(parts[path])
        ]
        if not longer:
            break
        for path in longer:
            depths[path] += 1
    return [
        source
        if source.path == STDIN
        else replace(source, name=_shown("/".join(parts[source.path][-depths[source.path] :])))
        for source in sources
    ]


def _say_twice(found: Sequence[tuple[Source, Identity | None]], announce: Callable[[str], None]) -> None:
    """Say which files are inputs more than once: by another path, a link, a folder and a name."""
    first: dict[Identity, Source] = {}
    again: list[tuple[Source, Source]] = []
    for source, identity in found:
        if identity is not None and source.size:
            before = first.setdefault(identity, source)
            again += [(source, before)] if before is not source else []
    for source, before in again[:5]:
        same = "was named before" if source.path == before.path else f"is the same file as {before.path}"
        announce(f"{source.path}: {same}; its tokens are taken each time")
    if len(again) > 5:
        announce(f"{len(again) - 5} more inputs are files that came before; their tokens are taken each time")


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
    taken = _leave_out(folder, found, announce)
    if not taken:
        raise UsageError(f"{folder}: there is no file in this folder")
    named = [(path, os.path.relpath(path, folder)) for path in taken]
    return sorted(named, key=lambda pair: os.fsencode(pair[1]))


def _expand(pattern: str, announce: Callable[[str], None] | None) -> list[tuple[str, str]]:
    matching = set(match_pattern(pattern))
    folders = {path for path in matching if os.path.isdir(path)}  # noqa: PTH112
    found = _leave_out(pattern, [*matching - folders], announce)
    if not found:
        raise InputError(f"{pattern}: no file matches")
    if "**" not in pattern.split("/"):
        _say_left_out(pattern, folders, "as a folder", announce)
    return [(path, Path(path).name) for path in sorted(found, key=os.fsencode)]


def _leave_out(where: str, paths: list[str], announce: Callable[[str], None] | None) -> list[str]:
    """Return the paths without what holds no text, which is named: pipes and devices, Parquet's notes on its files."""
    endless = {*filter(_is_endless, paths)}  # what is missing has its own error
    beside = {path for path in paths if path.endswith(BESIDE) and os.path.basename(path) in BESIDE}  # noqa: PTH119
    _say_left_out(where, endless, "as no regular file", announce)
    _say_left_out(where, beside, "as it is about other files", announce)
    return [path for path in paths if path not in endless and path not in beside]


def _say_left_out(where: str, paths: set[str], why: str, announce: Callable[[str], None] | None) -> None:
    if paths and announce is not None:
        more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
        announce(
            f"{where}: left out, {why}: {', '.join(sorted(paths, key=os.fsencode)[:5])}{more}; name one to read it"
        )


def _is_endless(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path)  # noqa: PTH110, PTH113 - there may be many


def read_names(path: str, *, nul_separated: bool) -> list[str]:
    """Read a list of file names, one a line (or separated by NUL bytes), from a file or standard input."""
    if path == STDIN:
        _check_stdin()
    try:
        data = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except OSError as error:
        raise input_error(path, error) from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: is UTF-16 text; write the list as UTF-8")
    parts = data.split(b"\0") if nul_separated else map(_without_return, data.removeprefix(BOM).split(b"\n"))
    names = [os.fsdecode(name) for name in parts if name]
    if not names:
        raise DataError(f"{path}: names no file")
    return names


def _without_return(line: bytes) -> bytes:
    """Drop the CR of a line end of Windows, unless there is a file of that very name."""
    return line if line.endswith(b"\r") and os.path.lexists(line) else line.removesuffix(b"\r")


def _check(path: str, name: str, field_name: str | None) -> tuple[Source, Identity | None]:
    if path == STDIN:
        _check_stdin()
        return Source(path, name, format="jsonl" if field_name else "text", text_field=field_name or TEXT_FIELD), None
    try:
        status = Path(path).stat()
    except (OSError, ValueError) as error:
        raise input_error(path, error) from error
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: permission denied")
    size = status.st_size if stat.S_ISREG(status.st_mode) else None
    if size is not None and size < POINTER_BYTES:
        head = _read_head(path)
        refuse_pointer(path, head)
        if size == 0 and head:
            size = None  # as files of /proc, and some of network file systems: it is known when they have been read
    kind = _format_of(path)
    if field_name is not None and kind == "text":
        kind = "jsonl"
    if kind == "parquet" and size is None:
        raise UsageError(f"{path}: a Parquet file is read by seeking; it cannot come through a pipe")
    identity = None if size is None else (status.st_dev, status.st_ino)
    return Source(path, _shown(name), size, format=kind, text_field=field_name or TEXT_FIELD), identity


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _read_head(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - there may be many
            return file.read(POINTER_BYTES) or b""
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
    name = path.lower()
    if promises_compression(name):
        name = os.path.splitext(name)[0]  # noqa: PTH122 - there may be many
    return _FORMATS.get(os.path.splitext(name)[1], "text")  # noqa: PTH122
