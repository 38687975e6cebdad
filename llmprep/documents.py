"""Paths -> documents: find, open, decode strictly, normalise newlines, yield blocks of text.

A file is one document. It is read in blocks that end at a *safe cut*: after ``[A-Za-z0-9]`` and before an
ASCII space, tab, CR or LF. There, and only there, encoding the two sides apart gives the ids of
encoding them together, for the r50k, p50k, cl100k and o200k patterns; each of those patterns ends a piece after a
letter or digit that white space follows, and none looks behind. A cut never splits a UTF-8 character, a CRLF, or
a special token, as none of these holds such a place.

Text without such a place (Chinese, minified code) makes its block grow, up to `MAX_UNCUT_BYTES`.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

from llmprep.errors import DataError, FileFormatError, InputError, UsageError

Newlines: TypeAlias = Literal["universal", "keep"]

BLOCK_BYTES = 1 << 20
MAX_UNCUT_BYTES = 256 << 20
BOM = b"\xef\xbb\xbf"
STDIN = "-"

_SAFE_CUT = re.compile(rb"[A-Za-z0-9](?=[ \t\r\n])")
_HEAD_BYTES = 4096
_SIGNATURES = (
    (b"\xff\xfe\x00\x00", "UTF-32 text (little-endian)"),
    (b"\x00\x00\xfe\xff", "UTF-32 text (big-endian)"),
    (b"\xff\xfe", "UTF-16 text (little-endian)"),
    (b"\xfe\xff", "UTF-16 text (big-endian)"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\x00", "xz data"),
    (b"\x28\xb5\x2f\xfd", "zstandard data"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\x00", "an SQLite database"),
)


@dataclass(slots=True)
class Source:
    """One input, and what has been read of it so far.

    ``path`` is as the user gave it, for messages; ``name`` is its last part, for files: it must not
    depend on the folder. ``sha256`` and ``n_bytes`` are of the bytes as they came.
    """

    path: str
    name: str
    n_bytes: int = 0
    n_chars: int = 0
    n_tokens: int = 0
    bom: bool = False
    sha256: str = ""
    file: BinaryIO | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Block:
    """Text of one document from one safe cut to a later one.

    ``offset`` is where it begins in its source, in bytes; ``raw`` is how it stood there.
    """

    source: Source
    text: str
    raw: bytes
    offset: int


def find_sources(paths: Sequence[str]) -> list[Source]:
    """Check every path before any is read; ``-`` is standard input.

    Raises `InputError` for what is missing or unreadable, `UsageError` for a folder or a terminal.
    """
    if paths.count(STDIN) > 1:
        raise UsageError("-: standard input can be read only once")
    return [_find(path) for path in paths]


def _find(path: str) -> Source:
    if path == STDIN:
        if sys.stdin is None:
            raise InputError("-: standard input is closed")
        if sys.stdin.isatty():
            raise UsageError("-: standard input is a terminal; pipe text into it or name a file")
        return Source(path, "-")
    try:
        status = Path(path).stat()
    except (OSError, ValueError) as error:
        raise _input_error(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{path}: is a folder; name the files in it")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: permission denied")
    return Source(path, os.fsencode(Path(path).name).decode("utf-8", "backslashreplace"))


def _input_error(path: str, error: OSError | ValueError) -> InputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(f"{path}: {reason[:1].lower()}{reason[1:]}")


def open_source(source: Source) -> BinaryIO:
    """Open a source once; later calls give the same file, so that a look at its first bytes loses none."""
    if source.file is None:
        try:
            source.file = sys.stdin.buffer if source.path == STDIN else Path(source.path).open("rb")  # noqa: SIM115
        except OSError as error:
            raise _input_error(source.path, error) from error
    return source.file


def peek(source: Source, count: int = _HEAD_BYTES) -> bytes:
    """Return up to ``count`` first bytes of a source without taking them; fewer only from a slow pipe."""
    # What is no plain file may give its bytes once only, so it stays open for whoever reads on.
    stays_open = source.file is not None or not Path(source.path).is_file()
    file = open_source(source)
    try:
        return file.peek(count)[:count]  # type: ignore[attr-defined, no-any-return]
    except OSError as error:
        raise _input_error(source.path, error) from error
    finally:
        if not stays_open:
            close_source(source)


def close_source(source: Source) -> None:
    """Close a source's file, if it is open; standard input is not ours to close."""
    if source.file is not None and source.path != STDIN:
        source.file.close()
        source.file = None


def read_blocks(source: Source, newlines: Newlines = "universal", block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """Yield a document as blocks of text, filling in the source's figures on the way.

    ``universal`` turns CRLF and CR into LF, as ``open(path, newline=None)`` does; ``keep`` leaves them. A byte
    order mark is dropped. Raises `DataError` with the byte offset for what is not UTF-8 text.
    """
    open_source(source)
    digest = hashlib.sha256()
    try:
        _check_looks_like_text(source, peek(source))
        for raw in _cut_blocks(source, _reader(source, digest), block_bytes):
            offset = source.n_bytes
            source.n_bytes += len(raw)
            text = _decode(source, raw, offset)
            if newlines == "universal" and "\r" in text:
                text = text.replace("\r\n", "\n").replace("\r", "\n")
            source.n_chars += len(text)
            if text:
                yield Block(source, text, raw, offset)
    finally:
        close_source(source)
    source.sha256 = digest.hexdigest()


def _reader(source: Source, digest: hashlib._Hash) -> Callable[[int], bytes]:
    """Read a source to its end, hashing; a file that changes meanwhile is an error, not a mixture."""
    file = open_source(source)
    before = os.fstat(file.fileno())

    def read(count: int) -> bytes:
        try:
            data = _read_full(file, count)
        except OSError as error:
            raise _input_error(source.path, error) from error
        digest.update(data)
        if not data and stat.S_ISREG(before.st_mode):
            after = os.fstat(file.fileno())
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise InputError(f"{source.path}: changed while it was read; run again when it is at rest")
        return data

    return read


def _read_full(file: BinaryIO, count: int) -> bytes:
    """Read ``count`` bytes, fewer only at the end. A pipe gives pieces, and between them a signal is heeded."""
    pieces: list[bytes] = []
    while count and (piece := file.read1(count)):  # type: ignore[attr-defined]
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _cut_blocks(source: Source, read: Callable[[int], bytes], block_bytes: int) -> Iterator[bytes]:
    """Yield the bytes read, cut at safe places only. Linear in the bytes, however far apart those are."""
    pending: list[bytes] = []
    held = 0
    while data := read(block_bytes):
        edge = pending[-1][-1:] if pending else b""
        cut = last_safe_cut(edge + data) - len(edge)
        if cut >= 0 and (cut > 0 or edge):
            yield b"".join((*pending, data[:cut]))
            pending, held = [data[cut:]], len(data) - cut
            continue
        pending.append(data)
        held += len(data)
        if held > MAX_UNCUT_BYTES:
            raise DataError(
                f"{source.path}: {held} bytes from byte {source.n_bytes} on without a letter or digit before "
                f"white space, where text may be cut exactly; break them with a space or a line end after one"
            )
    if held:
        yield b"".join(pending)


def last_safe_cut(data: bytes) -> int:
    r"""Return the last position in ``data`` where text may be cut, 0 if there is none.

    >>> last_safe_cut(b"I HAD always")
    5
    >>> last_safe_cut("\u4e2d\u6587\n".encode())
    0
    """
    reach = 4096
    while True:
        start = max(0, len(data) - reach)
        found = [place.end() for place in _SAFE_CUT.finditer(data, start)]
        if found:
            return found[-1]
        if start == 0:
            return 0
        reach *= 16


def _decode(source: Source, raw: bytes, offset: int) -> str:
    if offset == 0 and raw.startswith(BOM):
        source.bom = True
        raw, offset = raw[len(BOM) :], len(BOM)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source.path}: not valid UTF-8 at byte {offset + error.start} (0x{raw[error.start]:02x}); "
            f"convert it to UTF-8 first, for example with iconv"
        ) from error


def _check_looks_like_text(source: Source, head: bytes) -> None:
    """Refuse what is plainly not UTF-8 text, and say what it looks like."""
    if source.path.endswith(".pt") and not head.startswith(b"PK\x03\x04"):
        raise FileFormatError(f"{source.path}: not a .pt file, by its first bytes; rename it if it is a text")
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            raise DataError(f"{source.path}: looks like {what}, not UTF-8 text; convert it first")
    nuls = head.count(0)
    if nuls > 1 and nuls * 20 >= len(head):
        raise DataError(f"{source.path}: looks like {_with_nuls(head)}, not UTF-8 text; convert it first")


def _with_nuls(head: bytes) -> str:
    places = [head[k::4].count(0) * 4 / len(head) for k in range(4)]
    empty = [share > 0.7 for share in places]
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
