"""``mlext.fuse``: normalisation folded into the layers before it."""

from __future__ import annotations

import collections
import copy
from typing import Any

import numpy as np

from mlext import nn
from mlext.functional._layout import LAST
from mlext.tensor import Parameter, tensor

__all__ = ["fuse"]

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.DepthwiseConv2d)


def fuse(model: nn.Module) -> nn.Module:
    """Return a copy of a model for inference, whose batch norms are part of the convolutions before them.

    In evaluation mode a batch norm multiplies and shifts each output o of the layer before it, which another weight and
    bias do as well: ``w'_o = w_o s_o`` and ``b'_o = (b_o - mean_o) s_o + shift_o`` with ``s_o = scale_o / sqrt(var_o +
    eps)``. So it is done for every Linear and convolution that a BatchNorm follows in a Sequential.

    Parameters
    ----------
    model : Module
        A trained model; it stays as it is.

    Returns
    -------
    Module
        The copy, in evaluation mode; saved and loaded like any model. Training it further is not what it is for.

    Raises
    ------
    TypeError
        If the model is not a Module.

    Examples
    --------
    >>> import mlext as ml
    >>> model = ml.nn.Sequential(ml.nn.Conv2d(3, 8, 3, bias=False, rng=0), ml.nn.BatchNorm(8), ml.nn.ReLU())
    >>> ml.fuse(model)
    Sequential(
      (0): Conv2d(3, 8, kernel_size=(3, 3))
      (2): ReLU()
    )

    References
    ----------
    Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
    equation 14.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"fuse: argument 'model': expected a Module, got {type(model).__name__}")
    made = copy.deepcopy(model).eval()
    uses = collections.Counter(id(module) for _, module in made._walk(""))
    for module in list(made.modules()):
        if type(module) is nn.Sequential:
            _fuse_in(module, uses)
    return made


def _fuse_in(model: nn.Sequential, uses: collections.Counter[int]) -> None:
    names = [name for name, _ in model.named_children()]
    for first, second in zip(names, names[1:], strict=False):
        layer, norm = model._items.get(first), model._items[second]
        if type(layer) in _LAYERS and type(norm) is nn.BatchNorm and uses[id(layer)] == 1 and _fits(layer, norm):
            _fold(layer, norm)
            layer.activation = norm.activation  # type: ignore[union-attr]
            del model._items[second]
            model._note_change()


def _fits(layer: Any, norm: nn.BatchNorm) -> bool:
    """Nothing between the two, and nothing that sees them apart."""
    if layer.activation is not None or norm.running_mean is None or layer._hooks or norm._hooks:
        return False
    if getattr(layer, "data_format", LAST) != norm.data_format:
        return False
    return bool(layer.weight.shape[0] == norm.num_features)


def _fold(layer: Any, norm: Any) -> None:
    dtype = layer.weight.dtype
    mean, var = (v.numpy().astype(np.float64) for v in (norm.running_mean, norm.running_var))
    scale = 1 / np.sqrt(var + norm.eps)
    shift = np.zeros_like(mean)
    if norm.affine:
        scale, shift = scale * norm.weight.numpy(), norm.bias.numpy().astype(np.float64)
    bias = 0.0 if layer.bias is None else layer.bias.numpy().astype(np.float64)
    weight = layer.weight.numpy().astype(np.float64)
    weight = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    layer.weight = Parameter(tensor(weight, dtype=dtype))
    layer.bias = Parameter(tensor((bias - mean) * scale + shift, dtype=dtype))
