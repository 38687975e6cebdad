"""One input, as it is known before it is read, and what has been counted of it.

A `Source` never changes. What reading it finds out goes into its `Counts`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import FileIO
from typing import Literal, NamedTuple, TypeAlias

from llmprep.choices import TEXT_FIELD
from llmprep.errors import InputError, LlmprepError
from llmprep.missing import advise_missing

STDIN = "-"
READ_ONLY = os.O_RDONLY | getattr(os, "O_BINARY", 0)
BOM = b"\xef\xbb\xbf"
Format: TypeAlias = Literal["text", "jsonl", "parquet"]
READ_BY_SEEKING: frozenset[Format] = frozenset({"parquet"})
"""Formats that are neither read through a pipe nor entered in the middle."""
Record: TypeAlias = tuple[bytes | None, int, int]
"""A record's text in UTF-8, how many characters it has, and where it is. A blank line has the text None."""


@dataclass(slots=True, eq=False)
class OpenFile:
    """An open file, and the bytes of it that were looked at and not taken yet."""

    file: FileIO
    ahead: bytes = b""


@dataclass(frozen=True, slots=True)
class Source:
    """One input, as it is known before it is read.

    ``path`` is as the user gave it, for messages; ``name`` is its last part, or its place inside a folder that was
    named, for files: it must not depend on where the folder lies. ``size`` in bytes is None where it is not known (a
    pipe). A ``span`` names a part of a plain text or of JSON Lines by two byte positions, each of which stands for the
    first safe cut, or start of a line, at or after it. ``pipe`` is the open file of what can be opened only once.
    """

    path: str
    name: str
    size: int | None = None
    format: Format = "text"
    text_field: str = TEXT_FIELD
    span: tuple[int, int] | None = None
    pipe: OpenFile | None = field(default=None, repr=False, compare=False)


class LeftOut(NamedTuple):
    """An input that was left out: its name, as a source has one, why, and its path, where it was found."""

    name: str
    reason: str
    path: str = ""


@dataclass(slots=True)
class Counts:
    """What has been counted of one source so far; final when it has been read to its end.

    ``begin`` is the byte at which the source's span really begins. ``n_bytes`` and ``sha256`` are of the bytes as they
    came, compressed or not; ``n_text`` counts the bytes of a plain text as it is encoded, with newlines as chosen and
    without a byte order mark. ``n_documents`` counts those with text, ``n_empty`` the records without. ``gaps`` are
    runs [number, count] of the numbers, from 1 on, of records without text and of blank lines; None where there are too
    many to keep. ``remarks`` are what a person should know of the input: each continues a sentence that begins with its
    name.
    """

    source: Source
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

    def remark(self, text: str | None) -> None:
        """Keep a remark, if there is one, once."""
        if text is not None and text not in self.remarks:
            self.remarks += (text,)


def count_remarks(counted: Sequence[Counts]) -> dict[str, tuple[str, int]]:
    """Return each remark on some sources, with the path of the first it applies to, and to how many it applies."""
    found: dict[str, tuple[str, int]] = {}
    for counts in counted:
        for remark in counts.remarks:
            first, number = found.get(remark, (counts.source.path, 0))
            found[remark] = first, number + 1
    return found


def is_of_one_file(error: LlmprepError) -> bool:
    """Tell whether an error of reading is a fault of the file that was read, and not of the machine."""
    cause = error.__cause__
    return not (isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM))


def input_error(path: str, error: OSError | ValueError, *, advise: bool = False) -> InputError:
    """Return the error for a file that cannot be opened or read, in the operating system's words.

    With ``advise`` it ends with what may have been meant by a name that is not there, which takes a look at a folder.
    """
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if "embedded null" in reason:  # each Python has other words for it
        reason = "no name holds a NUL character"
    advice = advise_missing(path) if advise and isinstance(error, FileNotFoundError) else ""
    return InputError(f"{path}: {reason[:1].lower()}{reason[1:]}{advice}")
