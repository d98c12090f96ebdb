"""Learning-rate schedules: ``scheduler.step()`` after every epoch, or every step.

A schedule sets ``group["lr"]`` of every group of an optimizer. Those here are functions of the
number of steps done; making one sets the rate of step 0. Names, arguments and values are PyTorch's.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlext.optim.optimizer import Optimizer


class Schedule:
    """Base: a subclass says in ``rate`` what the learning rate is after ``self.last_epoch`` steps.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates are set; those it has now are the base.
    """

    # Attributes that state_dict holds besides last_epoch and base_lrs.
    _state: tuple[str, ...] = ()

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__}: argument 'optimizer': expected an Optimizer, got {type(optimizer).__name__}"
            )
        self.optimizer = optimizer
        self.base_lrs = [group.base_lr for group in optimizer.param_groups]
        self.last_epoch = 0
        self._apply()

    def rate(self, base: float, group: int) -> float:
        """Return the learning rate of group number ``group``, whose base is ``base``."""
        raise NotImplementedError

    def _apply(self) -> None:
        for i, (group, base) in enumerate(zip(self.optimizer.param_groups, self.base_lrs, strict=True)):
            group.schedule_lr(self.rate(base, i))

    def _start(self) -> None:
        """Begin at step 0: what SequentialLR does when a schedule's turn comes."""
        self.last_epoch = 0
        self._apply()

    def step(self) -> None:
        """Go on by one step."""
        self.last_epoch += 1
        self._apply()

    def get_last_lr(self) -> list[float]:
        """Return the learning rate of every group."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return where the schedule is, as numbers and lists."""
        names = ("last_epoch", "base_lrs", *self._state)
        return {name: _copied(getattr(self, name)) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`; the optimizer's own state holds the learning rates."""
        for name in ("last_epoch", "base_lrs", *self._state):
            setattr(self, name, _copied(state[name]))


def _copied(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value


class ConstantLR(Schedule):
    """``base * factor`` for ``total_iters`` steps, then ``base``."""

    def __init__(self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5) -> None:
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer)

    def rate(self, base: float, group: int) -> float:
        """Return the learning rate."""
        return base * self.factor if self.last_epoch < self.total_iters else base


class LambdaLR(Schedule):
    """``base * lr_lambda(step)``; a list of functions gives every group its own."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
    ) -> None:
        count = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * count if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != count:
            raise ValueError(
                f"LambdaLR: argument 'lr_lambda': expected one function or {count}, got {len(self.lr_lambdas)}"
            )
        super().__init__(optimizer)

    def rate(self, base: float, group: int) -> float:
        """Return the learning rate."""
        return base * self.lr_lambdas[group](self.last_epoch)


class StepLR(Schedule):
    """``base * gamma ** (step // step_size)``."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        if step_size < 1:
            raise ValueError(f"StepLR: argument 'step_size': expected a positive int, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def rate(self, base: float, group: int) -> float:
        """Return the learning rate."""
        return base * math.pow(self.gamma, self.last_epoch // self.step_size)


class MultiStepLR(Schedule):
    """``base * gamma ** (milestones passed)``."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def rate(self, base: float, group: int) -> float:
        """Return the learning rate."""
        return base * math.pow(self.gamma, bisect_right(self.milestones, self.last_epoch))


class ExponentialLR(Schedule):
    """``base * gamma ** step``."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, base: float, group: int) -> float:
        """Return the learning rate."""
        return base * math.pow(self.gamma, self.last_epoch)


class InverseTimeDecay(Schedule):
    """``base / (1 + decay_rate * step / decay_steps)``, or of ``step // decay_steps``."""

    def __init__(self, optimizer: Optimizer, decay_steps: float, decay_rate: float, staircase: bool = False) -> None:
        if not decay_steps > 0:
            raise ValueError(f"InverseTimeDecay: argument 'decay_steps': expected a positive number, got {decay_steps}")
        self.decay_steps, self.decay_rate, self.staircase = decay_steps, decay_rate, staircase
        super().__init__(optimizer)

    def rate(self, base: float, group: int) -> float:
        """Return the learning rate."""
        passed = self.last_epoch / self.decay_steps
        return base / (1.0 + self.decay_rate * (math.floor(passed) if self.staircase else passed))


class LinearLR(Schedule):
    """From ``base * start_factor`` to ``base * end_factor`` in ``total_iters`` steps: warm-up."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        for name, value in (("start_factor", start_factor), ("end_factor", end_factor)):
            if not 0 <= value <= 1:
                raise ValueError(f"LinearLR: argument '{name}': expected a number in [0, 1], got {value}")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer)

    def rate(self, base: float, group: int) -> float:
        """Return the learning rate."""
        done = min(self.last_epoch, self.total_iters) / max(1, self.total_iters)
        return base * (self.start_factor + (self.end_factor - self.start_factor) * done)


class PolynomialLR(Schedule):
    """``base * (1 - step / total_iters) ** power``, 0 from ``total_iters`` on."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer)

    def rate(self, base: float, group: int) -> float:
        """Return the learning rate."""
        left = 1.0 - min(self.last_epoch, self.total_iters) / max(1, self.total_iters)
        return base * math.pow(left, self.power)


class CosineAnnealingLR(Schedule):
    """Half a cosine from ``base`` to ``eta_min`` in ``T_max`` steps, and back up if it goes on.

    References
    ----------
    Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts".
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:  # noqa: N803
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: argument 'T_max': expected a positive int, got {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate(self, base: float, group: int) -> float:
        """Return the learning rate."""
        return _cosine(base, self.eta_min, self.last_epoch / self.T_max)


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * done)) / 2.0


class CosineAnnealingWarmRestarts(Schedule):
    """Half cosines from ``base`` to ``eta_min``, over and over.

    The first takes ``T_0`` steps, each later one ``T_mult`` times as many.

    References
    ----------
    Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts".
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> None:  # noqa: N803
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            if value < 1:
                raise ValueError(
                    f"CosineAnnealingWarmRestarts: argument '{name}': expected a positive int, got {value}"
                )
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer)

    def rate(self, base: float, group: int) -> float:
        """Return the learning rate."""
        since, length = self.last_epoch, self.T_0
        if self.T_mult == 1:
            since %= length
        while since >= length:
            since -= length
            length *= self.T_mult
        return _cosine(base, self.eta_min, since / length)
