"""How much memory this process may use, and how much it does.

The backends do not raise where memory ends, they abort the process; so llmprep looks before it encodes.
"""

from __future__ import annotations

import mmap


def is_memory_limited() -> bool:
    """Tell whether a limit bounds this process's address space; False where the system has no such limits."""
    try:
        import resource
    except ImportError:
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def require_memory(n_bytes: int) -> None:
    """Raise `MemoryError` if a limit leaves less than ``n_bytes``; without a limit nothing is checked."""
    if not is_memory_limited():
        return
    try:
        mmap.mmap(-1, n_bytes).close()
    except OSError as error:
        raise MemoryError from error


def resident_bytes() -> int:
    """Return this process's resident memory; 0 where the system has no /proc that tells it."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - called for every few blocks
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0


def return_freed_memory() -> None:
    """Give memory that was freed back to the system, where its C library knows how (``malloc_trim``).

    Elsewhere nothing is done: the C library keeps what was freed for later.
    """
    import ctypes

    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # TypeError: on Windows a library has a name
        return
    trim(0)
