"""The paths that a user named -> files: folders are walked, patterns expanded, what holds no text left out and said."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmprep.choices import Announce
from llmprep.documents.patterns import match_pattern
from llmprep.documents.source import STDIN, input_error
from llmprep.errors import InputError, UsageError
from llmprep.missing import is_address

PARQUET_NOTES = ("_metadata", "_common_metadata", "_SUCCESS")
"""Files that Parquet's writers leave beside the data; they hold none."""
MAX_NAMED = 5
"""How many files a message names."""


def expand_paths(paths: Sequence[str], announce: Announce | None = None) -> Iterator[tuple[str, str]]:
    """Yield (path, name) for every file that ``paths`` mean.

    In a folder, hidden files are left out, and said. So are, in a folder or among the matches of a pattern, pipes,
    sockets and devices, which may have no end. By its own name each is taken.
    Raises `UsageError` for a folder without files, `InputError` for a pattern without a match, and for a folder that
    cannot be entered or read.
    """
    for path in paths:
        if path == STDIN:
            yield path, path
        elif os.path.isdir(path):  # noqa: PTH112 - Path would drop a leading ./ and trailing slashes from messages
            yield from _walk(path, announce)
        elif glob.has_magic(path) and not os.path.lexists(path) and not is_address(path):
            yield from _expand(path, announce)
        else:
            yield path, Path(path).name


def _walk(folder: str, announce: Announce | None) -> Iterator[tuple[str, str]]:
    """Yield every file below a folder; links to folders are not followed, so a loop cannot trap us."""
    looked = _Looked()
    n_files = 0
    for found in _files_below(os.path.join(folder, ""), looked):  # noqa: PTH118
        n_files += 1
        yield found
    if looked.n_hidden and announce is not None:
        one, them = (
            ("file or folder in it is", "it") if looked.n_hidden == 1 else ("files or folders in it are", "them")
        )
        announce(f"{folder}: {looked.n_hidden} hidden {one} left out; name {them} to take {them}")
    if looked.n_links and announce is not None:
        one, them = (
            ("link to a folder in it is", "it") if looked.n_links == 1 else ("links to folders in it are", "them")
        )
        announce(f"{folder}: {looked.n_links} {one} not followed; name {them} to follow {them}")
    _announce_left_out(folder, looked.endless, "because it is not a regular file", announce)
    _announce_left_out(folder, looked.notes, "because it only describes other files", announce)
    if not n_files:
        raise UsageError(f"{folder}: there is no file in this folder")


@dataclass(slots=True)
class _Looked:
    """What was seen in a folder and left out."""

    n_hidden: int = 0
    n_links: int = 0
    endless: set[str] = field(default_factory=set)
    notes: set[str] = field(default_factory=set)


def _files_below(root: str, looked: _Looked) -> Iterator[tuple[str, str]]:
    """Yield (path, name in ``root``, which ends with a slash) of its files, in byte order of the name.

    Of a folder the slash decides where it comes. However deep folders lie in each other, none is a call of its own.
    """
    begun = [("", iter(sorted(_entries(root, "", looked))))]
    while begun:
        inner, entries = begun[-1]
        name, is_folder = next(entries, (b"", False))
        place = inner + os.fsdecode(name)
        if not name:
            begun.pop()
        elif is_folder:
            begun.append((place, iter(sorted(_entries(root, place, looked)))))
        else:
            yield root + place, place.replace(os.sep, "/")


def _entries(root: str, inner: str, looked: _Looked) -> Iterator[tuple[bytes, bool]]:
    """Yield the files of one folder, and the folders in it, with a slash after their name."""
    try:
        with os.scandir(root + inner) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    looked.n_hidden += 1
                elif _is_folder(entry):
                    if entry.is_symlink():
                        looked.n_links += 1
                    else:
                        yield os.fsencode(name + os.sep), True
                elif name in PARQUET_NOTES:
                    looked.notes.add(root + inner + name)
                elif entry.is_file(follow_symlinks=False) or not _is_endless(entry.path):
                    yield os.fsencode(name), False
                else:
                    looked.endless.add(root + inner + name)
    except OSError as error:
        raise input_error(str(error.filename)[:-1] or os.sep, error) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell a folder, or a link to one; False for what cannot be known, as a link to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _expand(pattern: str, announce: Announce | None) -> list[tuple[str, str]]:
    """Return the files that match a pattern."""
    matching = set(match_pattern(pattern))
    folders = {path for path in matching if os.path.isdir(path)}  # noqa: PTH112 - there may be many
    found = _leave_out(pattern, [*matching - folders], announce)
    if not found:
        raise InputError(f"{pattern}: no file matches")
    if "**" not in pattern.split("/"):
        _announce_left_out(pattern, folders, "because it is a folder", announce)
    return [(path, Path(path).name) for path in sorted(found, key=os.fsencode)]


def _leave_out(where: str, paths: list[str], announce: Announce | None) -> list[str]:
    """Return the paths without pipes, devices and Parquet's notes on its files; what is left out is announced."""
    endless = {*filter(_is_endless, paths)}
    notes = {path for path in paths if path.endswith(PARQUET_NOTES) and Path(path).name in PARQUET_NOTES}
    _announce_left_out(where, endless, "because it is not a regular file", announce)
    _announce_left_out(where, notes, "because it only describes other files", announce)
    return [path for path in paths if path not in endless and path not in notes]


def _is_endless(path: str) -> bool:
    """Tell whether a path is there and is not a regular file. One that is missing gets its own error later."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - there may be many
    except (OSError, ValueError):
        return False


def _announce_left_out(where: str, paths: set[str], reason: str, announce: Announce | None) -> None:
    if paths and announce is not None:
        some = ", ".join(sorted(paths, key=os.fsencode)[:MAX_NAMED])
        more = f" and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else ""
        announce(f"{where}: left out, {reason}: {some}{more}; name one to read it")
