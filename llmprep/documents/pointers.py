"""Small files that stand for large ones which were not fetched."""

from __future__ import annotations

import re

from llmprep.errors import DataError

POINTER_BYTES = 1024
_POINTERS = (
    (
        re.compile(rb"version https://git-lfs\.github\.com/spec/v1\r?\n(?s:.*)^oid ", re.MULTILINE),
        "is a Git LFS pointer, not the data; fetch it with: git lfs pull",
    ),
    (
        re.compile(rb"/annex/objects/[!-~]+\s*\Z"),
        "is a git-annex pointer, not the data; fetch it with: git annex get",
    ),
)
"""Small files that stand for large ones which were not fetched."""


def refuse_pointer(path: str, head: bytes) -> None:
    """Raise `DataError` if bytes, all that there are, stand for a file which was not fetched."""
    for pointer, advice in _POINTERS:
        if pointer.match(head):
            raise DataError(f"{path}: {advice}")
