"""An open file -> its bytes in memory, mapped, and no longer in need of the open file."""

from __future__ import annotations

import errno
import mmap
import os
import sys
import weakref
from typing import Any, BinaryIO

_NO_RESERVE: int = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
"""The flag, which Python does not name in every version, is this number on Linux."""
READ_BYTES = 1 << 24
NO_MAPS = (errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system says that has no maps of this kind, as some of FUSE, 9p and networks."""


def map_file(file: BinaryIO, *, private: bool = False) -> memoryview:
    """Map a whole file; the view keeps the map alive, and no file descriptor is held.

    Python's own `mmap` keeps a descriptor for each map (until 3.13), so a store of a thousand shards would use up all
    that a process may have. The view is read-only; a ``private`` one may be written to, which changes this process's
    memory and never the file. Where a file system has no shared maps, a private one takes its place, and where it has
    none at all, memory with what was read. Raises OSError.
    """
    size = os.fstat(file.fileno()).st_size
    for chosen in (True,) if private else (False, True):
        try:
            view = _view(file, size, private=chosen)
        except OSError as error:
            if error.errno not in NO_MAPS:
                raise
        else:
            return view if private else view.toreadonly()
    return _read_all(file, size) if private else _read_all(file, size).toreadonly()


def _view(file: BinaryIO, size: int, *, private: bool) -> memoryview:
    if not hasattr(mmap, "MAP_SHARED"):  # not a POSIX system
        return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY if private else mmap.ACCESS_READ))
    protection = mmap.PROT_READ | mmap.PROT_WRITE if private else mmap.PROT_READ
    # What is never written needs no memory of its own, so none is reserved: a file may be larger than memory.
    flags = mmap.MAP_PRIVATE | _NO_RESERVE if private else mmap.MAP_SHARED
    if sys.version_info >= (3, 13):
        return memoryview(mmap.mmap(file.fileno(), size, flags, protection, trackfd=False))
    return memoryview(_map(file.fileno(), size, protection, flags)).cast("B")


def _read_all(file: BinaryIO, size: int) -> memoryview:
    """Return a file's bytes in memory of their own, the file's position left as it is."""
    held = memoryview(bytearray(size))
    done = 0
    while data := os.pread(file.fileno(), min(size - done, READ_BYTES), done):
        held[done : done + len(data)] = data
        done += len(data)
    if done < size:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return held


def _map(descriptor: int, size: int, protection: int, flags: int) -> Any:
    """Call the C library's mmap; return an array of bytes, with whose end the map ends."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    address = library.mmap(None, size, protection, flags, descriptor, 0)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    mapped = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(mapped, library.munmap, address, size).atexit = False  # a thread may read till the very end
    return mapped
