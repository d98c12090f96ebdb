"""Schedules made of others or of what a metric does."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from mlext.optim.optimizer import Optimizer
from mlext.optim.schedule import Schedule


class SequentialLR(Schedule):
    """One schedule after the other: ``schedulers[i + 1]`` starts at step ``milestones[i]``.

    Examples
    --------
    >>> import mlext as ml
    >>> opt = ml.optim.SGD(ml.nn.Linear(2, 1).parameters(), lr=1.0)
    >>> warm_up = ml.optim.LinearLR(opt, start_factor=0.5, total_iters=2)
    >>> decay = ml.optim.ExponentialLR(opt, gamma=0.5)
    >>> schedule = ml.optim.SequentialLR(opt, [warm_up, decay], milestones=[2])
    >>> rates = [opt.lr]
    >>> for _ in range(4):
    ...     schedule.step()
    ...     rates.append(opt.lr)
    >>> rates
    [0.5, 0.75, 1.0, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[Schedule], milestones: Sequence[int]) -> None:
        if len(schedulers) != len(milestones) + 1:
            raise ValueError(
                f"SequentialLR: argument 'milestones': expected {len(schedulers) - 1}, one less "
                "than schedulers, got "
                f"{len(milestones)}"
            )
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError("SequentialLR: argument 'schedulers': expected all to be of this optimizer")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer)

    def _apply(self) -> None:
        self.schedulers[0]._start()

    def step(self) -> None:
        """Go on by one step."""
        self.last_epoch += 1
        turn = bisect_right(self.milestones, self.last_epoch)
        if turn > 0 and self.milestones[turn - 1] == self.last_epoch:
            self.schedulers[turn]._start()
        else:
            self.schedulers[turn].step()

    def state_dict(self) -> dict[str, Any]:
        """Return where all schedules are."""
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        super().load_state_dict(state)
        for own, saved in zip(self.schedulers, state["schedulers"], strict=True):
            own.load_state_dict(saved)


class ReduceLROnPlateau(Schedule):
    """Multiply the learning rate by ``factor`` when a metric no longer improves.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates are set.
    mode : {"min", "max"}
        What is better.
    factor : float
        In (0, 1).
    patience : int
        Steps without improvement that are let pass.
    threshold : float
        How much better counts.
    threshold_mode : {"rel", "abs"}
        Whether the threshold is a share of the best value.
    cooldown : int
        Steps after a reduction that do not count.
    min_lr : float
        Lowest rate.
    eps : float
        Smaller changes are not made.
    """

    _state = ("best", "num_bad_epochs", "cooldown_counter")

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: argument 'mode': expected 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"ReduceLROnPlateau: argument 'threshold_mode': expected 'rel' or 'abs', got {threshold_mode!r}"
            )
        if not 0 < factor < 1:
            raise ValueError(f"ReduceLROnPlateau: argument 'factor': expected a number between 0 and 1, got {factor}")
        self.sign = 1.0 if mode == "min" else -1.0
        self.factor, self.patience, self.cooldown = factor, patience, cooldown
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.min_lr, self.eps = min_lr, eps
        self.best = self.sign * math.inf
        self.num_bad_epochs = self.cooldown_counter = 0
        super().__init__(optimizer)

    def _apply(self) -> None:
        """Leave the rates as they are until a metric comes."""

    def step(self, metric: Any = None) -> None:
        """Go on by one step, in which ``metric`` was measured."""
        if metric is None:
            raise TypeError("ReduceLROnPlateau: step: argument 'metric': expected a number, got none")
        self.last_epoch += 1
        if self._is_better(float(metric)):
            self.best = float(metric)
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def _is_better(self, metric: float) -> bool:
        if math.isinf(self.best):
            return self.sign * metric < self.sign * self.best
        margin = self.threshold * (self.sign * self.best if self.threshold_mode == "rel" else 1.0)
        return self.sign * metric < self.sign * self.best - margin

    def _reduce(self) -> None:
        for group in self.optimizer.param_groups:
            lowered = max(group["lr"] * self.factor, self.min_lr)
            if group["lr"] - lowered > self.eps:
                group.schedule_lr(lowered)
