"""Normalisation, channels last or first."""

from __future__ import annotations

from typing import Any

from mlext import dtypes
from mlext import functional as F
from mlext.functional._layout import LAST, check_format, shown_format
from mlext.functional._normalization import checked_eps
from mlext.nn._activated import Activated
from mlext.nn._door import positive_int
from mlext.tensor import Parameter, Tensor, ones, zeros


class _Normalization(Activated):
    """What layers that normalise channels share: scale and shift of each, and an activation."""

    def _start(self, size: Any, affine: bool, eps: float, activation: str | None, data_format: str, dtype: Any) -> None:
        self.data_format = check_format(type(self).__name__, data_format)
        self.eps, self.affine, self.activation = checked_eps(type(self).__name__, eps), affine, activation
        self.weight = Parameter(ones(size, dtype=dtype)) if affine else None
        self.bias = Parameter(zeros(size, dtype=dtype)) if affine else None


class BatchNorm(_Normalization):
    """Normalisation of each channel over the samples of a batch and all pixels.

    The formula is that of :func:`mlext.functional.batch_norm`. While training, mean and variance are those of the
    batch, and running averages of them are kept, which normalise in evaluation mode. Samples of any rank, channels
    last or first: this is PyTorch's BatchNorm1d, 2d and 3d.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
        Added to the variance.
    momentum : float
        Share of a batch in the running averages, in [0, 1].
    affine : bool
        Whether there are scale and shift.
    track_running_stats : bool
        Whether there are running averages; without them the batch normalises in evaluation mode too.
    activation : {None, "relu"}
        Applied in the same kernel.
    data_format : {"channels_last", "channels_first"}
        Whether x and the output are (N, ..., C) or (N, C, ...).
    dtype : dtype
        Of the parameters and averages.

    Shapes
    ------
    x : (N, ..., C) with C = num_features
    weight, bias, running_mean, running_var : (C,)
    output : (N, ..., C)

    Raises
    ------
    ValueError
        If a size, eps or momentum is out of range, or while training there is one value per channel.

    Examples
    --------
    >>> import mlext as ml
    >>> layer = ml.nn.BatchNorm(3)
    >>> layer(ml.ones(2, 8, 8, 3)).shape
    (2, 8, 8, 3)
    >>> layer.running_mean
    Tensor([0.1, 0.1, 0.1])

    References
    ----------
    Ioffe and Szegedy 2015, "Batch normalization: accelerating deep network training".
    """

    running_mean: Tensor | None
    running_var: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        activation: str | None = None,
        data_format: str = LAST,
        dtype: dtypes.DTypeLike = dtypes.float32,
    ) -> None:
        self.num_features = positive_int("BatchNorm", "num_features", num_features)
        if not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm: argument 'momentum': expected a number in [0, 1], got {momentum}")
        self.momentum, self.track_running_stats = momentum, track_running_stats
        self._start(num_features, affine, eps, activation, data_format, dtype)
        self.register_buffer("running_mean", zeros(num_features, dtype=dtype) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features, dtype=dtype) if track_running_stats else None)

    def run_with(self, x: Any, activation: str | None) -> Any:
        """Apply the layer and an activation in one kernel."""
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
            activation=activation,
            data_format=self.data_format,
        )

    def extra_repr(self) -> str:
        """Show the channels."""
        return shown_format(f"{self.num_features}, eps={self.eps}, momentum={self.momentum}", self.data_format)


class GroupNorm(_Normalization):
    """Normalisation of groups of adjacent channels of each sample.

    The formula is that of :func:`mlext.functional.group_norm`.

    Parameters
    ----------
    num_groups : int
        Groups, a divisor of ``num_channels``.
    num_channels : int
        Channels.
    eps, affine, activation, data_format, dtype
        As in :class:`BatchNorm`.

    Shapes
    ------
    x : (N, ..., C) with C = num_channels
    weight, bias : (C,)
    output : (N, ..., C)

    Raises
    ------
    ValueError
        If a size is not positive, or the groups do not divide the channels.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.GroupNorm(2, 6)(ml.ones(2, 8, 8, 6)).shape
    (2, 8, 8, 6)

    References
    ----------
    Wu and He 2018, "Group normalization".
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        activation: str | None = None,
        data_format: str = LAST,
        dtype: dtypes.DTypeLike = dtypes.float32,
    ) -> None:
        self.num_groups = positive_int("GroupNorm", "num_groups", num_groups)
        self.num_channels = positive_int("GroupNorm", "num_channels", num_channels)
        if num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: argument 'num_groups': expected a divisor of num_channels={num_channels}, got {num_groups}"
            )
        self._start(num_channels, affine, eps, activation, data_format, dtype)

    def run_with(self, x: Any, activation: str | None) -> Any:
        """Apply the layer and an activation in one kernel."""
        options: Any = {"activation": activation, "data_format": self.data_format}
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps, **options)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return shown_format(f"{self.num_groups}, {self.num_channels}, eps={self.eps}", self.data_format)


class InstanceNorm(_Normalization):
    """Normalisation of each channel of each sample.

    The formula is that of :func:`mlext.functional.instance_norm`.

    Parameters
    ----------
    num_features : int
        Channels.
    eps, affine, activation, data_format, dtype
        As in :class:`BatchNorm`.

    Shapes
    ------
    x : (N, ..., C) with C = num_features
    weight, bias : (C,)
    output : (N, ..., C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.InstanceNorm(6)(ml.ones(2, 8, 8, 6)).shape
    (2, 8, 8, 6)

    References
    ----------
    Ulyanov, Vedaldi and Lempitsky 2016, "Instance normalization: the missing ingredient for fast stylization".
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        affine: bool = False,
        *,
        activation: str | None = None,
        data_format: str = LAST,
        dtype: dtypes.DTypeLike = dtypes.float32,
    ) -> None:
        self.num_features = positive_int("InstanceNorm", "num_features", num_features)
        self._start(num_features, affine, eps, activation, data_format, dtype)

    def run_with(self, x: Any, activation: str | None) -> Any:
        """Apply the layer and an activation in one kernel."""
        options: Any = {"activation": activation, "data_format": self.data_format}
        return F.instance_norm(x, self.weight, self.bias, self.eps, **options)

    def extra_repr(self) -> str:
        """Show the channels."""
        return shown_format(f"{self.num_features}, eps={self.eps}", self.data_format)
