"""Modules and a way around them."""

from __future__ import annotations

from typing import Any

from mlext import functional as F
from mlext.functional._fused import check_activation
from mlext.functional._layout import LAST, check_format, shown_format, with_channels_first, with_channels_last
from mlext.nn.container import Sequential
from mlext.nn.module import Module


def _checked(name: str, what: str, module: Any) -> Module:
    if not isinstance(module, Module):
        raise TypeError(f"{name}: argument '{what}': expected a Module, got {type(module).__name__}")
    return module


class Residual(Module):
    """A module and a way around it.

        y = act(shortcut(x) + module(x))

    If the module is a Sequential that ends with a Linear or Conv2d, that layer adds and activates in its kernel, with
    the same result.

    Parameters
    ----------
    module : Module
        Its output must have the shape of that of the way around it.
    shortcut : Module, optional
        The way around; by default the input as it is.
    activation : {"relu", "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"}, optional
        Applied to the sum.

    Raises
    ------
    ValueError
        If the shapes of both ways differ, or the activation is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.Residual(ml.nn.Identity())(ml.ones(2))
    Tensor([2., 2.])

    References
    ----------
    He et al. 2016, "Deep residual learning for image recognition".
    """

    def __init__(self, module: Module, shortcut: Module | None = None, *, activation: str | None = None) -> None:
        self.module = _checked("Residual", "module", module)
        self.shortcut = None if shortcut is None else _checked("Residual", "shortcut", shortcut)
        check_activation("Residual", activation)
        self.activation = activation

    def forward(self, x: Any) -> Any:
        """Add the output to the input."""
        around = x if self.shortcut is None else self.shortcut(x)
        if type(self.module) is Sequential and self.module.ends_adding():
            return self.module.run_adding(x, self.activation, around)
        out = self.module(x)
        if out.shape != around.shape:
            raise ValueError(f"residual: expected an output of shape {around.shape}, as the shortcut, got {out.shape}")
        total = around + out
        if self.activation is None:
            return total
        return F.gelu(total, "tanh") if self.activation == "gelu_tanh" else getattr(F, self.activation)(total)

    def extra_repr(self) -> str:
        """Show the activation."""
        return "" if self.activation is None else f"activation={self.activation!r}"


class Skip(Module):
    """A module and a way around it, side by side.

        y = concat(x, module(x)), along the channels

    Parameters
    ----------
    module : Module
        Its output must have the shape of its input, but for the channels.
    data_format : {"channels_last", "channels_first"}
        Where the channels are: (N, ..., C) or (N, C, ...).

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.Skip(ml.nn.Conv2d(3, 5, 1, rng=0))(ml.ones(1, 4, 4, 3)).shape
    (1, 4, 4, 8)

    References
    ----------
    Ronneberger, Fischer and Brox 2015, "U-Net: convolutional networks for biomedical image segmentation".
    """

    def __init__(self, module: Module, *, data_format: str = LAST) -> None:
        self.module = _checked("Skip", "module", module)
        self.data_format = check_format("Skip", data_format)

    def forward(self, x: Any) -> Any:
        """Join input and output."""
        ways = [x, self.module(x)]
        if self.data_format == LAST:
            return F.concat(ways, -1)
        return with_channels_first(F.concat([with_channels_last(way) for way in ways], -1))

    def extra_repr(self) -> str:
        """Show the format, unless it is channels last."""
        return shown_format("", self.data_format)
