"""What each source is called in the files that llmprep writes: the same wherever its folder lies."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from llmprep.documents.source import STDIN
from llmprep.documents.sources import Sources


def distinct_names(sources: Sources) -> Sources:
    """Return the sources, where several share a name with as many of their folders as tell them apart.

    A file that is named twice keeps one name.
    """
    if not have_equals(map(hash, sources.names)):
        return sources
    parts = {path: _parts(path) for path in sources.paths if path != STDIN}
    pairs = [(path, name) for path, name in zip(sources.paths, sources.names, strict=True) if path != STDIN]
    depths = {path: name.count("/") + 1 for path, name in pairs}
    while longer := _ambiguous(parts, depths):
        for path in longer:
            depths[path] += 1
    names = {path: printable_name("/".join(parts[path][-depths[path] :])) for path in parts}
    return sources.renamed(names.get(path, name) for path, name in zip(sources.paths, sources.names, strict=True))


def have_equals(numbers: Iterable[int]) -> bool:
    """Tell whether two of some numbers are the same, in less memory than a set takes."""
    return any(before == after for before, after in pairwise(sorted(numbers)))


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
