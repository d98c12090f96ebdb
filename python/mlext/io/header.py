"""The header of a safetensors file: reading it and checking it against the file's size."""

from __future__ import annotations

import io
import json
import math
import os
from typing import Any, NamedTuple, NoReturn

import numpy as np

from mlext.io.errors import FileFormatError
from mlext.io.files import read_into

__all__ = [
    "DTYPES",
    "MAX_HEADER",
    "Item",
    "check_entry",
    "check_metadata",
    "check_offsets",
    "name_problem",
    "read_header",
    "short",
]

MAX_HEADER = 100_000_000
MAX_NAME = 4096
_MAX_NDIM = 64  # NumPy's own limit

# bfloat16 has no NumPy type: its bits travel as uint16.
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
    "BOOL": "|b1",
}  # fmt: skip


class Item(NamedTuple):
    """A checked header entry."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(file: io.FileIO, size: int, path: str | os.PathLike[str]) -> tuple[dict[str, Any], int]:
    """Read the JSON header; also return where the tensors' bytes start."""
    if size < 8:
        raise FileFormatError(path, f"file has {size} bytes, expected at least 8 (header length)")
    prefix = _read_bytes(file, 8, "header length", path)
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER:
        raise FileFormatError(path, f"header length is {length}, the limit is {MAX_HEADER}")
    if length > size - 8:
        raise FileFormatError(path, f"header length is {length}, but {size - 8} bytes follow it")
    raw = _read_bytes(file, length, "header", path)
    if raw[:1] != b"{":
        raise FileFormatError(path, f"header starts with {raw[:1]!r}, expected b'{{'")
    try:
        text = raw.decode("utf-8")
        header = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise FileFormatError(path, "header is nested too deeply") from None
    except ValueError as error:  # includes UnicodeDecodeError and JSONDecodeError
        raise FileFormatError(path, f"header is not valid: {error}") from None
    return header, 8 + length  # a dict, since it starts with a brace


def _read_bytes(file: io.FileIO, count: int, what: str, path: str | os.PathLike[str]) -> bytes:
    buffer = np.empty(count, np.uint8)
    got = read_into(file, buffer)
    if got < count:
        raise FileFormatError(path, f"{what}: expected {count} bytes, got {got} (truncated)")
    return buffer.tobytes()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, refusing a key that occurs twice."""
    result = dict(pairs)
    if len(result) != len(pairs):
        last = {key: position for position, (key, _) in enumerate(pairs)}
        twice = next(key for position, (key, _) in enumerate(pairs) if last[key] != position)
        raise ValueError(f"name {short(twice)} occurs twice")
    return result


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def short(value: object) -> str:
    """``repr``, cut to a length fit for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def name_problem(name: str) -> str | None:
    """Why ``name`` cannot be a tensor's or metadata's name, if so."""
    if len(name) > MAX_NAME:
        return f"name {short(name)} has {len(name)} characters, the limit is {MAX_NAME}"
    if "\0" in name:
        return f"name {short(name)} contains a NUL character"
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return f"name {short(name)} contains a lone surrogate"
    return None


def check_metadata(metadata: object, path: str | os.PathLike[str]) -> dict[str, str]:
    """Check that the metadata maps strings to strings."""
    if not isinstance(metadata, dict):
        raise FileFormatError(path, f"__metadata__: expected an object, got {type(metadata).__name__}")
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise FileFormatError(path, f"__metadata__ {short(key)}: expected a string, got {short(value)}")
    return metadata


def check_entry(name: str, fields: Any, path: str | os.PathLike[str]) -> Item:
    """Check one header entry on its own."""

    def fail(problem: str) -> NoReturn:
        raise FileFormatError(path, f"tensor {short(name)}: {problem}")

    problem = name_problem(name)
    if problem:
        raise FileFormatError(path, problem)
    expected = {"dtype", "shape", "data_offsets"}
    if not isinstance(fields, dict) or fields.keys() != expected:
        fail(f"expected an object with the fields {sorted(expected)}, got {short(fields)}")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        fail(f"dtype {short(dtype)} is not supported; supported are {', '.join(DTYPES)}")
    if not _are_sizes(shape) or len(shape) > _MAX_NDIM:
        fail(f"shape {short(shape)}: expected at most {_MAX_NDIM} integers in [0, 2**63)")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        fail(f"data_offsets {short(offsets)}: expected [begin, end] with 0 <= begin <= end")
    itemsize = np.dtype(DTYPES[dtype]).itemsize
    if math.prod(n for n in shape if n) * itemsize >= 2**63:  # Python integers: no overflow
        fail(f"shape {short(shape)} is larger than any memory")
    need, got = math.prod(shape) * itemsize, offsets[1] - offsets[0]
    if need != got:
        fail(f"shape {short(shape)} of {dtype} takes {need} bytes, data_offsets give {got}")
    return Item(name, dtype, tuple(shape), offsets[0], offsets[1])


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


def check_offsets(layout: list[Item], size: int, path: str | os.PathLike[str]) -> None:
    """Check that tensors sorted by ``begin`` fill the data exactly: no hole, overlap or rest."""
    layout.sort(key=lambda item: (item.begin, item.end))
    position = 0
    for item in layout:
        if item.begin != position:
            kind = "hole" if item.begin > position else "overlap"
            raise FileFormatError(
                path,
                f"tensor {short(item.name)} begins at {item.begin}, expected {position} ({kind})",
            )
        position = item.end
        if position > size:
            raise FileFormatError(path, f"tensor {short(item.name)} ends at {item.end}, the data has {size} bytes")
    if position != size:
        raise FileFormatError(path, f"tensors end at {position}, the data has {size} bytes")
