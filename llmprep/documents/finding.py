"""What the user named -> a list of sources, each checked before any is read."""

from __future__ import annotations

import os
import stat
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from llmprep.choices import TEXT_FIELD, Announce, OnBad
from llmprep.documents.endings import format_by_name
from llmprep.documents.expanding import MAX_NAMED, expand_paths
from llmprep.documents.pointers import POINTER_BYTES, refuse_pointer
from llmprep.documents.source import READ_BY_SEEKING, READ_ONLY, STDIN, Format, Source, input_error, is_of_one_file
from llmprep.documents.source_names import distinct_names, have_equals, printable_name
from llmprep.documents.sources import Sources
from llmprep.errors import DataError, InputError, LlmprepError, UsageError, plural

Identity: TypeAlias = tuple[int, int]
"""Device and inode: the same for every path to one file."""
NOBODY: Identity = (0, 0)
PathName: TypeAlias = str | os.PathLike[str]


def path_names(paths: PathName | Sequence[PathName]) -> list[str]:
    """Return the names of one path or of several.

    >>> path_names("a.txt"), path_names([Path("b.txt"), "-"])
    (['a.txt'], ['b.txt', '-'])
    """
    return list(map(os.fsdecode, [paths] if isinstance(paths, str | bytes | os.PathLike) else paths))


def find_sources(
    paths: Sequence[str],
    field_name: str | None = None,
    announce: Announce | None = None,
    *,
    look: bool = True,
    on_bad: OnBad = "stop",
) -> Sources:
    """Return one source per file: ``-`` is standard input, folders are walked, patterns expanded.

    Files of a folder or pattern come in byte order of their path, on every machine. ``.jsonl`` and ``.parquet`` files
    hold records, whose ``field_name`` is the text; with a ``field_name`` every input that is not Parquet is JSON Lines.
    Where several have one name, each gets as many of its folders as tell it from the others.
    Raises `InputError` for what is missing or unreadable, `UsageError` for a folder without files or a terminal,
    `DataError` for a pointer that stands for a file, which a caller that reads small files itself may ``look`` for.
    With ``on_bad`` "skip", a file that is missing, unreadable or a pointer is left out, unless all are.
    """
    if list(paths).count(STDIN) > 1:
        raise UsageError("-: standard input can be read only once")
    if field_name is not None and not _is_utf8(field_name):
        raise UsageError(f"--field {field_name}: is not valid UTF-8, as the name of every field is")
    sources, devices, inodes = Sources(), array("Q"), array("Q")
    bad: dict[int, LlmprepError] = {}
    for path, name in expand_paths(paths, announce):
        advise = on_bad == "stop" or (len(paths) == 1 and path == paths[0])  # not of many: each takes a look
        try:
            source, (device, inode) = _check(path, name, field_name, look=look, advise=advise)
        except (InputError, DataError) as error:
            if on_bad == "stop" or path == STDIN or not is_of_one_file(error):
                raise
            bad[len(sources)] = error
            source, (device, inode) = Source(path, printable_name(name), 0, text_field=field_name or TEXT_FIELD), NOBODY
        sources.append(source)
        devices.append(device)
        inodes.append(inode)
    if announce is not None and have_equals(inodes):
        _announce_repeated(sources, [*zip(devices, inodes, strict=True)], announce)
    return leave_out(distinct_names(sources), bad)


def leave_out(sources: Sources, bad: Mapping[int, LlmprepError]) -> Sources:
    """Return the sources without those that are bad. Raises the error of the first of these where none is left."""
    if not bad:
        return sources
    if len(bad) == len(sources):
        raise bad[0]
    reasons = {number: str(error).removeprefix(f"{sources.paths[number]}: ") for number, error in bad.items()}
    return sources.without({number: printable_name(reason) for number, reason in reasons.items()})


def require_stdin() -> None:
    """Raise `InputError` where standard input is closed, `UsageError` where it is a terminal."""
    if sys.stdin is None:
        raise InputError("-: standard input is closed")
    if sys.stdin.isatty():
        raise UsageError("-: standard input is a terminal; pipe text into it or name a file")


def _check(path: str, name: str, field_name: str | None, *, look: bool, advise: bool) -> tuple[Source, Identity]:
    """Return a source, and what tells a regular file from others, `NOBODY` of what is none."""
    text_field = field_name or TEXT_FIELD
    if path == STDIN:
        require_stdin()
        return Source(path, name, format="jsonl" if field_name else "text", text_field=text_field), NOBODY
    try:
        status = os.stat(path)  # noqa: PTH116 - there may be many
    except (OSError, ValueError) as error:
        raise input_error(path, error, advise=advise) from error
    is_opened = stat.S_ISREG(status.st_mode) and status.st_size < (POINTER_BYTES if look else 1)
    if not is_opened and not os.access(path, os.R_OK):
        raise InputError(f"{path}: permission denied")
    size = _size_of(path, status, is_opened=is_opened)
    source = Source(path, printable_name(name), size, _format_of(path, field_name), text_field)
    if source.format in READ_BY_SEEKING and size is None:
        raise UsageError(f"{path}: a Parquet file is read by seeking; it cannot come through a pipe")
    return source, NOBODY if size is None else (status.st_dev, status.st_ino)


def _size_of(path: str, status: os.stat_result, *, is_opened: bool) -> int | None:
    """Return the size of a regular file, None for others. Raises `DataError` for a pointer that stands for a file."""
    if not stat.S_ISREG(status.st_mode):
        return None
    if is_opened:
        head = _read_head(path)
        refuse_pointer(path, head)
        if status.st_size == 0 and head:  # as in /proc, and some network file systems: it is known at the end
            return None
    return status.st_size


def _read_head(path: str) -> bytes:
    try:
        number = os.open(path, READ_ONLY)
        try:
            return os.read(number, POINTER_BYTES)
        finally:
            os.close(number)
    except OSError as error:
        raise input_error(path, error) from error


def _format_of(path: str, field_name: str | None) -> Format:
    named = format_by_name(path)
    return "jsonl" if field_name is not None and named == "text" else named


def _announce_repeated(sources: Sources, identities: Sequence[Identity], announce: Announce) -> None:
    """Say which files are inputs more than once: by another path, a link, a folder and a name."""
    first: dict[Identity, Source] = {}
    repeated: list[tuple[Source, Source]] = []
    for source, identity in zip(sources, identities, strict=True):
        if identity != NOBODY and source.size:
            before = first.setdefault(identity, source)
            repeated += [(source, before)] if before is not source else []
    for source, before in repeated[:MAX_NAMED]:
        same = "was named before" if source.path == before.path else f"is the same file as {before.path}"
        announce(f"{source.path}: {same}; its tokens are included each time")
    if len(repeated) > MAX_NAMED:
        more = len(repeated) - MAX_NAMED
        announce(f"and {plural(more, 'more input')} like these; their tokens are included each time")


def _is_utf8(text: str) -> bool:
    """Tell whether a word of the command line, where bytes that are not UTF-8 become surrogates, is UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
