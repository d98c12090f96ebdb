"""Opening and reading regular files into owned memory."""

from __future__ import annotations

import io
import os
import stat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlext.io.errors import FileFormatError

__all__ = ["open_regular", "read_into"]

# One read call moves at most this much: Linux stops at 2 GiB - 4 KiB in any case.
_CHUNK = 1 << 30


def open_regular(path: str | os.PathLike[str]) -> io.FileIO:
    """Open a regular file for unbuffered reading; refuse anything else without hanging.

    Parameters
    ----------
    path : path-like
        The file; symbolic links are followed.

    Returns
    -------
    io.FileIO
        Its size is ``os.fstat(file.fileno()).st_size``.

    Raises
    ------
    FileFormatError
        For a directory, FIFO, socket or device.
    OSError
        If the file is missing or may not be read.
    """
    # Without O_NONBLOCK, opening a FIFO waits for a writer for ever; files do not mind it.
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    if os.path.isdir(path):  # Windows cannot open a directory at all
        raise FileFormatError(path, "expected a regular file, got a directory")
    fd = os.open(path, flags)
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            kind = "FIFO" if stat.S_ISFIFO(mode) else "device, socket or directory"
            raise FileFormatError(path, f"expected a regular file, got a {kind}")
        return io.FileIO(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def read_into(file: Any, target: NDArray[Any]) -> int:
    """Fill a C-contiguous array from any binary file with ``readinto``.

    Returns the bytes read: fewer than the array has only at the end of the file.
    """
    view = target.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        count = file.readinto(view[done : done + _CHUNK])
        if not count:
            break
        done += count
    return done
