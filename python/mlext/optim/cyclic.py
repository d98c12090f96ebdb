"""Schedules that move momentum against the learning rate."""

from __future__ import annotations

from mlext.optim.group import Group
from mlext.optim.optimizer import Optimizer
from mlext.optim.schedule import Schedule, _cosine


def _momentum_name(op: str, group: Group) -> str:
    for name in ("momentum", "betas"):
        if name in group:
            return name
    raise ValueError(f"{op}: argument 'cycle_momentum': expected False, {group.op} has neither momentum nor betas")


def _set_momentum(op: str, group: Group, value: float) -> None:
    if _momentum_name(op, group) == "momentum":
        group["momentum"] = value
    else:
        group["betas"] = (value, group["betas"][1])


class CyclicLR(Schedule):
    """From ``base_lr`` up to ``max_lr`` in ``step_size_up`` steps and down again, over and over.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates are set.
    base_lr, max_lr : float
        Lowest and highest rate.
    step_size_up : int
        Steps up.
    step_size_down : int, optional
        Steps down; as many as up if not given.
    mode : {"triangular", "triangular2", "exp_range"}
        The height stays, halves every cycle, or is multiplied with ``gamma`` every step.
    gamma : float
        For "exp_range".
    cycle_momentum : bool
        Move the momentum (or beta1) from ``max_momentum`` down to ``base_momentum`` and up again.
    base_momentum, max_momentum : float
        Lowest and highest momentum.

    References
    ----------
    Smith 2017, "Cyclical learning rates for training neural networks".
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float,
        max_lr: float,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
    ) -> None:
        if mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(
                f"CyclicLR: argument 'mode': expected 'triangular', 'triangular2' or 'exp_range', got {mode!r}"
            )
        if step_size_up < 1:
            raise ValueError(f"CyclicLR: argument 'step_size_up': expected a positive int, got {step_size_up}")
        self.base_lr, self.max_lr, self.mode, self.gamma = base_lr, max_lr, mode, gamma
        self.step_size_up = step_size_up
        self.step_size_down = step_size_up if step_size_down is None else step_size_down
        self.cycle_momentum = cycle_momentum
        self.base_momentum, self.max_momentum = base_momentum, max_momentum
        super().__init__(optimizer)

    def _height(self) -> float:
        """Where in the cycle: 0 at the bottom, 1 at the top, less in later cycles."""
        total = self.step_size_up + self.step_size_down
        cycle, at = divmod(self.last_epoch, total)
        up = at / self.step_size_up if at <= self.step_size_up else (total - at) / self.step_size_down
        if self.mode == "triangular":
            return up
        return up * (0.5**cycle if self.mode == "triangular2" else self.gamma**self.last_epoch)

    def rate(self, base: float, group: int) -> float:
        """Return the learning rate."""
        return self.base_lr + (self.max_lr - self.base_lr) * self._height()

    def _apply(self) -> None:
        super()._apply()
        if self.cycle_momentum:
            momentum = self.max_momentum - (self.max_momentum - self.base_momentum) * self._height()
            for group in self.optimizer.param_groups:
                _set_momentum("CyclicLR", group, momentum)


class OneCycleLR(Schedule):
    """Up to ``max_lr`` and then down to almost nothing, once.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates are set.
    max_lr : float
        Highest rate.
    total_steps : int
        Length of the cycle.
    pct_start : float
        Share of the steps that goes up.
    anneal_strategy : {"cos", "linear"}
        Form of the slopes.
    cycle_momentum : bool
        Move the momentum (or beta1) from ``max_momentum`` down to ``base_momentum`` and up again.
    base_momentum, max_momentum : float
        Lowest and highest momentum.
    div_factor : float
        The first rate is ``max_lr / div_factor``.
    final_div_factor : float
        The last rate is the first over this.
    three_phase : bool
        Down to the first rate in as many steps as up, then to the last.

    Raises
    ------
    ValueError
        If an argument is out of its range; in ``step``, after ``total_steps`` steps.

    References
    ----------
    Smith & Topin 2018, "Super-convergence".
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        if total_steps < 1:
            raise ValueError(f"OneCycleLR: argument 'total_steps': expected a positive int, got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: argument 'pct_start': expected a number in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: argument 'anneal_strategy': expected 'cos' or 'linear', got {anneal_strategy!r}"
            )
        self.total_steps = total_steps
        self.anneal = _cosine if anneal_strategy == "cos" else _line
        self.cycle_momentum = cycle_momentum
        first = max_lr / div_factor
        last, low, high = first / final_div_factor, base_momentum, max_momentum
        top = pct_start * total_steps - 1
        # (last step of the phase, learning rates, momenta)
        self.phases = [
            (top, (first, max_lr), (high, low)),
            (total_steps - 1, (max_lr, last), (low, high)),
        ]
        if three_phase:
            self.phases[1] = (2 * top, (max_lr, first), (low, high))
            self.phases.append((total_steps - 1, (first, last), (high, high)))
        super().__init__(optimizer)

    def _values(self) -> tuple[float, float]:
        """Learning rate and momentum."""
        start = 0.0
        for end, rates, momenta in self.phases:
            if self.last_epoch <= end or end == self.total_steps - 1:
                done = (self.last_epoch - start) / (end - start) if end != start else 1.0
                return self.anneal(*rates, done), self.anneal(*momenta, done)
            start = end
        raise AssertionError("the last phase ends the loop")

    def rate(self, base: float, group: int) -> float:
        """Return the learning rate."""
        return self._values()[0]

    def _apply(self) -> None:
        if self.last_epoch >= self.total_steps:
            raise ValueError(
                f"OneCycleLR: argument 'total_steps': the cycle has {self.total_steps} steps, got "
                f"step {self.last_epoch}"
            )
        super()._apply()
        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                _set_momentum("OneCycleLR", group, self._values()[1])


def _line(start: float, end: float, done: float) -> float:
    return start + (end - start) * done
