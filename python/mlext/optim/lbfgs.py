"""L-BFGS: a quasi-Newton method for whole data sets and small models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mlext import _C
from mlext.autograd import read_grad
from mlext.optim.group import Group
from mlext.optim.line_search import strong_wolfe
from mlext.optim.optimizer import Optimizer, Parameters
from mlext.tensor import Tensor

Vector = npt.NDArray[np.float64]


class LBFGS(Optimizer):
    """Limited-memory BFGS: Newton steps with a curvature estimated from the last gradients.

    ``step(closure)`` makes up to ``max_iter`` iterations; ``closure`` clears the gradients,
    computes the loss, calls ``backward()`` and returns the loss. Vectors of all parameters are held
    in float64. It reads values, so a step cannot be compiled.

    Parameters
    ----------
    params : iterable of Parameter
        What to train, one group.
    lr : float
        Factor of the steps.
    max_iter : int
        Iterations per step.
    max_eval : int, optional
        Evaluations per step; ``max_iter * 5 // 4`` if not given.
    tolerance_grad, tolerance_change : float
        Stop when the largest gradient, or the change, is at most this.
    history_size : int
        How many steps the curvature is estimated from.
    line_search_fn : {"strong_wolfe"}, optional
        Look for a step length that fulfils the strong Wolfe conditions; without it the length is
        ``lr``.

    Examples
    --------
    >>> import mlext as ml
    >>> w = ml.nn.Parameter(ml.tensor([3.0, -2.0]))
    >>> opt = ml.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     opt.zero_grad()
    ...     loss = ((w - 1.0) * (w - 1.0)).sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = opt.step(closure)
    >>> bool((abs(w - 1.0) < 1e-4).all())
    True

    References
    ----------
    Nocedal & Wright 2006, "Numerical optimization", algorithms 7.4, 7.5, 3.5 and 3.6.
    """

    HYPER = ("lr",)

    def __init__(
        self,
        params: Parameters,
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if line_search_fn not in (None, "strong_wolfe"):
            raise ValueError(
                f"LBFGS: argument 'line_search_fn': expected None or 'strong_wolfe', got {line_search_fn!r}"
            )
        super().__init__(params, {"lr": lr})
        if len(self.param_groups) != 1:
            raise ValueError(f"LBFGS: argument 'params': expected one group, got {len(self.param_groups)}")
        self.max_iter = max_iter
        self.max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        self.tolerance_grad, self.tolerance_change = tolerance_grad, tolerance_change
        self.history_size = history_size
        self.line_search_fn = line_search_fn
        self._iterations = 0
        self._steps: list[Vector] = []  # changes of the parameters, oldest first
        self._changes: list[Vector] = []  # changes of the gradient with them
        self._direction: Vector | None = None
        self._length = 0.0
        self._gradient: Vector | None = None

    def init_state(self, p: Tensor, group: Group) -> dict[str, Tensor | None]:
        """Nothing per parameter."""
        return {}

    # ---- flat vectors ----------------------------------------------------------------------------

    def _flat(self) -> Vector:
        return np.concatenate([p.detach().numpy().ravel() for p in self._params()], dtype=np.float64)

    def _flat_gradient(self) -> Vector:
        parts = []
        for p in self._params():
            g = read_grad(p)
            parts.append(np.zeros(p.size) if g is None else np.ascontiguousarray(g.numpy()).ravel())
        return np.concatenate(parts, dtype=np.float64)

    def _write(self, flat: Vector) -> None:
        start = 0
        for p in self._params():
            _C.copy_(p, flat[start : start + p.size].reshape(p.shape))
            start += p.size

    def _params(self) -> list[Tensor]:
        return self.param_groups[0].params

    # ---- the algorithm ---------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make up to ``max_iter`` iterations; return the loss before them."""
        if closure is None:
            raise TypeError("LBFGS: step: argument 'closure': expected a function that returns the loss, got none")
        first = closure()
        evaluate = self._evaluation(closure)
        loss, gradient, evaluations = float(first), self._flat_gradient(), 1
        for iteration in range(self.max_iter):
            if not np.abs(gradient).max() > self.tolerance_grad:
                break
            direction = self._next_direction(gradient)
            slope = float(gradient @ direction)
            if not slope < -self.tolerance_change:
                break
            length = self._first_length(gradient)
            start = self._flat()
            before = loss
            if self.line_search_fn is None:
                loss, gradient, used = self._plain_step(evaluate, start, length, loss, gradient, iteration)
            else:
                loss, gradient, length, used = strong_wolfe(
                    evaluate, start, length, direction, loss, gradient, slope, self.tolerance_change
                )
                self._write(start + length * direction)
            self._length = length
            evaluations += used
            if evaluations >= self.max_eval or np.abs(length * direction).max() <= self.tolerance_change:
                break
            if abs(loss - before) < self.tolerance_change:
                break
        return first

    def _plain_step(
        self,
        evaluate: Any,
        start: Vector,
        length: float,
        loss: float,
        gradient: Vector,
        iteration: int,
    ) -> tuple[float, Vector, int]:
        """Make a step of fixed length; the last of a call is not evaluated again."""
        assert self._direction is not None
        self._write(start + length * self._direction)
        if iteration == self.max_iter - 1:
            return loss, gradient, 0
        loss, gradient = evaluate(self._flat())
        return loss, gradient, 1

    def _evaluation(self, closure: Callable[[], Any]) -> Callable[[Vector], tuple[float, Vector]]:
        def evaluate(flat: Vector) -> tuple[float, Vector]:
            self._write(flat)
            return float(closure()), self._flat_gradient()

        return evaluate

    def _first_length(self, gradient: Vector) -> float:
        lr = self.lr
        return min(1.0, 1.0 / float(np.abs(gradient).sum())) * lr if self._iterations == 1 else lr

    def _next_direction(self, gradient: Vector) -> Vector:
        """Take the last step into the history; then the two-loop recursion."""
        if self._direction is not None and self._gradient is not None:
            change, step = gradient - self._gradient, self._direction * self._length
            if float(change @ step) > 1e-10:
                self._changes.append(change)
                self._steps.append(step)
                if len(self._steps) > self.history_size:
                    self._changes.pop(0)
                    self._steps.pop(0)
        self._direction = self._two_loops(gradient)
        self._gradient = gradient.copy()
        self._iterations += 1
        return self._direction

    def _two_loops(self, gradient: Vector) -> Vector:
        q = -gradient
        alphas = []
        for s, y in zip(reversed(self._steps), reversed(self._changes), strict=True):
            alphas.append(float(s @ q) / float(y @ s))
            q = q - alphas[-1] * y
        if self._steps:
            s, y = self._steps[-1], self._changes[-1]
            q = q * (float(y @ s) / float(y @ y))
        for s, y, alpha in zip(self._steps, self._changes, reversed(alphas), strict=True):
            q = q + s * (alpha - float(y @ q) / float(y @ s))
        return q

    # ---- state -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of hyper-parameters and history."""
        state = super().state_dict()
        state["history"] = {
            "iterations": self._iterations,
            "length": self._length,
            "steps": [s.copy() for s in self._steps],
            "changes": [y.copy() for y in self._changes],
            "direction": None if self._direction is None else self._direction.copy(),
            "gradient": None if self._gradient is None else self._gradient.copy(),
        }
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        super().load_state_dict(state)
        history = state["history"]
        self._iterations, self._length = int(history["iterations"]), float(history["length"])
        self._steps = [np.array(s) for s in history["steps"]]
        self._changes = [np.array(y) for y in history["changes"]]
        self._direction = None if history["direction"] is None else np.array(history["direction"])
        self._gradient = None if history["gradient"] is None else np.array(history["gradient"])

    def update(self, group: Group, grads: list[Tensor | None]) -> None:
        """Not used: ``step`` works on all parameters at once."""
        raise NotImplementedError
