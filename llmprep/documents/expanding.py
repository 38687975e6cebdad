"""The paths that a user named -> files: folders are walked, patterns expanded, what holds no text left out and said."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmprep.choices import Announce
from llmprep.documents.patterns import match_pattern
from llmprep.documents.source import STDIN, input_error
from llmprep.errors import InputError, UsageError

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
        elif glob.has_magic(path) and not os.path.lexists(path):
            yield from _expand(path, announce)
        else:
            yield path, Path(path).name


def _walk(folder: str, announce: Announce | None) -> list[tuple[str, str]]:
    """Return every file below a folder; links to folders are not followed, so a loop cannot trap us."""

    def fail(error: OSError) -> None:
        raise input_error(str(error.filename), error) from error

    found: list[str] = []
    n_hidden = n_links = 0
    for parent, folders, files in os.walk(folder, onerror=fail):
        shown = [name for name in files if not name.startswith(".")]
        n_hidden += len(files) - len(shown) + sum(name.startswith(".") for name in folders)
        folders[:] = [name for name in folders if not name.startswith(".")]
        n_links += sum(os.path.islink(os.path.join(parent, name)) for name in folders)  # noqa: PTH114, PTH118
        found += [os.path.join(parent, name) for name in shown]  # noqa: PTH118
    if n_hidden and announce is not None:
        announce(f"{folder}: {n_hidden} hidden files or folders in it are left out; name them to take them")
    if n_links and announce is not None:
        announce(f"{folder}: {n_links} links to folders in it are not followed; name them to follow them")
    taken = _leave_out(folder, found, announce)
    if not taken:
        raise UsageError(f"{folder}: there is no file in this folder")
    named = [(path, os.path.relpath(path, folder).replace(os.sep, "/")) for path in taken]
    return sorted(named, key=lambda pair: os.fsencode(pair[1]))


def _expand(pattern: str, announce: Announce | None) -> list[tuple[str, str]]:
    """Return the files that match a pattern."""
    matching = set(match_pattern(pattern))
    folders = {path for path in matching if os.path.isdir(path)}  # noqa: PTH112 - there may be many
    found = _leave_out(pattern, [*matching - folders], announce)
    if not found:
        raise InputError(f"{pattern}: no file matches")
    if "**" not in pattern.split("/"):
        _announce_left_out(pattern, folders, "as a folder", announce)
    return [(path, Path(path).name) for path in sorted(found, key=os.fsencode)]


def _leave_out(where: str, paths: list[str], announce: Announce | None) -> list[str]:
    """Return the paths without pipes, devices and Parquet's notes on its files; what is left out is announced."""
    endless = {*filter(_is_endless, paths)}
    notes = {path for path in paths if path.endswith(PARQUET_NOTES) and Path(path).name in PARQUET_NOTES}
    _announce_left_out(where, endless, "as no regular file", announce)
    _announce_left_out(where, notes, "as it is about other files", announce)
    return [path for path in paths if path not in endless and path not in notes]


def _is_endless(path: str) -> bool:
    """Tell whether a path is there and is no regular file. One that is missing gets its own error later."""
    return os.path.exists(path) and not os.path.isfile(path)  # noqa: PTH110, PTH113 - there may be many


def _announce_left_out(where: str, paths: set[str], reason: str, announce: Announce | None) -> None:
    if paths and announce is not None:
        some = ", ".join(sorted(paths, key=os.fsencode)[:MAX_NAMED])
        more = f" and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else ""
        announce(f"{where}: left out, {reason}: {some}{more}; name one to read it")
