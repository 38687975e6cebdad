"""An open file -> its bytes in memory, mapped, and no longer in need of the open file."""

from __future__ import annotations

import errno
import mmap
import os
import sys
import weakref
from typing import Any, BinaryIO

READ_BYTES = 1 << 24
"""Bytes read at once from a file that cannot be mapped."""
NO_MAPS = (errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of file systems that have no maps of the kind asked for: some of FUSE, 9p, and network ones."""


def map_file(file: BinaryIO, *, private: bool = False) -> memoryview:
    """Map a whole file and return its bytes; the view keeps the map alive, and no file descriptor is held.

    Python's own `mmap` keeps a descriptor for each map (until 3.13), so a store of a thousand shards would use up all
    that a process may have. The view is read-only; a ``private`` one may be written to, which changes this process's
    memory and never the file. Where a file system has no shared maps, a private one takes its place, and where it has
    none at all, the file is read into memory. Raises OSError, or ValueError for an empty file.
    """
    size = os.fstat(file.fileno()).st_size
    for chosen in (True,) if private else (False, True):
        try:
            view = _map(file, size, private=chosen)
        except OSError as error:
            if error.errno not in NO_MAPS:
                raise
        else:
            return view if private else view.toreadonly()
    return _read_all(file, size) if private else _read_all(file, size).toreadonly()


def _map(file: BinaryIO, size: int, *, private: bool) -> memoryview:
    if not hasattr(mmap, "MAP_SHARED"):  # not a POSIX system: its maps hold their file open
        return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY if private else mmap.ACCESS_READ))
    protection = mmap.PROT_READ | mmap.PROT_WRITE if private else mmap.PROT_READ
    # Without a reservation a private map may be larger than memory: pages that are never written need none.
    unreserved: int = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
    flags = mmap.MAP_PRIVATE | unreserved if private else mmap.MAP_SHARED
    if sys.version_info >= (3, 13):
        return memoryview(mmap.mmap(file.fileno(), size, flags, protection, trackfd=False))
    return memoryview(_call_mmap(file.fileno(), size, protection, flags)).cast("B")


def _call_mmap(descriptor: int, size: int, protection: int, flags: int) -> Any:
    """Call the C library's mmap; return an array of bytes that unmaps itself when nothing refers to it."""
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


def _read_all(file: BinaryIO, size: int) -> memoryview:
    """Return a copy of a file's bytes, and leave its position as it was. Raises OSError if it is shorter."""
    held = memoryview(bytearray(size))
    position = file.tell()
    file.seek(0)
    done = 0
    while data := file.read(min(size - done, READ_BYTES)):
        held[done : done + len(data)] = data
        done += len(data)
    file.seek(position)
    if done < size:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return held
