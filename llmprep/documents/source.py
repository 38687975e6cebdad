"""One input, and what has been counted of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from llmprep.errors import InputError

if TYPE_CHECKING:
    from llmprep.documents.opening import ByteStream

STDIN = "-"
BOM = b"\xef\xbb\xbf"
FIELD = "text"
COMPRESSED = (".gz", ".gzip", ".bz2", ".bz", ".xz", ".lzma", ".zst", ".zstd")
"""Endings of names that promise compressed content. Whether it is, its first bytes tell."""
Format: TypeAlias = Literal["text", "jsonl", "parquet"]


@dataclass(slots=True)
class Source:
    """One input, and what has been read of it so far.

    ``path`` is as the user gave it, for messages; ``name`` is its last part, or its place inside a folder that was
    named, for files: it must not depend on where the folder lies. ``size`` is None for what does not tell it (a pipe).
    ``n_bytes`` and ``sha256`` are of the bytes as they came, compressed or not; ``n_text`` counts those of a plain
    text as it is encoded, with newlines as chosen and without a mark. A ``span`` names a part of a plain text or
    of JSON Lines by two byte positions, each of which means the first safe cut, or begin of a line, at or after it;
    ``begin`` is where it really begins.

    ``n_documents`` counts those with text, ``n_empty`` the records without. ``gaps`` are runs [number, count] of the
    numbers, from 1 on, of records without text and of blank lines; None where they are too many. ``remarks`` are what a
    person should know of the input: each goes on a sentence that begins with its name.
    """

    path: str
    name: str
    size: int | None = None
    format: Format = "text"
    text_field: str = FIELD
    span: tuple[int, int] | None = None
    begin: int = 0
    n_bytes: int = 0
    n_chars: int = 0
    n_text: int = 0
    n_tokens: int = 0
    n_documents: int = 0
    n_empty: int = 0
    gaps: list[list[int]] | None = field(default_factory=list)
    bom: bool = False
    sha256: str = ""
    remarks: tuple[str, ...] = ()
    stream: ByteStream | None = field(default=None, repr=False)

    def remark(self, text: str) -> None:
        """Keep a remark, once."""
        if text not in self.remarks:
            self.remarks += (text,)


def count_remarks(sources: Sequence[Source]) -> dict[str, tuple[str, int]]:
    """Return each remark on some sources, with the first of them that it is true of, and of how many it is."""
    found: dict[str, tuple[str, int]] = {}
    for source in sources:
        for remark in source.remarks:
            first, count = found.get(remark, (source.path, 0))
            found[remark] = first, count + 1
    return found


def promises_compression(path: str) -> bool:
    """Tell by its name whether a file should be compressed."""
    return path.lower().endswith(COMPRESSED)


def input_error(path: str, error: OSError | ValueError) -> InputError:
    """Return the error for a file that cannot be opened or read, in the operating system's words."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if "embedded null" in reason:  # each Python has other words for it
        reason = "no name holds a NUL character"
    return InputError(f"{path}: {reason[:1].lower()}{reason[1:]}")
