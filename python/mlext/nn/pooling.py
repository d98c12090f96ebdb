"""Pooling, channels last or first."""

from __future__ import annotations

from typing import Any

from mlext import functional as F
from mlext.functional._geometry import Padding, Sizes
from mlext.functional._layout import LAST, check_format, shown_format
from mlext.nn.module import Module


class _Windows(Module):
    """Layers that go over their input with a window."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        *,
        ceil_mode: bool = False,
        data_format: str = LAST,
    ) -> None:
        self.data_format = check_format(type(self).__name__, data_format)
        self.kernel_size, self.stride, self.padding, self.ceil_mode = kernel_size, stride, padding, ceil_mode

    def extra_repr(self) -> str:
        """Show the window."""
        stride = self.kernel_size if self.stride is None else self.stride
        window = f"kernel_size={self.kernel_size}, stride={stride}, padding={self.padding!r}"
        return shown_format(window, self.data_format)


class MaxPool2d(_Windows):
    """Largest value of each channel under a window: :func:`mlext.functional.max_pool2d`.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode, data_format
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
        options: Any = {"ceil_mode": self.ceil_mode, "activation": activation, "data_format": self.data_format}
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, **options)


class MaxPool1d(_Windows):
    """Largest value under a window of a sequence: :func:`mlext.functional.max_pool1d`.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode, data_format
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
        options: Any = {"ceil_mode": self.ceil_mode, "data_format": self.data_format}
        return F.max_pool1d(x, self.kernel_size, self.stride, self.padding, **options)


class AvgPool2d(_Windows):
    """Mean of each channel under a window: :func:`mlext.functional.avg_pool2d`.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode, count_include_pad, data_format
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
        data_format: str = LAST,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode, data_format=data_format)
        self.count_include_pad = count_include_pad

    def _options(self) -> dict[str, Any]:
        names = ("ceil_mode", "count_include_pad", "data_format")
        return {name: getattr(self, name) for name in names}

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, **self._options())


class AvgPool1d(AvgPool2d):
    """Mean under a window of a sequence: :func:`mlext.functional.avg_pool1d`.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode, count_include_pad, data_format
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
        return F.avg_pool1d(x, self.kernel_size, self.stride, self.padding, **self._options())


class _Parts(Module):
    """Layers whose result has a given size."""

    def __init__(self, output_size: Sizes, *, data_format: str = LAST) -> None:
        self.data_format = check_format(type(self).__name__, data_format)
        self.output_size = output_size

    def extra_repr(self) -> str:
        """Show the size."""
        return shown_format(f"output_size={self.output_size}", self.data_format)


class AdaptiveMaxPool2d(_Parts):
    """Largest value under windows that divide an image: :func:`mlext.functional.adaptive_max_pool2d`.

    Parameters
    ----------
    output_size : int or pair of int
        Rows and columns of the result.
    data_format
        As in the function.

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
        return F.adaptive_max_pool2d(x, self.output_size, data_format=self.data_format)


class AdaptiveAvgPool2d(_Parts):
    """Mean under windows that divide an image: :func:`mlext.functional.adaptive_avg_pool2d`.

    Parameters
    ----------
    output_size : int or pair of int
        Rows and columns of the result.
    data_format
        As in the function.

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
        return F.adaptive_avg_pool2d(x, self.output_size, data_format=self.data_format)


class _Global(Module):
    """Layers with one result for each channel."""

    def __init__(self, *, data_format: str = LAST) -> None:
        self.data_format = check_format(type(self).__name__, data_format)

    def extra_repr(self) -> str:
        """Show the format, unless it is channels last."""
        return shown_format("", self.data_format)


class GlobalMaxPool2d(_Global):
    """Largest value of each channel of an image: :func:`mlext.functional.global_max_pool2d`.

    Parameters
    ----------
    data_format
        As in the function.

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
        return F.global_max_pool2d(x, data_format=self.data_format)


class GlobalAvgPool2d(_Global):
    """Mean of each channel of an image: :func:`mlext.functional.global_avg_pool2d`.

    Parameters
    ----------
    data_format
        As in the function.

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
        return F.global_avg_pool2d(x, data_format=self.data_format)
