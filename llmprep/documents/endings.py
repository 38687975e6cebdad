"""What the ending of a file's name says: the format of its content, and whether it is compressed."""

from __future__ import annotations

import os

from llmprep.documents.source import Format

_COMPRESSED = (".gz", ".gzip", ".bz2", ".bz", ".xz", ".lzma", ".zst", ".zstd")
_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".jsonlines": "jsonl", ".jl": "jsonl", ".parquet": "parquet",
}  # fmt: skip


def format_by_name(path: str) -> Format:
    """Return the format that a name promises, before an ending for compression; text if it promises none.

    >>> format_by_name("part-0.JSONL.gz"), format_by_name("notes.md")
    ('jsonl', 'text')
    """
    return _FORMATS.get(plain_ending(path), "text")


def plain_ending(path: str) -> str:
    """Return a name's ending in small letters, that before an ending for compression.

    >>> plain_ending("table.CSV.gz")
    '.csv'
    """
    name = path.lower()
    if promises_compression(name):
        name = os.path.splitext(name)[0]  # noqa: PTH122 - there may be many
    return os.path.splitext(name)[1]  # noqa: PTH122


def promises_compression(path: str) -> bool:
    """Tell by its name whether a file should be compressed. Whether it is, its first bytes tell."""
    return path.lower().endswith(_COMPRESSED)
