"""Strict reader of the Netpbm grey (PGM) and colour (PPM) formats, plain and binary."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from mlext.io import FileFormatError, open_regular

__all__ = ["read_netpbm"]

_CHANNELS = {b"P2": 1, b"P3": 3, b"P5": 1, b"P6": 3}
_BLANK = b" \t\n\r\v\f"
_MAX_SIDE = 1 << 20


def read_netpbm(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read one PGM or PPM image.

    Parameters
    ----------
    path : path-like
        A file of kind P2, P3, P5 or P6.

    Returns
    -------
    ndarray
        Shape (H, W, 1) or (H, W, 3), scaled so that the file's greatest value is 255.

    Raises
    ------
    FileFormatError
        For any other kind, sizes that are not positive, or missing or surplus samples.
    OSError
        If the file is missing or cannot be read.
    """
    with open_regular(path) as file:
        raw = file.readall()
    channels = _CHANNELS.get(raw[:2])
    if channels is None:
        raise FileFormatError(path, f"starts with {raw[:2]!r}, expected P2, P3, P5 or P6")
    (width, height, largest), start = _header(raw, path)
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE and 0 < largest < 65536):
        raise FileFormatError(path, f"size {width} x {height}, greatest value {largest}")
    count = width * height * channels
    if raw[:2] in (b"P2", b"P3"):
        samples = _plain_samples(raw[start:], path)
    else:
        dtype = np.dtype(">u2" if largest > 255 else "u1")
        extra = (len(raw) - start) % dtype.itemsize
        samples = np.frombuffer(raw[start : len(raw) - extra], dtype)
        count += extra  # half a sample can never be right: make the check below fail
    if samples.size != count:
        raise FileFormatError(path, f"size {width} x {height} takes {count} samples, got {samples.size}")
    if samples.max() > largest:
        raise FileFormatError(path, f"sample {samples.max()} exceeds the greatest value {largest}")
    image = samples.reshape(height, width, channels)
    if largest == 255:
        return image.astype(np.uint8)
    return ((image.astype(np.uint32) * 255 + largest // 2) // largest).astype(np.uint8)


def _header(raw: bytes, path: str | os.PathLike[str]) -> tuple[list[int], int]:
    """Parse width, height and greatest value; return them and where the samples start."""
    position, values = 2, list[int]()
    while len(values) < 3:
        end = position
        while end < len(raw) and raw[end] in b"0123456789" and end - position < 9:
            end += 1
        if end > position:
            values.append(int(raw[position:end]))
        elif raw[end : end + 1] == b"#":
            end = raw.find(b"\n", end)
        elif end < len(raw) and raw[end] in _BLANK:
            end += 1
        else:
            end = -1
        if end < 0:
            raise FileFormatError(path, f"header is damaged at byte {position}")
        position = end
    if raw[position : position + 1].strip(_BLANK) or position >= len(raw):
        raise FileFormatError(path, f"expected one blank after the header, at byte {position}")
    return values, position + 1


def _plain_samples(text: bytes, path: str | os.PathLike[str]) -> NDArray[np.int64]:
    words = text.split()
    wrong = next((word for word in words if not word.isdigit() or len(word) > 9), None)
    if wrong is not None:
        raise FileFormatError(path, f"sample {wrong[:20]!r} is not a number")
    return np.array(words, dtype=np.bytes_).astype(np.int64) if words else np.empty(0, np.int64)
