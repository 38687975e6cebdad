"""The files that a pattern matches, found by a walk that hides no error."""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import re
import stat
from collections.abc import Iterator, Sequence

from llmprep.documents.source import input_error


def match_pattern(pattern: str) -> Iterator[str]:
    """Yield what a pattern matches, as Python's glob does but for two things.

    A ``**`` follows no links, so a loop cannot trap us; and a folder that cannot be entered or read is an error, as it
    is where a folder is named.
    """
    pattern = pattern.replace(os.sep, "/")
    root = "/" * (len(pattern) - len(pattern.lstrip("/")))
    if not pattern.endswith("/"):
        yield from _match(root, [part for part in pattern.split("/") if part])


def _match(base: str, parts: Sequence[str]) -> Iterator[str]:
    """Yield what ``parts`` match below ``base``, which is empty or ends with a slash."""
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _match_below(base, rest or ["*"])
    elif rest:
        for folder in _match_name(base, part):
            if _leads_to_folder(folder):
                yield from _match(f"{folder}/", rest)
    else:
        yield from _match_name(base, part)


def _match_name(base: str, part: str) -> Iterator[str]:
    """Yield what is in a folder by a name or a pattern of names."""
    if not glob.has_magic(part):
        yield from [base + part] if _exists(base + part) else []
        return
    matches = re.compile(fnmatch.translate(part)).match
    for entry in _list_folder(base):
        if matches(entry.name) and (part.startswith(".") or not entry.name.startswith(".")):
            yield base + entry.name


def _match_below(base: str, rest: Sequence[str]) -> Iterator[str]:
    """Yield what ``rest`` matches in ``base`` and every folder below it that is neither hidden nor a link."""
    yield from _match(base, rest)
    for entry in _list_folder(base):
        if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
            yield from _match_below(f"{base}{entry.name}/", rest)


def _leads_to_folder(path: str) -> bool:
    """Tell whether a path is a folder or a link to one; that we are not allowed to know it is an error."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 - there may be many
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise input_error(path, error) from error


def _list_folder(base: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(base or ".") as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise input_error(base, error) from error


def _exists(path: str) -> bool:
    """Tell whether there is something of that name; that we are not allowed to know it is an error."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise input_error(path, error) from error
    return True
