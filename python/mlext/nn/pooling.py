"""Pooling, channels last."""

from __future__ import annotations

from typing import Any

from mlext import functional as F
from mlext.functional._geometry import Padding, Sizes
from mlext.nn.module import Module


class _Windows(Module):
    """Layers that go over their input with a window."""

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, *, ceil_mode: bool = False) -> None:
        self.kernel_size, self.stride, self.padding, self.ceil_mode = kernel_size, stride, padding, ceil_mode

    def extra_repr(self) -> str:
        """Show the window."""
        stride = self.kernel_size if self.stride is None else self.stride
        return f"kernel_size={self.kernel_size}, stride={stride}, padding={self.padding!r}"


class MaxPool2d(_Windows):
    """Largest value of each channel under a window: :func:`mlext.functional.max_pool2d`.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode
        As in the function.

    Shapes
    ------
    x : (N, H, W, C)
    output : (N, P, Q, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.MaxPool2d(2)(ml.ones(1, 8, 6, 3)).shape
    (1, 4, 3, 3)
    """

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        return self.run_with(x, None)

    def run_with(self, x: Any, activation: str | None) -> Any:
        """Apply the layer and an activation in one kernel."""
        ceil = self.ceil_mode
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, ceil_mode=ceil, activation=activation)


class MaxPool1d(_Windows):
    """Largest value under a window of a sequence: :func:`mlext.functional.max_pool1d`.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode
        As in the function.

    Shapes
    ------
    x : (N, T, C)
    output : (N, Q, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.MaxPool1d(2)(ml.ones(1, 8, 3)).shape
    (1, 4, 3)
    """

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        return F.max_pool1d(x, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)


class AvgPool2d(_Windows):
    """Mean of each channel under a window: :func:`mlext.functional.avg_pool2d`.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As in the function.

    Shapes
    ------
    x : (N, H, W, C)
    output : (N, P, Q, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.AvgPool2d(3, 2, 1)(ml.ones(1, 8, 6, 3)).shape
    (1, 4, 3, 3)
    """

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        *,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode)
        self.count_include_pad = count_include_pad

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        options = {"ceil_mode": self.ceil_mode, "count_include_pad": self.count_include_pad}
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, **options)


class AvgPool1d(AvgPool2d):
    """Mean under a window of a sequence: :func:`mlext.functional.avg_pool1d`.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As in the function.

    Shapes
    ------
    x : (N, T, C)
    output : (N, Q, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.AvgPool1d(2)(ml.ones(1, 8, 3)).shape
    (1, 4, 3)
    """

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        options = {"ceil_mode": self.ceil_mode, "count_include_pad": self.count_include_pad}
        return F.avg_pool1d(x, self.kernel_size, self.stride, self.padding, **options)


class _Parts(Module):
    """Layers whose result has a given size."""

    def __init__(self, output_size: Sizes) -> None:
        self.output_size = output_size

    def extra_repr(self) -> str:
        """Show the size."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(_Parts):
    """Largest value under windows that divide an image: :func:`mlext.functional.adaptive_max_pool2d`.

    Parameters
    ----------
    output_size : int or pair of int
        Rows and columns of the result.

    Shapes
    ------
    x : (N, H, W, C)
    output : (N, P, Q, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.AdaptiveMaxPool2d(2)(ml.ones(1, 7, 6, 3)).shape
    (1, 2, 2, 3)
    """

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        return F.adaptive_max_pool2d(x, self.output_size)


class AdaptiveAvgPool2d(_Parts):
    """Mean under windows that divide an image: :func:`mlext.functional.adaptive_avg_pool2d`.

    Parameters
    ----------
    output_size : int or pair of int
        Rows and columns of the result.

    Shapes
    ------
    x : (N, H, W, C)
    output : (N, P, Q, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.AdaptiveAvgPool2d((2, 3))(ml.ones(1, 7, 6, 3)).shape
    (1, 2, 3, 3)
    """

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        return F.adaptive_avg_pool2d(x, self.output_size)


class GlobalMaxPool2d(Module):
    """Largest value of each channel of an image: :func:`mlext.functional.global_max_pool2d`.

    Shapes
    ------
    x : (N, H, W, C)
    output : (N, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.GlobalMaxPool2d()(ml.ones(1, 7, 6, 3)).shape
    (1, 3)
    """

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        return F.global_max_pool2d(x)


class GlobalAvgPool2d(Module):
    """Mean of each channel of an image: :func:`mlext.functional.global_avg_pool2d`.

    Shapes
    ------
    x : (N, H, W, C)
    output : (N, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.GlobalAvgPool2d()(ml.ones(1, 7, 6, 3)).shape
    (1, 3)
    """

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        return F.global_avg_pool2d(x)
