"""What each source is called in the files that llmprep writes: the same wherever its folder lies."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llmprep.documents.source import STDIN, Source


def distinct_names(sources: Sequence[Source]) -> list[Source]:
    """Return the sources, where several share a name with as many of their folders as tell them apart.

    A file that is named twice keeps one name.
    """
    if len({source.name for source in sources}) == len(sources):
        return list(sources)
    parts = {source.path: _parts(source.path) for source in sources if source.path != STDIN}
    depths = {source.path: source.name.count("/") + 1 for source in sources if source.path != STDIN}
    while longer := _ambiguous(parts, depths):
        for path in longer:
            depths[path] += 1
    names = {path: printable_name("/".join(parts[path][-depths[path] :])) for path in parts}
    return [replace(source, name=names.get(source.path, source.name)) for source in sources]


def printable_name(name: str) -> str:
    r"""Return a name in which bytes that are not UTF-8 are written out.

    >>> printable_name("caf\udce9.txt")
    'caf\\xe9.txt'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _parts(path: str) -> list[str]:
    return Path(os.path.abspath(path)).as_posix().strip("/").split("/")  # noqa: PTH100 - resolves .., follows no link


def _ambiguous(parts: dict[str, list[str]], depths: dict[str, int]) -> list[str]:
    """Return the paths whose last parts, as many as their depth, are also those of another file."""
    sharing: defaultdict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
    for path, depth in depths.items():
        sharing[tuple(parts[path][-depth:])].add(tuple(parts[path]))
    return [
        path
        for path, depth in depths.items()
        if len(sharing[tuple(parts[path][-depth:])]) > 1 and depth < len(parts[path])
    ]
