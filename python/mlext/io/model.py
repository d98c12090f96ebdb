"""``mlext.save`` and ``mlext.load``: models as safetensors files with a description in JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, TypeVar, overload

from numpy.typing import NDArray

from mlext import nn
from mlext.io import architecture
from mlext.io.errors import FileFormatError
from mlext.io.safetensors import Entry, read, write
from mlext.io.state import to_entry, to_tensor
from mlext.tensor import Tensor

__all__ = ["load", "read_metadata", "save"]

KEY = "mlext"
FORMAT = 1

M = TypeVar("M", bound=nn.Module)
Path = str | os.PathLike[str]


def save(
    model_or_state: nn.Module | Mapping[str, Tensor | NDArray[Any]],
    path: Path,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a model or a dict of arrays to a safetensors file.

    A crash leaves the old file or the new one, whole; so does saving to the path a model came from. A model made of
    what is in :mod:`mlext.nn` and :mod:`mlext.models` is stored with its architecture: :func:`load` needs no code.

    Parameters
    ----------
    model_or_state : Module or mapping of str to Tensor or ndarray
        What to write.
    path : path-like
        The file.
    metadata : mapping, optional
        Anything that JSON can hold; :func:`mlext.io.read_metadata` returns it.

    Raises
    ------
    TypeError
        For anything else, or metadata that JSON cannot hold.
    OSError
        If the disk refuses; an existing file is untouched then.

    Examples
    --------
    >>> import tempfile
    >>> import mlext as ml
    >>> model = ml.nn.Sequential(ml.nn.Linear(4, 8), ml.nn.ReLU(), ml.nn.Linear(8, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ml.save(model, folder + "/model.safetensors")
    ...     copy = ml.load(folder + "/model.safetensors")
    >>> bool((copy(ml.ones(1, 4)) == model(ml.ones(1, 4))).all())
    True
    """
    description: dict[str, Any] = {"format": FORMAT, "metadata": dict(metadata or {})}
    if isinstance(model_or_state, nn.Module):
        description |= _describe(model_or_state)
        state: Mapping[str, Any] = model_or_state.state_dict()
    elif isinstance(model_or_state, Mapping):
        state = model_or_state
    else:
        raise TypeError(
            f"save: argument 'model_or_state': expected a Module or a dict of arrays, got "
            f"{type(model_or_state).__name__}"
        )
    try:
        text = json.dumps(description)
    except (TypeError, ValueError) as error:
        raise TypeError(f"save: argument 'metadata': {error}") from None
    write(path, {name: to_entry(value) for name, value in state.items()}, {KEY: text})


def _describe(model: nn.Module) -> dict[str, Any]:
    """The architecture, or why there is none; what is frozen; which parameters are one."""
    try:
        found: dict[str, Any] = {"architecture": architecture.describe(model)}
    except TypeError as error:
        found = {"no_architecture": str(error)}
    found["frozen"] = [name for name, p in model.named_parameters() if not p.requires_grad]
    return found


@overload
def load(path: Path) -> Any: ...
@overload
def load(path: Path, model: M) -> M: ...
def load(path: Path, model: Any = None) -> Any:
    """Read a safetensors file: the model it holds, its values into ``model``, or a dict of Tensors.

    Parameters
    ----------
    path : path-like
        A file of :func:`save`, or any safetensors file.
    model : Module, optional
        Gets the file's values: all of them, or after an error none. Returned.

    Returns
    -------
    Module or dict of str to Tensor
        Without ``model``: the saved model in training mode; for a file that holds no model, its arrays by name.

    Raises
    ------
    FileFormatError
        If the file is malformed, or its architecture names anything but layers of ``mlext.nn`` and ``mlext.models``.
    ValueError
        If the values do not fit ``model``, or the saved model's class is not one of theirs.
    """
    entries, texts = read(path)
    try:
        state = {name: to_tensor(entry, name) for name, entry in entries.items()}
    except ValueError as error:
        raise FileFormatError(path, str(error)) from None
    if model is not None:
        model.load_state_dict(state)
        return model
    description = _parse(path, texts)
    if "no_architecture" in description:
        raise ValueError(
            f"load: {os.fspath(path)} has no architecture ({description['no_architecture']}): make the model and call "
            "load(path, model)"
        )
    if "architecture" not in description:
        return state
    return _rebuild(path, description, entries, state)


def _rebuild(path: Path, description: dict[str, Any], entries: dict[str, Entry], state: dict[str, Tensor]) -> nn.Module:
    elements = sum([2 * entry.data.nbytes for entry in entries.values()])  # weights of 4 bits are the smallest
    try:
        made = architecture.build(description["architecture"], elements)
        made.load_state_dict(state)
    except (ValueError, MemoryError) as error:
        raise FileFormatError(path, str(error)) from None
    frozen = description.get("frozen")
    for name, parameter in made.named_parameters():
        if isinstance(frozen, list) and name in frozen:
            parameter.requires_grad = False
    return made


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the ``metadata`` that was given to :func:`save`; empty for files of other programs."""
    found = _parse(path, read(path)[1]).get("metadata", {})
    if not isinstance(found, dict):
        raise FileFormatError(path, f"metadata: expected an object, got {type(found).__name__}")
    return found


def _parse(path: Path, texts: dict[str, str]) -> dict[str, Any]:
    if KEY not in texts:
        return {}
    try:
        found = json.loads(texts[KEY])
    except (ValueError, RecursionError) as error:
        raise FileFormatError(path, f"__metadata__ {KEY!r}: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        got = found.get("format") if isinstance(found, dict) else found
        raise FileFormatError(path, f"__metadata__ {KEY!r}: expected format {FORMAT}, got {str(got)[:60]}")
    return found
