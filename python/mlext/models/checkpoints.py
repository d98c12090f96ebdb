"""Weights of PyTorch's networks: their names, and their layout with channels first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mlext import nn

# What is called otherwise there: plain networks, ResNets, MobileNets.
_RENAMED: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    ((".module.", "."), (".shortcut.", ".downsample.")),
    ((".module.", ".conv."),),
)


def from_torch(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Copy the values of a PyTorch network of the same architecture into a model: all, or after an error none.

    Filters are turned from (O, C, R, S) to (O, R, S, C), and the columns of a dense layer behind a Flatten from
    channels, rows, columns to rows, columns, channels. Counts of batches are left out.

    Parameters
    ----------
    model : Module
        As from :mod:`mlext.models`, or any of the same names; layers of a Sequential are numbered alike.
    state : mapping of str to array
        PyTorch's ``state_dict()``: its tensors, or ndarrays of a safetensors file.

    Raises
    ------
    ValueError
        Listing every missing and unexpected name and every wrong shape.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> model = ml.nn.Sequential(ml.nn.Conv2d(1, 2, 3, bias=False))
    >>> ml.models.from_torch(model, {"0.weight": np.arange(18.0, dtype=np.float32).reshape(2, 1, 3, 3)})
    >>> model[0].weight.numpy()[1, :, :, 0]
    array([[ 9., 10., 11.],
           [12., 13., 14.],
           [15., 16., 17.]], dtype=float32)
    """
    theirs = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    own = list(model.state_dict())
    renamed = max(_RENAMED, key=lambda rules: sum(_their_name(name, rules) in theirs for name in own))
    flattened = _channels_before_dense(model)
    converted = {}
    for name in own:
        source = _their_name(name, renamed)
        if source in theirs:
            converted[name] = _channels_last(np.asarray(theirs.pop(source)), flattened.get(name))
    model.load_state_dict({**converted, **theirs})


def _their_name(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for ours, other in rules:
        name = name.replace(ours, other)
    return name


def _channels_last(value: npt.NDArray[Any], channels: int | None) -> npt.NDArray[Any]:
    if value.ndim in (3, 4):
        value = np.moveaxis(value, 1, -1)
    elif channels is not None and value.ndim == 2 and value.shape[1] % channels == 0:
        value = value.reshape(len(value), channels, -1).transpose(0, 2, 1).reshape(len(value), -1)
    return np.ascontiguousarray(value)


def _channels_before_dense(model: nn.Module) -> dict[str, int]:
    """Channels of the image whose pixels the dense layer of a name sees side by side."""
    found: dict[str, int] = {}
    channels, flat = 0, False
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)):
            channels, flat = module.out_channels, False
        elif isinstance(module, nn.Flatten):
            flat = True
        elif isinstance(module, nn.Linear):
            if flat and channels > 1 and module.in_features != channels:
                found[f"{name}.weight"] = channels
            flat = False
    return found
