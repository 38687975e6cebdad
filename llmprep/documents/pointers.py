"""Small files that stand for large ones which were not fetched."""

from __future__ import annotations

import re

from llmprep.errors import DataError

POINTER_BYTES = 1024
"""A larger file is no pointer."""
POINTERS = {
    re.compile(rb"version https://git-lfs\.github\.com/spec/v1\r?\n(?s:.*)^oid ", re.MULTILINE): (
        "is a Git LFS pointer, not the data; fetch it with: git lfs pull"
    ),
    re.compile(rb"/annex/objects/[!-~]+\s*\Z"): "is a git-annex pointer, not the data; fetch it with: git annex get",
}


def refuse_pointer(path: str, content: bytes) -> None:
    """Raise `DataError` if a file's content, all of it, stands for a file which was not fetched."""
    for pointer, advice in POINTERS.items():
        if pointer.match(content):
            raise DataError(f"{path}: {advice}")
