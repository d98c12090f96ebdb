"""Strict reader of IDX, the format of MNIST and Fashion-MNIST, plain or gzip-compressed."""

from __future__ import annotations

import gzip
import io
import math
import os
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlext.io import FileFormatError, open_regular
from mlext.io.files import read_into

__all__ = ["MAX_INFLATION", "read_idx"]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

# Deflate shrinks data at most 1032 times: a header that claims more is lying, and is refused
# before memory is allocated for it.
MAX_INFLATION = 1032


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an IDX file.

    Layout: two zero bytes, a type code, the number of axes, each axis as a big-endian 32-bit
    integer, then the elements, big-endian, last axis fastest.

    Parameters
    ----------
    path : path-like
        The file; gzip compression is recognised by its content.

    Returns
    -------
    ndarray
        In native byte order.

    Raises
    ------
    FileFormatError
        For a wrong magic number, an unknown type, too few or too many bytes.
    OSError
        If the file is missing or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = folder + "/labels"
    ...     _ = Path(file).write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    ...     read_idx(file)
    array([7, 8, 9], dtype=uint8)
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            return _parse(file, size, path)
        try:
            with gzip.GzipFile(fileobj=file, mode="rb") as inner:
                return _parse(inner, size * MAX_INFLATION, path)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FileFormatError(path, f"gzip: {error}") from None


def _parse(file: io.FileIO | gzip.GzipFile, limit: int, path: str | os.PathLike[str]) -> NDArray[Any]:
    """Parse an open IDX file of at most ``limit`` bytes."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
        codes = ", ".join(f"{code:#04x}" for code in _DTYPES)
        raise FileFormatError(path, f"magic is {magic.hex(' ') or 'missing'}, expected 00 00, one of {codes}, axes")
    ndim = magic[3]
    header = file.read(4 * ndim)
    if len(header) < 4 * ndim or ndim > 32:
        raise FileFormatError(path, f"{ndim} axes, but {len(header)} bytes for their sizes")
    shape = tuple(int(n) for n in np.frombuffer(header, ">u4"))
    dtype = np.dtype(_DTYPES[magic[2]])
    need = math.prod(shape) * dtype.itemsize
    if need > limit:
        raise FileFormatError(path, f"shape {shape} takes {need} bytes, the file has fewer")
    data = np.empty(shape, dtype)
    got = read_into(file, data)
    if got < need:
        raise FileFormatError(path, f"shape {shape} takes {need} bytes, got {got} (truncated)")
    if file.read(1):
        raise FileFormatError(path, f"bytes follow the {need} bytes of shape {shape}")
    return data.astype(dtype.newbyteorder("="), copy=False)
