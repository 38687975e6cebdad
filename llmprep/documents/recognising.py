"""What the first bytes of an input say: how it is compressed, or that it is not a text."""

from __future__ import annotations

import re

from llmprep.documents.endings import promises_compression
from llmprep.documents.kinds import CONVERT, PT_FILE, SIGNATURES, markup_remark, name_of_nuls, signature_of
from llmprep.documents.opening import HEAD_BYTES, ByteStream, peek
from llmprep.documents.pointers import POINTER_BYTES, POINTERS, refuse_pointer
from llmprep.documents.source import BOM, READ_BY_SEEKING, Source
from llmprep.errors import DataError, FileFormatError

MAGIC_BYTES = 18
"""How many first bytes tell how a file is compressed; they also hold the whole header of a zstandard frame."""
_COMPRESSIONS = {
    "gzip": re.compile(rb"\x1f\x8b"),
    # A text may begin with BZh91AY&SY: after that and a checksum, a block has a byte of at most 6 (its highest place).
    "bzip2": re.compile(rb"BZh(?:[1-9](?:1AY&SY(?:.{4}[\x00-\x06]|.{0,4}\Z)|\x17rE8P\x90|1?A?Y?&?S?\Z)|\Z)", re.DOTALL),
    "xz": re.compile(rb"\xfd7zXZ\x00"),
    "lzma": re.compile(rb"\x5d\x00\x00..(?:\xff{8}|.{5}\x00{3})", re.DOTALL),
    "zstandard": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),  # a frame, or one to be skipped first
}
_RECORD = re.compile(rb'\s*\{\s*"(?:[^"\\]|\\.)*"\s*:')
"""The first bytes of a JSON object."""
_RECORDS = "begins with a JSON object and is read as plain text; --field NAME reads its records"
_SPOKEN_OF = re.compile(
    b"|".join(
        b"(?:%b)" % pattern.pattern
        for pattern in (
            *_COMPRESSIONS.values(),
            *(each[0] for each in SIGNATURES),
            *POINTERS,
            _RECORD,
            re.compile(BOM),
        )
    ),
    re.DOTALL | re.MULTILINE,
)
"""The first bytes of whatever is said, or done, something about."""


def compression(head: bytes) -> str | None:
    r"""Return how a file with these first bytes is compressed, None if it is not.

    >>> compression(b"\x1f\x8b\x08\x00"), compression(b"BZh is how bzip2 begins")
    ('gzip', None)
    """
    return next((name for name, magic in _COMPRESSIONS.items() if magic.match(head)), None)


def is_compressed(source: Source) -> bool:
    """Tell by its first bytes whether a source is compressed; it is opened and closed for that."""
    return compression(peek(source, MAGIC_BYTES)) is not None


def is_packed(source: Source) -> bool:
    """Tell whether a file's text is not its own bytes, so that it cannot be entered in the middle and may be longer."""
    return source.format in READ_BY_SEEKING or is_compressed(source)


def is_plainly_text(path: str, data: bytes) -> bool:
    """Tell that nothing would be said of a file with this content, nor done about it: no, where that is not certain."""
    return (
        b"\0" not in data and not _SPOKEN_OF.match(data) and not path.endswith(".pt") and not promises_compression(path)
    )


def require_text(stream: ByteStream, head: bytes) -> None:
    """Raise for first bytes, of the content of a stream, that no text has; remark on records that are read as text.

    Raises `FileFormatError` where the name promises a .pt file, else `DataError`, which says what it looks like.
    """
    source = stream.source
    if source.path.endswith(".pt") and not head.startswith(b"PK\x03\x04"):
        raise FileFormatError(f"{source.path}: not a .pt file, by its first bytes; rename it if it is a text")
    if len(head) < POINTER_BYTES:
        refuse_pointer(source.path, head)  # one that comes through a pipe, or was compressed
    what, advice = looks_like(source.path, head)
    if what:
        raise DataError(f"{source.path}: looks like {what}, not UTF-8 text; {advice}")
    if source.format == "text":
        stream.counts.remark(_RECORDS if _begins_with_record(head) else markup_remark(source.path))


def refuse_archive(path: str, head: bytes) -> None:
    """Raise `DataError` for the first bytes of a zip that is plainly not a .pt file, which is one too."""
    what, advice = looks_like(path, head)
    if what != PT_FILE and not path.endswith(".pt"):
        raise DataError(f"{path}: looks like {what}, not UTF-8 text; {advice}")


def looks_like(path: str, head: bytes) -> tuple[str, str]:
    """Return what a file with these first bytes is, and what to do with it; an empty name for a text."""
    what, advice = signature_of(path, head)
    inner = compression(head)
    n_nuls = head.count(0)
    if what:
        return what, advice
    if inner is not None:
        return f"{inner} data inside compressed data", CONVERT
    return (name_of_nuls(head) if n_nuls > 1 and n_nuls * 20 >= len(head) else ""), CONVERT


def _begins_with_record(head: bytes) -> bool:
    """Tell whether the first line is a JSON object; of a line longer than the head, whether it begins like one."""
    line, end, _ = head.removeprefix(BOM).partition(b"\n")
    if not _RECORD.match(line):
        return False
    return line.rstrip().endswith(b"}") if end or len(head) < HEAD_BYTES else True
