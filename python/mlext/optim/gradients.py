"""Between ``backward()`` and ``step()``: clipping, penalties, loss scaling."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from mlext import _C
from mlext import functional as F
from mlext.autograd import read_grad, write_grad
from mlext.optim.optimizer import Optimizer
from mlext.tensor import Tensor, full


def _own_gradients(params: list[Tensor]) -> list[Tensor]:
    """Return the gradients there are, each in memory that nothing else uses."""
    found = []
    for p in params:
        gradient = read_grad(p)
        if gradient is None:
            continue
        # A gradient may share memory with another's, or be one number broadcast.
        if not _C.owns_alone(gradient) or 0 in gradient.strides:
            gradient = _C.cast(gradient, gradient.dtype)
            write_grad(p, gradient)
        found.append(gradient)
    return found


def as_list(op: str, params: Iterable[Tensor]) -> list[Tensor]:
    """Return ``params``, one Tensor or several, as a list."""
    found: list[Tensor] = [params] if isinstance(params, Tensor) else list(params)
    for p in found:
        if not isinstance(p, Tensor):
            raise TypeError(f"{op}: argument 'params': expected Tensors, got {type(p).__name__}")
    return found


def clip_grad_norm(params: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients together so that their Euclidean norm is at most ``max_norm``.

        g = g * min(1, max_norm / (norm + 1e-6))

    Parameters
    ----------
    params : iterable of Parameter
        Those without a gradient are left out.
    max_norm : float
        0 or more.

    Returns
    -------
    Tensor of one element
        The norm before.

    Raises
    ------
    ValueError
        If ``max_norm`` is negative or NaN.

    Examples
    --------
    >>> import mlext as ml
    >>> w = ml.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> ml.optim.clip_grad_norm([w], 1.0).item()
    10.0

    References
    ----------
    Pascanu et al. 2013, "On the difficulty of training recurrent neural networks".
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm: argument 'max_norm': expected a number of 0 or more, got {max_norm}")
    gradients = _own_gradients(as_list("clip_grad_norm", params))
    if not gradients:
        return full((), 0.0)
    norm: Tensor = _C.clip_by_norm_(gradients, max_norm)
    return norm


def clip_grad_value(params: Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of every gradient to ``[-clip_value, clip_value]``."""
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value: argument 'clip_value': expected a number of 0 or more, got {clip_value}")
    gradients = _own_gradients(as_list("clip_grad_value", params))
    if gradients:
        _C.clip_by_value_(gradients, clip_value)


def add_penalty(params: Iterable[Tensor], l1: float = 0.0, l2: float = 0.0) -> None:
    """Add the gradient of an L1 and an L2 penalty: ``g = g + l1 sign(p) + l2 p``.

    The penalties are ``l1 sum |p|`` and ``l2 / 2 sum p^2``; both together are the elastic net (Zou
    & Hastie 2005). Parameters without a gradient are left out.

    Raises
    ------
    ValueError
        If a factor is negative or NaN.
    """
    for name, factor in (("l1", l1), ("l2", l2)):
        if not (factor >= 0 and math.isfinite(factor)):
            raise ValueError(f"add_penalty: argument '{name}': expected a finite number of 0 or more, got {factor}")
    found = [p for p in as_list("add_penalty", params) if read_grad(p) is not None]
    if found:
        _C.add_penalty_grad_(found, _own_gradients(found), l1, l2)


class LossScaler:
    """Loss scaling: keeps small gradients of half-precision training from becoming 0.

    The loss is multiplied, the gradients are divided. A step whose gradients are not finite is left
    out and the scale halved; after ``growth_interval`` good steps in a row the scale doubles.

    Parameters
    ----------
    init_scale : float
        First factor.
    growth_factor, backoff_factor : float
        How the scale goes up and down.
    growth_interval : int
        Good steps before it goes up.

    Examples
    --------
    >>> import mlext as ml
    >>> w = ml.nn.Parameter(ml.tensor([1.0]))
    >>> opt, scaler = ml.optim.SGD([w], lr=0.5), ml.optim.LossScaler()
    >>> scaler.scale((w * w).sum()).backward()
    >>> scaler.step(opt)
    >>> scaler.update()
    >>> w.item()
    0.0

    References
    ----------
    Micikevicius et al. 2018, "Mixed precision training".
    """

    def __init__(
        self,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
    ) -> None:
        if not (init_scale > 0 and math.isfinite(init_scale)):
            raise ValueError(f"LossScaler: argument 'init_scale': expected a positive number, got {init_scale}")
        if not growth_factor > 1:
            raise ValueError(f"LossScaler: argument 'growth_factor': expected more than 1, got {growth_factor}")
        if not 0 < backoff_factor < 1:
            raise ValueError(
                f"LossScaler: argument 'backoff_factor': expected a number between 0 and 1, got {backoff_factor}"
            )
        self.growth_factor = growth_factor
        self.backoff_factor = backoff_factor
        self.growth_interval = growth_interval
        # Memory, not numbers: a compiled step must see the scale of the moment.
        self._scale = full(1, init_scale)
        self._found = full(1, 0.0)
        self._good_steps = 0
        self._unscaled: list[Optimizer] = []

    def get_scale(self) -> float:
        """Return the factor of the moment."""
        return float(self._scale.item())

    def scale(self, loss: Tensor) -> Tensor:
        """Return ``loss`` times the scale: call ``backward()`` on it."""
        factor = F.astype(F.reshape(self._scale, (1,) * loss.ndim), loss.dtype)
        scaled: Tensor = F.mul(loss, factor)
        return scaled

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the scale: before clipping; otherwise ``step`` does it."""
        if any(done is optimizer for done in self._unscaled):
            raise RuntimeError("LossScaler: unscale_ was already called for this optimizer since the last update()")
        gradients = [g for group in optimizer.param_groups for g in _own_gradients(group.params)]
        for kind in {g.dtype.name for g in gradients}:
            _C.unscale_check_([g for g in gradients if g.dtype.name == kind], self._scale, self._found)
        self._unscaled.append(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the scale; update the parameters if all gradients are finite."""
        if not any(done is optimizer for done in self._unscaled):
            self.unscale_(optimizer)
        optimizer._found = self._found
        try:
            optimizer.step()
        finally:
            optimizer._found = None

    def update(self) -> None:
        """Set the scale for the next step. Reads a value: outside compiled functions."""
        if self._found.item():
            self._good_steps = 0
            _C.mul_(self._scale, self.backoff_factor)
        else:
            self._good_steps += 1
            if self._good_steps == self.growth_interval:
                self._good_steps = 0
                _C.mul_(self._scale, self.growth_factor)
        _C.copy_(self._found, 0.0)
        self._unscaled.clear()

    def state_dict(self) -> dict[str, float]:
        """Return the scale and the number of good steps."""
        return {"scale": self.get_scale(), "good_steps": self._good_steps}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from :meth:`state_dict`."""
        _C.copy_(self._scale, float(state["scale"]))
        self._good_steps = int(state["good_steps"])
