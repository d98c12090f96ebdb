"""Strict reader of ``.npy`` and ``.npz``: no pickle, sizes checked before memory is allocated."""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from mlext.datasets.base import Dataset, Labelled, TrainTest
from mlext.datasets.idx import MAX_INFLATION
from mlext.io import FileFormatError, open_regular
from mlext.io.files import read_into

__all__ = ["load_npz", "read_npy", "read_npz"]

# What zipfile raises for damaged archives, besides its own error.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error,
    EOFError, OSError, OverflowError, RuntimeError, ValueError,
)  # fmt: skip
_SPLIT = ("x_train", "y_train", "x_test", "y_test")
_PAIRS = (("x", "y"), ("X", "y"), ("data", "target"), ("x_train", "y_train"))


def read_npy(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read a ``.npy`` file; `FileFormatError` if it is malformed or holds Python objects."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        return _parse(file, size, size, path, "array")


def read_npz(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read every array of a ``.npz`` file.

    Parameters
    ----------
    path : path-like
        The file, compressed or not.

    Returns
    -------
    dict of str to ndarray
        In the order of the file.

    Raises
    ------
    FileFormatError
        If it is no zip archive, a member is damaged or no array, or holds Python objects.
    OSError
        If the file is missing or cannot be read.
    """
    arrays: dict[str, NDArray[Any]] = {}
    with open_regular(path) as raw, io.BufferedReader(raw) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    name = info.filename.removesuffix(".npy")
                    if name in arrays:
                        raise FileFormatError(path, f"array {name!r} occurs twice")
                    arrays[name] = _read_member(archive, info, path)
        except FileFormatError:
            raise
        except _DAMAGE as error:
            raise FileFormatError(path, f"not a readable .npz archive: {error}") from None
    return arrays


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str | os.PathLike[str]) -> NDArray[Any]:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileFormatError(path, f"{info.filename!r}: compression {info.compress_type}")
    with archive.open(info) as member:
        limit = info.compress_size * MAX_INFLATION
        return _parse(member, info.file_size, limit, path, repr(info.filename))


def _parse(file: Any, size: int, limit: int, path: str | os.PathLike[str], what: str) -> NDArray[Any]:
    """Parse one open ``.npy`` of ``size`` bytes, which may need at most ``limit`` of memory."""
    shape, fortran, dtype, header = _read_header(file, path, what)
    if dtype.hasobject:
        raise FileFormatError(path, f"{what} holds Python objects, which need pickle: refused")
    need = math.prod(shape) * dtype.itemsize
    if need > limit or need != size - header:
        raise FileFormatError(path, f"{what}: shape {shape} of {dtype} takes {need} bytes, got {size - header}")
    flat = np.empty(need, np.uint8)
    got = read_into(file, flat)
    if got < need:
        raise FileFormatError(path, f"{what}: expected {need} bytes, got {got} (truncated)")
    if need == 0:
        return np.empty(shape, dtype)
    data = flat.view(dtype).reshape(shape, order="F" if fortran else "C")
    return data.astype(dtype.newbyteorder("="), copy=False)


def _read_header(
    file: Any, path: str | os.PathLike[str], what: str
) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, Fortran order, dtype and the header's length in bytes."""
    reader = _Counter(file)
    try:
        version = npy_format.read_magic(reader)
        if version == (1, 0):
            shape, fortran, dtype = npy_format.read_array_header_1_0(reader)
        elif version == (2, 0):
            shape, fortran, dtype = npy_format.read_array_header_2_0(reader)
        else:
            raise ValueError(f"format version {version} is not supported")
    except Exception as error:  # the header goes through Python's tokenizer and literal parser
        raise FileFormatError(path, f"{what}: {error}") from None
    if any(n < 0 for n in shape):
        raise FileFormatError(path, f"{what}: shape {shape} has a negative size")
    return shape, fortran, dtype, reader.count


class _Counter:
    """Counts the bytes read: zip members cannot tell cheaply, nor can all streams."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        data: bytes = self.file.read(size)
        self.count += len(data)
        return data


def load_npz(path: str | os.PathLike[str]) -> Dataset | TrainTest:
    """Load training data from a ``.npz`` file.

    Parameters
    ----------
    path : path-like
        With arrays ``x_train, y_train, x_test, y_test``, or one pair of ``x, y``, ``X, y``,
        ``data, target`` or ``x_train, y_train``.

    Returns
    -------
    TrainTest or Dataset
        TrainTest if the file has the four arrays.

    Raises
    ------
    FileFormatError
        If the file is malformed, arrays are missing, or lengths differ.
    """
    arrays = read_npz(path)
    if all(name in arrays for name in _SPLIT):
        train = _pair(arrays, "x_train", "y_train", path)
        return TrainTest(train, _pair(arrays, "x_test", "y_test", path))
    for x, y in _PAIRS:
        if x in arrays and y in arrays:
            data, target = _pair(arrays, x, y, path)
            shape = data.shape[1:] if data.ndim > 2 else ()
            return Dataset(data, target, description=os.fspath(path), image_shape=shape)
    raise FileFormatError(
        path,
        f"expected arrays {', '.join(_SPLIT)}, or x and y, or data and target; got {', '.join(arrays) or 'none'}",
    )


def _pair(arrays: dict[str, NDArray[Any]], x: str, y: str, path: str | os.PathLike[str]) -> Labelled:
    data, target = arrays[x], arrays[y]
    for name, array in ((x, data), (y, target)):
        if array.ndim == 0 or array.dtype.kind not in "fiub":
            raise FileFormatError(path, f"{name}: expected numbers along an axis, got {array.dtype} {array.shape}")
    if len(data) != len(target) or len(data) == 0:
        raise FileFormatError(path, f"{x} has {len(data)} rows and {y} has {len(target)}; expected equally many, > 0")
    return Labelled(data, target)
