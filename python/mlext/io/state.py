"""Tensors to and from file entries, and nested state as JSON text beside named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlext.io.safetensors import Entry
from mlext.tensor import Tensor, tensor

__all__ = ["pack", "to_entry", "to_tensor", "unpack"]


def to_entry(value: Tensor | NDArray[Any]) -> Entry | NDArray[Any]:
    """Return what :func:`mlext.io.write` takes: a bfloat16 Tensor as its bits, anything else as it is."""
    if not isinstance(value, Tensor):
        return np.asarray(value)
    array: NDArray[Any] = value.detach().numpy()
    if value.dtype.name != "bfloat16":
        return array
    # numpy() widens bfloat16 to float32, whose upper half are its bits.
    return Entry("BF16", (np.ascontiguousarray(array).view(np.uint32) >> 16).astype(np.uint16))


def to_tensor(entry: Entry, name: str = "") -> Tensor:
    """Return a Tensor with the elements of a file entry, in its dtype.

    Raises
    ------
    ValueError
        If mlext has no such dtype.
    """
    if entry.dtype == "BF16":
        wide = (entry.data.astype(np.uint32) << 16).view(np.float32)
        return tensor(wide, "bfloat16")
    if entry.dtype in ("U16", "U32", "U64", "I16"):
        raise ValueError(f"tensor {name!r} has dtype {entry.dtype}, which mlext lacks; use mlext.io.read")
    return tensor(entry.data)


def pack(value: Any, arrays: dict[str, Entry | NDArray[Any]], path: str = "") -> Any:
    """Turn nested state into data fit for JSON; its arrays are put into ``arrays`` under their paths.

    State is made of None, bool, int, float, str, list, tuple, dict, ndarray and Tensor.

    Raises
    ------
    TypeError
        For anything else; the text names the place.

    Examples
    --------
    >>> arrays = {}
    >>> pack({"step": 3, "m": [np.zeros(2)]}, arrays), list(arrays)
    ({'step': 3, 'm': [{'$array': 'm.0'}]}, ['m.0'])
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (Tensor, np.ndarray)):
        name = path or "value"
        while name in arrays:
            name += "'"
        arrays[name] = to_entry(value)
        return {"$tensor" if isinstance(value, Tensor) else "$array": name}
    if isinstance(value, (list, tuple)):
        items = [pack(item, arrays, _join(path, i)) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if not isinstance(value, Mapping):
        raise TypeError(
            f"state {path!r}: expected numbers, strings, arrays, lists or dicts, got {type(value).__name__}"
        )
    packed = [(key, pack(item, arrays, _join(path, key))) for key, item in value.items()]
    if all(isinstance(key, str) and not key.startswith("$") for key, _ in packed):
        return dict(packed)
    return {"$items": [[pack(key, arrays, path), item] for key, item in packed]}


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def unpack(value: Any, arrays: Mapping[str, Entry]) -> Any:
    """Undo :func:`pack`; ``ValueError`` if something is malformed or missing."""
    if isinstance(value, list):
        return [unpack(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    special = [key for key in value if key.startswith("$")]
    if not special:
        return {key: unpack(item, arrays) for key, item in value.items()}
    kind, content = next(iter(value.items()))
    if len(value) == 1 and kind in ("$tensor", "$array") and isinstance(content, str) and content in arrays:
        entry = arrays[content]
        return to_tensor(entry, content) if kind == "$tensor" else entry.data
    if len(value) == 1 and kind in ("$tuple", "$items") and isinstance(content, list):
        items = [unpack(item, arrays) for item in content]
        if kind == "$tuple":
            return tuple(items)
        if all(isinstance(item, list) and len(item) == 2 for item in items):
            return {_key(key): item for key, item in items}
    raise ValueError(f"malformed state: {str(value)[:80]}")


def _key(key: Any) -> Any:
    if isinstance(key, (list, dict)):
        raise ValueError("malformed state: a key is a list or dict")
    return key
