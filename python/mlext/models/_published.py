"""Reading published weights: a configuration, files of tensors, and a table of their names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from mlext import _C, dtypes, nn
from mlext import functional as F
from mlext.autograd import no_grad
from mlext.io.errors import FileFormatError
from mlext.io.files import open_regular
from mlext.io.safetensors import Entry, read
from mlext.io.state import to_tensor

Path = str | os.PathLike[str]

_INDEX = "model.safetensors.index.json"


class Names(NamedTuple):
    """What the tensors of a published architecture are called.

    Parameters
    ----------
    prefix : str
        Their names may begin with it.
    table : dict of str to tuple of str
        Of the names of our parameters, without ".weight" and ".bias" and with {} for the number of a layer, theirs;
        several are joined along the first axis.
    turned : tuple of str
        Ends of our names whose weights are (in, out) there.
    ignored : str
        A regular expression of what carries nothing that a model needs.
    """

    prefix: str
    table: dict[str, tuple[str, ...]]
    turned: tuple[str, ...]
    ignored: str


class Config:
    """The configuration of a published model, whose entries are asked for by name."""

    def __init__(self, op: str, path: Path, given: Mapping[str, Any] | None, kind: str) -> None:
        self.op = op
        self.entries = dict(_read_json(_beside(path), op) if given is None else given)
        self.refuse("model_type", kind)

    def need(self, name: str) -> Any:
        """Return an entry; ValueError if there is none."""
        if name not in self.entries:
            raise ValueError(f"{self.op}: argument 'config': expected an entry {name!r}, got {sorted(self.entries)}")
        return self.entries[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an entry, or a default in place of none."""
        found = self.entries.get(name)
        return default if found is None else found

    def refuse(self, name: str, only: Any) -> None:
        """Raise ValueError for an entry of another value than what there is."""
        if self.get(name, only) != only:
            raise ValueError(f"{self.op}: argument 'config': expected {name} {only!r}, got {self.entries[name]!r}")

    def activation(self, name: str, default: str) -> str:
        """Return our name of an activation."""
        found = str(self.get(name, default))
        return {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "swish": "silu"}.get(found, found)


def _beside(path: Path) -> str:
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    return os.path.join(folder, "config.json")


def _read_json(path: str, op: str) -> dict[str, Any]:
    if not os.path.exists(path):
        raise FileNotFoundError(f"{op}: {path}: no such file; argument 'config' may give its entries")
    with open_regular(path) as file:
        text = file.readall()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(path, f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise FileFormatError(path, f"expected an object, got {type(found).__name__}")
    return found


def _read_tensors(path: Path, op: str) -> dict[str, Entry]:
    """All tensors of a file, of the files of an index, or of a folder that has either."""
    path = os.fspath(path)
    if os.path.isdir(path):
        whole, index = os.path.join(path, "model.safetensors"), os.path.join(path, _INDEX)
        if not os.path.exists(whole) and not os.path.exists(index):
            raise FileNotFoundError(f"{op}: {path}: expected model.safetensors or {_INDEX} there, found neither")
        path = whole if os.path.exists(whole) else index
    if not path.endswith(".json"):
        return read(path)[0]
    parts = _read_json(path, op).get("weight_map")
    if not isinstance(parts, dict) or not all(_is_name(part) for part in parts.values()):
        raise FileFormatError(path, "weight_map: expected names of files in the same folder")
    found: dict[str, Entry] = {}
    for part in sorted(set(parts.values())):
        found |= read(os.path.join(os.path.dirname(path), part))[0]
    return found


def _is_name(part: Any) -> bool:
    return isinstance(part, str) and part not in ("", ".", "..") and not re.search(r"[/\\\0]", part)


def fill(op: str, model: nn.Module, path: Path, names: Names) -> None:
    """Read published weights into a model: all, or after an error none.

    Raises
    ------
    ValueError
        Listing every missing and unexpected tensor, wrong shape and wrong dtype.
    """
    tensors = {_plain(name, names): entry for name, entry in _read_tensors(path, op).items()}
    tensors = {name: entry for name, entry in tensors.items() if not re.fullmatch(names.ignored, name)}
    state, problems = {}, []
    heads = _head_sizes(model)
    for name, own in model.state_dict().items():
        sources = _theirs(name, names)
        absent = [f"missing: {source}" for source in sources if source not in tensors]
        if absent:
            problems += absent
            for source in sources:
                tensors.pop(source, None)
            continue
        turned = name.endswith(names.turned) if names.turned else False
        shapes = [own.shape] if len(sources) == 1 else [(rows, *own.shape[1:]) for rows in heads]
        wrong = _wrong(sources, [shape[::-1] if turned else shape for shape in shapes], tensors)
        problems += wrong
        parts = [tensors.pop(source) for source in sources]
        if not wrong:
            state[name] = _joined(parts, turned, own.dtype)
    problems += [f"unexpected: {name}" for name in tensors]
    if problems:
        text = "\n  ".join(problems)
        raise ValueError(f"{op}: {os.fspath(path)}: {len(problems)} tensors do not fit, nothing was loaded:\n  {text}")
    model.load_state_dict(state)


def _plain(name: str, names: Names) -> str:
    """Without the prefix, and with the newer names of what norms have."""
    name = name.removeprefix(names.prefix)
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _theirs(name: str, names: Names) -> list[str]:
    path, _, kind = re.fullmatch(r"(.+)([._])(weight|bias)", name).groups()  # type: ignore[union-attr]
    layer = re.search(r"\.(\d+)\.", path)
    number = layer[1] if layer else ""
    return [f"{source.format(number)}.{kind}" for source in names.table[re.sub(r"\d+", "{}", path, count=1)]]


def _head_sizes(model: nn.Module) -> list[int]:
    """Rows of the projections of queries, keys and values."""
    attention = next(m for m in model.modules() if isinstance(m, nn.MultiHeadAttention))
    groups = attention.num_kv_heads * attention.head_dim
    return [attention.num_heads * attention.head_dim, groups, groups]


def _wrong(sources: list[str], shapes: list[tuple[int, ...]], tensors: Mapping[str, Entry]) -> list[str]:
    found = []
    for source, shape in zip(sources, shapes, strict=True):
        entry = tensors[source]
        if entry.shape != shape:
            found.append(f"shape of {source}: expected {shape}, got {entry.shape}")
        elif entry.dtype not in ("F64", "F32", "F16", "BF16"):
            found.append(f"dtype of {source}: expected a floating one, got {entry.dtype}")
    return found


def _joined(parts: list[Entry], turned: bool, dtype: dtypes.DType) -> Any:
    with no_grad():
        arrays = [_C.cast(to_tensor(part), dtype) for part in parts]
        whole = arrays[0] if len(arrays) == 1 else F.concat(arrays, 0)
        return F.permute(whole, (1, 0)) if turned and whole.ndim == 2 else whole
