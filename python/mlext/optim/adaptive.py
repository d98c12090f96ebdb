"""Steps scaled by the size of past gradients: RMSprop, Adagrad, Adadelta."""

from __future__ import annotations

from mlext import _C
from mlext.optim.group import Group
from mlext.optim.optimizer import Gradients, Optimizer, Parameters
from mlext.tensor import Tensor, zeros_like


class RMSprop(Optimizer):
    """Gradients over the root of their running mean square.

        v = alpha v + (1 - alpha) g^2
        p = p - lr g / (sqrt(v) + eps)

    With ``centered``, v less the square of the running mean of g; with ``momentum``, ``b = momentum
    b + g / (...)`` and ``p = p - lr b``.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        What to train; dicts are groups with hyper-parameters of their own.
    lr : float
        Learning rate.
    alpha : float
        Decay rate of the mean square, in [0, 1).
    eps : float
        Keeps the division from 0.
    weight_decay : float
        L2 penalty.
    momentum : float
        Share of the last step that goes on.
    centered : bool
        Divide by the standard deviation.

    Examples
    --------
    >>> import mlext as ml
    >>> opt = ml.optim.RMSprop(ml.nn.Linear(3, 1).parameters(), lr=1e-3)

    References
    ----------
    Tieleman & Hinton 2012, lecture 6.5; Graves 2013, "Generating sequences with recurrent neural
    networks" (centered).
    """

    HYPER = ("lr", "alpha", "eps", "weight_decay", "momentum")

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        self.centered = centered
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
        }
        super().__init__(params, defaults)

    def init_state(self, p: Tensor, group: Group) -> dict[str, Tensor | None]:
        """Return mean square, running step, mean."""
        return {
            "square": zeros_like(p),
            "momentum": zeros_like(p) if group["momentum"] else None,
            "mean": zeros_like(p) if self.centered else None,
        }

    def update(self, group: Group, grads: Gradients) -> None:
        """Make one step."""
        s = group.state
        _C.rmsprop_(
            group.params,
            grads,
            s["square"],
            s["momentum"],
            s["mean"],
            group.hyper,
            group.step,
            self._found,
        )


class Adagrad(Optimizer):
    """Gradients over the root of the sum of all their squares.

        s = s + g^2
        p = p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        What to train; dicts are groups with hyper-parameters of their own.
    lr : float
        Learning rate.
    lr_decay : float
        How it falls with the steps.
    weight_decay : float
        L2 penalty.
    initial_accumulator_value : float
        Where s starts, 0 or more.
    eps : float
        Keeps the division from 0.

    Examples
    --------
    >>> import mlext as ml
    >>> opt = ml.optim.Adagrad(ml.nn.Linear(3, 1).parameters())

    References
    ----------
    Duchi et al. 2011, "Adaptive subgradient methods for online learning and stochastic
    optimization".
    """

    HYPER = ("lr", "lr_decay", "weight_decay", "eps")

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        if not initial_accumulator_value >= 0:
            raise ValueError(
                f"Adagrad: argument 'initial_accumulator_value': expected 0 or more, got {initial_accumulator_value}"
            )
        self.initial_accumulator_value = initial_accumulator_value
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps})

    def init_state(self, p: Tensor, group: Group) -> dict[str, Tensor | None]:
        """Return the sum of squares."""
        return {"sum": Tensor(_C.full_like(p.detach(), self.initial_accumulator_value))}

    def update(self, group: Group, grads: Gradients) -> None:
        """Make one step."""
        _C.adagrad_(group.params, grads, group.state["sum"], group.hyper, group.step, self._found)


class Adadelta(Optimizer):
    """Gradients in units of past steps: no learning rate to choose.

        v = rho v + (1 - rho) g^2
        d = sqrt(u + eps) / sqrt(v + eps) g
        u = rho u + (1 - rho) d^2
        p = p - lr d

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        What to train; dicts are groups with hyper-parameters of their own.
    lr : float
        Factor of the steps.
    rho : float
        Decay rate of the averages, in [0, 1).
    eps : float
        Where the steps start.
    weight_decay : float
        L2 penalty.

    Examples
    --------
    >>> import mlext as ml
    >>> opt = ml.optim.Adadelta(ml.nn.Linear(3, 1).parameters())

    References
    ----------
    Zeiler 2012, "ADADELTA: an adaptive learning rate method".
    """

    HYPER = ("lr", "rho", "eps", "weight_decay")

    def __init__(
        self,
        params: Parameters,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay})

    def init_state(self, p: Tensor, group: Group) -> dict[str, Tensor | None]:
        """Return mean squares of gradients and steps."""
        return {"square": zeros_like(p), "delta": zeros_like(p)}

    def update(self, group: Group, grads: Gradients) -> None:
        """Make one step."""
        s = group.state
        _C.adadelta_(group.params, grads, s["square"], s["delta"], group.hyper, group.step, self._found)
