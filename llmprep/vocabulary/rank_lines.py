"""A file of ranks that somebody names: one ``base64(token) id`` a line, read strictly."""

from __future__ import annotations

import re
from binascii import a2b_base64

from llmprep.errors import FileFormatError, printable, shorten
from llmprep.vocabulary.ranks import Ranks
from llmprep.vocabulary.sound import MAX_ID, check_sound
from llmprep.vocabulary.stated import Stated

_LINE = re.compile(rb"([A-Za-z0-9+/]*={0,3})[ \t]+([0-9]{1,10})[ \t]*")
_LINES = re.compile(rb"(?:[A-Za-z0-9+/]{2,}+=*+ [0-9]{1,10}+(?:\r?\n|\Z))*+")
_EMPTY = b"="
"""What Whisper's files have in the place of a token that is not one."""


def read_rank_lines(name: str, data: bytes) -> Stated:
    """Read a rank file. The ids need not begin at 0 and may have holes; nothing says what the pattern is.

    Raises `FileFormatError`, which names the line.
    """
    ranks = _read_at_once(data)
    remarks: list[str] = []
    if ranks is None:
        ranks, remarks = _read_each(name, data)
    if not ranks:
        raise FileFormatError(f"{name}: holds no ranks")
    check_sound(name, ranks, {})
    return Stated("rank file", ranks, {}, remarks=tuple(remarks))


def _read_at_once(data: bytes) -> Ranks | None:
    """Return the ranks of a file with which nothing is wrong, quickly; None for any other."""
    if not _LINES.fullmatch(data):
        return None
    words = data.split()
    try:
        ranks = dict(zip(map(a2b_base64, words[::2]), map(int, words[1::2]), strict=True))
    except ValueError:
        return None
    every_one = len(ranks) == len(set(ranks.values())) == len(words) // 2
    return ranks if every_one and b"" not in ranks and max(ranks.values(), default=0) <= MAX_ID else None


def _read_each(name: str, data: bytes) -> tuple[Ranks, list[str]]:
    """Return the ranks, line by line, and what was left out. Raises `FileFormatError` at the first fault."""
    ranks: Ranks = {}
    lines_of: dict[int, int] = {}
    remarks = []
    for number, line in enumerate(data.splitlines(), 1):
        if not line:
            continue
        token, rank = _read_line(name, number, line)
        if (other := lines_of.setdefault(rank, number)) != number:
            raise FileFormatError(f"{name}: line {number} has the id {rank} of line {other}")
        if not token:
            remarks.append(f"left out line {number}, an empty token with the id {rank}")
        elif ranks.setdefault(token, rank) != rank:
            raise FileFormatError(f"{name}: line {number} has the token of line {lines_of[ranks[token]]}")
    return ranks, remarks


def is_rank_line(line: bytes) -> bool:
    """Tell whether a line may be one of a rank file."""
    found = _LINE.fullmatch(line)
    return found is not None and len(found[1]) > 0


def _read_line(name: str, number: int, line: bytes) -> tuple[bytes, int]:
    """Return the token and the rank that a line states."""
    found = _LINE.fullmatch(line)
    if found is None:
        shown = shorten(printable(line[:80].decode(errors="replace")))
        raise FileFormatError(f"{name}: line {number} is no token in base64 and its id: {shown}")
    word, rank = found[1], int(found[2])
    if rank > MAX_ID:
        raise FileFormatError(f"{name}: line {number} has the id {rank}, which is not from 0 to {MAX_ID}")
    if word == _EMPTY:
        return b"", rank
    try:
        return a2b_base64(word), rank  # of these letters only, so that none is passed over
    except ValueError as error:
        raise FileFormatError(f"{name}: line {number} has a token that is no base64: {error}") from error
