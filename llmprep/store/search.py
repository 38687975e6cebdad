"""A text -> the tokens that hold it, and the window that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

from llmprep.store.provenance import Read

BLOCK = 1 << 18


def find_text(
    read: Read, n_tokens: int, needle: bytes, table: Mapping[int, bytes], *, block: int = BLOCK
) -> tuple[int, int] | None:
    """Return the first and the last of the tokens in which a text occurs first, None if it occurs in none.

    ``read`` returns ids of a stream of ``n_tokens``, ``table`` has the bytes of each id; ``needle`` must not be empty.
    A text may begin and end within a token. ``block`` tokens are read at a time.
    """
    held: list[bytes] = []  # the last tokens of what has been read, in which an occurrence may begin
    for position in range(0, n_tokens, block):
        ids = read(position, min(block, n_tokens - position))
        parts = held + [table.get(token_id, b"") for token_id in ids.tolist()]
        at = b"".join(parts).find(needle)
        if at >= 0:
            first = position - len(held)
            return first + _part_at(parts, at), first + _part_at(parts, at + len(needle) - 1)
        held = _last_parts(parts, len(needle) - 1)
    return None


def find_window(first: int, last: int, max_length: int, stride: int) -> int | None:
    """Return the number of the first window whose input holds tokens ``first`` to ``last``, None if none can.

    There may be fewer windows than that: the end of the stream is not known here.
    """
    number = max(0, -(-(last + 1 - max_length) // stride))
    return number if number * stride <= first else None


def _part_at(parts: list[bytes], byte: int) -> int:
    """Return the number of the part that holds a byte of them all."""
    return next(number for number, end in enumerate(accumulate(map(len, parts))) if byte < end)


def _last_parts(parts: list[bytes], n_bytes: int) -> list[bytes]:
    """Return as many of the last parts as hold ``n_bytes``, or all of them."""
    begin = len(parts)
    while begin and n_bytes > 0:
        begin -= 1
        n_bytes -= len(parts[begin])
    return parts[begin:]
