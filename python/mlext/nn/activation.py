"""Activation layers: one class each over a function of ``mlext.functional``.

A class names its function and lists its arguments as annotated defaults, in the function's order;
the base class does the rest. To add one, add a class.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, dataclass_transform

from mlext import dtypes
from mlext import functional as F
from mlext.functional._layout import LAST, check_format, shown_format
from mlext.nn._door import positive_int
from mlext.nn.module import Module
from mlext.tensor import Parameter, full


@dataclass_transform()
class Activation(Module):
    """Base of the activation layers: the annotated attributes of a subclass are its arguments."""

    function: ClassVar[Callable[..., Any]]
    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, function: Callable[..., Any] | None = None) -> None:
        """Read the arguments of a new activation layer."""
        super().__init_subclass__()
        if function is None:
            return
        cls.function = staticmethod(function)
        cls._fields = tuple(inspect.get_annotations(cls))
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        arguments = [inspect.Parameter(n, kind, default=getattr(cls, n)) for n in cls._fields]
        cls.__signature__ = inspect.Signature(arguments)  # type: ignore[attr-defined]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        try:
            bound = inspect.signature(type(self)).bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}: {error}") from None
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            setattr(self, name, value)

    def forward(self, x: Any) -> Any:
        """Apply the function."""
        return type(self).function(x, *[getattr(self, name) for name in self._fields])

    def extra_repr(self) -> str:
        """Show the arguments."""
        return ", ".join([f"{name}={getattr(self, name)!r}" for name in self._fields])


class ReLU(Activation, function=F.relu):
    """Rectified linear unit, ``max(x, 0)``.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.ReLU()(ml.tensor([-1.0, 2.0]))
    Tensor([0., 2.])
    """


class ReLU6(Activation, function=F.relu6):
    """Rectified linear unit limited to 6, ``min(max(x, 0), 6)``."""


class LeakyReLU(Activation, function=F.leaky_relu):
    """``x`` where positive, ``negative_slope * x`` elsewhere (Maas et al. 2013)."""

    negative_slope: float = 0.01


class ELU(Activation, function=F.elu):
    """``x`` where positive, ``alpha * (exp(x) - 1)`` elsewhere (Clevert et al. 2016)."""

    alpha: float = 1.0


class CELU(Activation, function=F.celu):
    """``x`` where positive, ``alpha * (exp(x / alpha) - 1)`` elsewhere (Barron 2017)."""

    alpha: float = 1.0


class SELU(Activation, function=F.selu):
    """Scaled ELU of self-normalising networks (Klambauer et al. 2017)."""


class GELU(Activation, function=F.gelu):
    """Gaussian error linear unit, ``x * Phi(x)``, exact or ``approximate="tanh"``.

    References
    ----------
    Hendrycks & Gimpel 2016, "Gaussian error linear units".
    """

    approximate: str = "none"


class SiLU(Activation, function=F.silu):
    """``x * sigmoid(x)``, also called swish (Elfwing et al. 2018)."""


class Mish(Activation, function=F.mish):
    """``x * tanh(softplus(x))`` (Misra 2019)."""


class Sigmoid(Activation, function=F.sigmoid):
    """Logistic function, ``1 / (1 + exp(-x))``."""


class LogSigmoid(Activation, function=F.log_sigmoid):
    """``log(sigmoid(x))``, without overflow."""


class Hardsigmoid(Activation, function=F.hard_sigmoid):
    """``min(max(x + 3, 0), 6) / 6`` (Howard et al. 2019)."""


class Hardswish(Activation, function=F.hard_swish):
    """``x * hard_sigmoid(x)`` (Howard et al. 2019)."""


class Tanh(Activation, function=F.tanh):
    """Hyperbolic tangent."""


class Hardtanh(Activation, function=F.hard_tanh):
    """``x`` limited to ``[min_val, max_val]``."""

    min_val: float = -1.0
    max_val: float = 1.0


class Softplus(Activation, function=F.softplus):
    """``log(1 + exp(beta x)) / beta``, without overflow."""

    beta: float = 1.0


class Softsign(Activation, function=F.softsign):
    """``x / (1 + |x|)``."""


class Softshrink(Activation, function=F.soft_shrink):
    """``sign(x) * max(|x| - lambd, 0)``."""

    lambd: float = 0.5


class Softmax(Activation, function=F.softmax):
    """``exp(x) / sum(exp(x))`` along axis ``dim``."""

    dim: int = -1


class LogSoftmax(Activation, function=F.log_softmax):
    """``log(softmax(x))`` along axis ``dim``."""

    dim: int = -1


class PReLU(Module):
    """Leaky ReLU with a learnt slope.

        y = max(x, 0) + weight * min(x, 0)

    Parameters
    ----------
    num_parameters : int
        1, or one slope per channel.
    init : float
        First value of the slopes.
    data_format : {"channels_last", "channels_first"}
        Whether channels are the last axis or the second one.
    dtype : dtype
        Of the slopes.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.PReLU()(ml.tensor([-2.0, 4.0])).detach()
    Tensor([-0.5,  4. ])

    References
    ----------
    He et al. 2015, "Delving deep into rectifiers", equation 1.
    """

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        *,
        data_format: str = LAST,
        dtype: dtypes.DTypeLike = dtypes.float32,
    ) -> None:
        self.data_format = check_format("PReLU", data_format)
        positive_int("PReLU", "num_parameters", num_parameters)
        self.init = init
        self.weight = Parameter(full(num_parameters, init, dtype))

    def forward(self, x: Any) -> Any:
        """Apply the function."""
        return F.prelu(x, self.weight, data_format=self.data_format)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        dtype = self.weight.dtype.name
        sizes = {"num_parameters": self.weight.size, "init": self.init}
        return {**sizes, "data_format": self.data_format, "dtype": dtype}

    def extra_repr(self) -> str:
        """Show the number of slopes."""
        return shown_format(f"num_parameters={self.weight.size}", self.data_format)
