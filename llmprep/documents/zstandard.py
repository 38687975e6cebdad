"""What zstandard alone needs: a module that may be missing, and a window that may take gigabytes of memory."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from llmprep.errors import UsageError

MAX_WINDOW_LOG = 31
"""The largest window, 2 GiB, which is what ``zstd --long=31`` writes."""
LARGE_WINDOW = 128 << 20
"""The largest window in bytes that the zstd command itself reads without being asked to."""


def decompressor() -> Callable[[], Any]:
    """Return what makes a decompressor for one frame. Raises `UsageError` where no zstandard is installed."""
    zstd = _import_zstd()
    options = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
    return lambda: zstd.ZstdDecompressor(options=options)


def window_bytes(head: bytes) -> int:
    """Return how many bytes back a frame may reach, 0 where its whole header is not there (RFC 8878, 3.1.1.1)."""
    if len(head) < 6 or not head.startswith(b"\x28\xb5\x2f\xfd"):
        return 0
    descriptor = head[4]
    if not descriptor & 0x20:
        base = 1 << (10 + (head[5] >> 3))
        return base + base // 8 * (head[5] & 7)
    # A single segment: its window is all of its content, whose size comes after the number of a dictionary.
    begin, n_bytes = 5 + (0, 1, 2, 4)[descriptor & 3], (1, 2, 4, 8)[descriptor >> 6]
    return int.from_bytes(head[begin : begin + n_bytes], "little")


def what_it_needs(reason: str) -> str:
    """Return what a frame needs and does not get, judged by the decompressor's error; empty if it is damaged."""
    if "dictionary" in reason.lower():
        return "needs the zstd dictionary it was made with: zstd -dc -D DICTIONARY FILE | llmprep ... -"
    if "memory" in reason.lower():
        return "needs a window of more than 2 GiB; compress it anew with zstd --long=31 or less"
    return ""


def _import_zstd() -> Any:
    """Return the standard library's zstd (Python 3.14), else its backport."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise UsageError("zstandard files need an extra: pip install 'llmprep[zstd]'")
