"""Layers without parameters: dropout, changes of shape and size, any function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from mlext import functional as F
from mlext.functional._geometry import as_int
from mlext.functional._layout import LAST, check_format, shown_format
from mlext.functional.random import check_probability
from mlext.nn.module import Module
from mlext.random import Generator, resolve


class Dropout(Module):
    """While training, set elements to 0 with probability ``p``; scale others by ``1 / (1 - p)``.

    Parameters
    ----------
    p : float
        Probability of 0, in [0, 1].
    rng : Generator or int, optional
        Source of randomness; the default generator if not given.

    Raises
    ------
    ValueError
        If ``p`` is outside [0, 1] or NaN.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.Dropout(0.5).eval()(ml.ones(3))
    Tensor([1., 1., 1.])

    References
    ----------
    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".
    """

    def __init__(self, p: float = 0.5, *, rng: Generator | int | None = None) -> None:
        check_probability("Dropout", p)
        self.p = p
        self.rng = None if rng is None else resolve(rng)

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        return F.dropout(x, self.p, self.training, rng=self.rng)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"


class Dropout2d(Dropout):
    """While training, set whole channels of a sample to 0 with probability ``p``; scale others by ``1 / (1 - p)``.

    Parameters
    ----------
    p, rng
        As in :class:`Dropout`.
    data_format : {"channels_last", "channels_first"}
        Whether x is (N, ..., C) or (N, C, ...).

    Shapes
    ------
    x : (N, ..., C)
    output : that of x

    Examples
    --------
    >>> import mlext as ml
    >>> layer = ml.nn.Dropout2d(0.5, rng=0)
    >>> sorted(set(layer(ml.ones(4, 2, 2, 8)).sum((1, 2)).numpy().ravel().tolist()))
    [0.0, 8.0]

    References
    ----------
    Tompson et al. 2015, "Efficient object localization using convolutional networks".
    """

    def __init__(self, p: float = 0.5, *, rng: Generator | int | None = None, data_format: str = LAST) -> None:
        super().__init__(p, rng=rng)
        self.data_format = check_format("Dropout2d", data_format)

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        return F.dropout2d(x, self.p, self.training, rng=self.rng, data_format=self.data_format)

    def extra_repr(self) -> str:
        """Show the probability."""
        return shown_format(super().extra_repr(), self.data_format)


class Upsample(Module):
    """Images of another size: :func:`mlext.functional.interpolate`.

    Parameters
    ----------
    size, scale_factor, mode, align_corners, data_format
        As in the function.

    Shapes
    ------
    x : (N, H, W, C)
    output : (N, P, Q, C)

    Raises
    ------
    ValueError
        As the function.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.Upsample(scale_factor=2)(ml.ones(1, 3, 4, 2)).shape
    (1, 6, 8, 2)
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool = False,
        *,
        data_format: str = LAST,
    ) -> None:
        self.data_format = check_format("Upsample", data_format)
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        options = (self.size, self.scale_factor, self.mode, self.align_corners)
        return F.interpolate(x, *options, data_format=self.data_format)

    def extra_repr(self) -> str:
        """Show the size and the mode."""
        size = f"scale_factor={self.scale_factor}" if self.size is None else f"size={self.size}"
        return shown_format(f"{size}, mode={self.mode!r}", self.data_format)


class Flatten(Module):
    """Join the axes from ``start_dim`` to ``end_dim`` into one.

    Parameters
    ----------
    start_dim, end_dim : int
        First and last axis to join.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.Flatten()(ml.ones(2, 3, 4)).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        first = self._axis("start_dim", self.start_dim, x)
        last = self._axis("end_dim", self.end_dim, x)
        if last < first:
            raise ValueError(
                f"flatten: argument 'end_dim': expected axis {first} ('start_dim') or later, got {self.end_dim}"
            )
        joined = math.prod(x.shape[first : last + 1])
        return F.reshape(x, (*x.shape[:first], joined, *x.shape[last + 1 :]))

    def _axis(self, name: str, axis: int, x: Any) -> int:
        if not -x.ndim <= axis < x.ndim:
            raise IndexError(f"flatten: argument '{name}': expected {-x.ndim} to {x.ndim - 1}, got {axis}")
        return axis % x.ndim  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Show the axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Permute(Module):
    """The axes in another order, as a view: :func:`mlext.functional.permute`.

    Parameters
    ----------
    axes : sequence of int
        Axis i of the output is axis ``axes[i]`` of the input, the batch among them.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.Permute((0, 2, 3, 1))(ml.ones(2, 3, 4, 5)).shape
    (2, 4, 5, 3)
    """

    def __init__(self, axes: Sequence[int]) -> None:
        self.axes = tuple([as_int("Permute", "axes", axis) for axis in axes])

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        return F.permute(x, self.axes)

    def extra_repr(self) -> str:
        """Show the axes."""
        return f"axes={self.axes}"


class Identity(Module):
    """The input as it is."""

    def forward(self, x: Any) -> Any:
        """Return ``x``."""
        return x


class Lambda(Module):
    """Any function of Tensors as a module.

    Parameters
    ----------
    function : callable
        Takes and returns Tensors.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.Lambda(lambda x: x * 2)(ml.ones(2))
    Tensor([2., 2.])
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(f"Lambda: argument 'function': expected a callable, got {type(function).__name__}")
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        """Call the function."""
        return self.function(*inputs)

    def extra_repr(self) -> str:
        """Show the name of the function."""
        return getattr(self.function, "__name__", repr(self.function))
