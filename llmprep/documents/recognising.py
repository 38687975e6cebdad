"""What the first bytes of a file say: a text, or something that is none."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

from llmprep.documents.decompressing import compression
from llmprep.documents.opening import HEAD_BYTES, ByteStream
from llmprep.documents.pointers import POINTER_BYTES, refuse_pointer
from llmprep.documents.source import BOM
from llmprep.errors import DataError, FileFormatError

_UNPACK = "unpack it first: {} | llmprep ... -"
_CONVERT = "convert it first"
_SIGNATURES = tuple(
    (re.compile(pattern, re.DOTALL), what, advice)
    for pattern, what, advice in (
        (rb"\xff\xfe\x00\x00", "UTF-32 text (little-endian)", _CONVERT),
        (rb"\x00\x00\xfe\xff", "UTF-32 text (big-endian)", _CONVERT),
        (rb"\xff\xfe", "UTF-16 text (little-endian)", _CONVERT),
        (rb"\xfe\xff", "UTF-16 text (big-endian)", _CONVERT),
        (rb"\x89PNG\r\n", "a PNG image", _CONVERT),
        (rb"\xff\xd8\xff", "a JPEG image", _CONVERT),
        (rb"GIF8[79]a.{0,64}\x00", "a GIF image", _CONVERT),
        (
            rb"%PDF-[12]\.\d[ \t]*[\r\n]+(?:%[\x80-\xff]{4}|(?:%[^\r\n]*[\r\n]+)*\d+ \d+ obj)",
            "a PDF document",
            _CONVERT,
        ),
        (
            rb"PK\x03\x04.{26}[^/]{1,120}/(?:data\.pkl|data/0|\.data|byteorder)",
            "a .pt file",
            "give one alone, or all the texts that they were made from",
        ),
        (rb"PK\x03\x04", "a zip archive", _UNPACK.format("unzip -p FILE")),
        (rb"PAR1.{0,64}[\x00-\x08\x0e-\x1f]", "a Parquet file", "give it a name that ends in .parquet"),
        (rb"\x1f\x9d", "data of compress (.Z)", _UNPACK.format("gzip -dc FILE")),
        (rb"\x04\x22\x4d\x18", "lz4 data", _UNPACK.format("lz4 -dc FILE")),
        (rb"LZIP\x01", "lzip data", _UNPACK.format("lzip -dc FILE")),
        (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK.format("7z x -so FILE")),
        (rb"Rar!\x1a\x07", "a RAR archive", _UNPACK.format("unrar p -inul FILE")),
        (rb"\x7fELF", "a program", _CONVERT),
        (rb"SQLite format 3\x00", "an SQLite database", _CONVERT),
        (rb".{257}ustar(?:\x00|  \x00)", "a tar archive", _UNPACK.format("tar -xOf FILE")),
    )
)
"""What is no text, by its first bytes: those that a text might begin with too are asked for more than these."""
_RECORD = re.compile(rb'\s*\{\s*"(?:[^"\\]|\\.)*"\s*:')
"""The first bytes of a JSON object."""


def checked_head(stream: ByteStream, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Refuse what is plainly not UTF-8 text, and say what it looks like; else return ``read``, nothing taken."""
    head = b""
    while len(head) < HEAD_BYTES and (data := read(HEAD_BYTES - len(head))):
        head += data
    check_head(stream, head)
    kept = io.BytesIO(head)
    return lambda count: kept.read(count) or read(count)


def check_head(stream: ByteStream, head: bytes) -> None:
    """Raise `DataError` or `FileFormatError` for first bytes that no text has; note records that are read as text."""
    source = stream.source
    if source.path.endswith(".pt") and not head.startswith(b"PK\x03\x04"):
        raise FileFormatError(f"{source.path}: not a .pt file, by its first bytes; rename it if it is a text")
    if len(head) < POINTER_BYTES:
        refuse_pointer(source.path, head)  # one that comes through a pipe, or was packed
    what, advice = _looks_like(head)
    if what:
        raise DataError(f"{source.path}: looks like {what}, not UTF-8 text; {advice}")
    if source.format == "text" and _begins_with_record(head):
        stream.counts.remark("begins with a JSON object and is read as plain text; --field NAME reads its records")


def _looks_like(head: bytes) -> tuple[str, str]:
    """Return what the first bytes are of, and what to do with it; nothing of a text."""
    for signature, what, advice in _SIGNATURES:
        if signature.match(head):
            return what, advice
    packed = compression(head)
    if packed is not None:
        return f"{packed} data inside compressed data", _CONVERT
    nuls = head.count(0)
    return (_with_nuls(head) if nuls > 1 and nuls * 20 >= len(head) else ""), _CONVERT


def _begins_with_record(head: bytes) -> bool:
    """Tell whether the first line is a JSON object; of a line longer than the head, whether it begins like one."""
    line, end, _ = head.removeprefix(BOM).partition(b"\n")
    if not _RECORD.match(line):
        return False
    return line.rstrip().endswith(b"}") if end or len(head) < HEAD_BYTES else True


def _with_nuls(head: bytes) -> str:
    empty = [head[k::4].count(0) * 4 > 0.7 * len(head) for k in range(4)]
    match empty:
        case [False, True, True, True]:
            return "UTF-32 text (little-endian, without a mark)"
        case [True, True, True, False]:
            return "UTF-32 text (big-endian, without a mark)"
        case [False, True, False, True]:
            return "UTF-16 text (little-endian, without a mark)"
        case [True, False, True, False]:
            return "UTF-16 text (big-endian, without a mark)"
        case _:
            return f"binary data ({head.count(0)} NUL bytes near its start)"
