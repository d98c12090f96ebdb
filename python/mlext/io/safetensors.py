"""Strict reader and writer of the safetensors format, version 0.x, in NumPy alone.

A file is an 8-byte little-endian header length, a JSON header and the tensors' bytes::

    {"__metadata__": {str: str}, name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}

The reader treats every file as hostile: lengths are compared with the file's size before memory
is allocated, and content is read into owned memory, never mapped, because a mapped file that
shrinks kills the process. It is stricter than the reference: no leading blank in the header, no
name twice, no unknown field, no BOOL byte but 0 and 1.

References
----------
The format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlext.io.atomic import atomic_write
from mlext.io.errors import FileFormatError
from mlext.io.files import open_regular, read_into
from mlext.io.header import (
    DTYPES,
    MAX_HEADER,
    Item,
    check_entry,
    check_metadata,
    check_offsets,
    name_problem,
    read_header,
    short,
)

__all__ = ["Entry", "read", "write"]

_NAMES = {np.dtype(code).name: name for name, code in DTYPES.items() if name != "BF16"}
_NAMES["bfloat16"] = "BF16"  # the ml_dtypes package's


class Entry(NamedTuple):
    """One tensor of a file: its dtype's name in the format and its elements.

    Parameters
    ----------
    dtype : str
        "F64", "F32", "F16", "BF16", "I64" ... "U8" or "BOOL".
    data : ndarray
        The elements; for "BF16" their bits as uint16.
    """

    dtype: str
    data: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.data.shape


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Entry], dict[str, str]]:
    """Read a safetensors file.

    Parameters
    ----------
    path : path-like
        A regular file.

    Returns
    -------
    tensors : dict of str to Entry
        In the order of the file; arrays own their memory and are writable.
    metadata : dict of str to str
        The file's ``__metadata__``.

    Raises
    ------
    FileFormatError
        If the file breaks the format in any way; the text names the tensor and the numbers.
    OSError
        If it is missing or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(folder + "/a.safetensors", {"w": np.ones((2, 3), np.float32)}, {"step": "7"})
    ...     tensors, metadata = read(folder + "/a.safetensors")
    >>> tensors["w"].dtype, tensors["w"].shape, metadata
    ('F32', (2, 3), {'step': '7'})
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        header, start = read_header(file, size, path)
        metadata = check_metadata(header.pop("__metadata__", {}), path)
        layout = [check_entry(name, fields, path) for name, fields in header.items()]
        check_offsets(layout, size - start, path)
        tensors = {item.name: _read_tensor(file, item, path) for item in layout}
    return {name: tensors[name] for name in header}, metadata


def _read_tensor(file: io.FileIO, item: Item, path: str | os.PathLike[str]) -> Entry:
    data = np.empty(item.shape, DTYPES[item.dtype])
    got = read_into(file, data)
    if got < data.nbytes:
        raise FileFormatError(path, f"tensor {short(item.name)}: expected {data.nbytes} bytes, got {got} (truncated)")
    if item.dtype == "BOOL" and data.size:
        largest = int(data.reshape(-1).view(np.uint8).max())
        if largest > 1:
            raise FileFormatError(path, f"tensor {short(item.name)}: BOOL byte is {largest}, expected 0 or 1")
    return Entry(item.dtype, data.astype(data.dtype.newbyteorder("="), copy=False))


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Entry | NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file, crash-safe (see `atomic_write`).

    The same input gives the same bytes. Every tensor starts at a multiple of its element size.

    Parameters
    ----------
    path : path-like
        The file to create or replace.
    tensors : mapping of str to Entry or ndarray
        Arrays of any layout and byte order; ``Entry("BF16", bits)`` for bfloat16.
    metadata : mapping of str to str, optional
        Stored in the header.

    Raises
    ------
    TypeError
        For a dtype the format lacks, or names or metadata that are not strings.
    ValueError
        For a name that the reader would refuse.
    OSError
        If the disk refuses; an existing file is then untouched.
    """
    entries = {name: _to_entry(name, value) for name, value in tensors.items()}
    order = sorted(entries, key=lambda name: (-entries[name].data.itemsize, name))
    header = _encode_header(((name, entries[name]) for name in order), metadata)
    with atomic_write(path) as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for name in order:
            entry = entries[name]
            data = np.asarray(entry.data, DTYPES[entry.dtype], order="C")
            file.write(data.reshape(-1).view(np.uint8).data)


def _to_entry(name: object, value: Entry | NDArray[Any]) -> Entry:
    """Check one named tensor and give it its dtype's name."""
    if not isinstance(name, str):
        raise TypeError(f"write: tensor names: expected str, got {type(name).__name__}")
    problem = name_problem(name)
    if problem or name == "__metadata__":
        raise ValueError(f"write: {problem or 'name __metadata__ is reserved'}")
    if not isinstance(value, Entry):
        array = np.asarray(value)
        dtype = _NAMES.get(array.dtype.name)
        if dtype is None:
            raise TypeError(f"write: tensor {short(name)}: expected one of {', '.join(_NAMES)}, got {array.dtype}")
        return Entry(dtype, array.view(np.uint16) if dtype == "BF16" else array)
    expected = DTYPES.get(value.dtype)
    if expected is None or value.data.dtype.newbyteorder("<") != np.dtype(expected):
        raise TypeError(
            f"write: tensor {short(name)}: {value.data.dtype} elements do not fit "
            f"dtype {value.dtype!r}; supported are {', '.join(DTYPES)}"
        )
    return value


def _encode_header(entries: Iterable[tuple[str, Entry]], metadata: Mapping[str, str] | None) -> bytes:
    """Encode the JSON header, padded with blanks so that data starts at a multiple of 8."""
    header: dict[str, Any] = {}
    for key, text in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"write: metadata: expected str to str, got {key!r}: {short(text)}")
    if metadata:
        header["__metadata__"] = dict(metadata)
    position = 0
    for name, entry in entries:
        end = position + entry.data.nbytes
        fields = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [position, end]}
        header[name] = fields
        position = end
    try:
        raw = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"write: metadata is not valid Unicode: {error}") from None
    raw += b" " * (-len(raw) % 8)
    if len(raw) > MAX_HEADER:
        raise ValueError(f"write: header has {len(raw)} bytes, the limit is {MAX_HEADER}")
    return raw
