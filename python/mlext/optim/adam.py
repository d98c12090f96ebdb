"""Adam and its relatives: steps scaled by running averages of the gradient and its square."""

from __future__ import annotations

from typing import Any

from mlext import _C, dtypes
from mlext.optim.group import Group
from mlext.optim.optimizer import Gradients, Optimizer, Parameters
from mlext.tensor import Tensor, full, zeros_like

Betas = tuple[float, float]


class Adam(Optimizer):
    """Adam, with bias correction.

        g = g + weight_decay p
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        p = p - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        What to train; dicts are groups with hyper-parameters of their own.
    lr : float
        Learning rate.
    betas : tuple of two floats
        Decay rates of the averages, in [0, 1).
    eps : float
        Keeps the division from 0.
    weight_decay : float
        L2 penalty.
    amsgrad : bool
        Use the largest v so far.

    Raises
    ------
    ValueError
        If a hyper-parameter is out of its range.

    Examples
    --------
    >>> import mlext as ml
    >>> w = ml.nn.Parameter(ml.tensor([1.0]))
    >>> opt = ml.optim.Adam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> opt.step()
    >>> round(w.item(), 4)
    0.5

    References
    ----------
    Kingma & Ba 2015, "Adam: a method for stochastic optimization"; Reddi et al. 2018, "On the
    convergence of Adam and beyond" (AMSGrad).
    """

    HYPER = ("lr", "beta1", "beta2", "eps", "weight_decay")
    _kernel = staticmethod(_C.adam_)

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        self.amsgrad = amsgrad
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def init_state(self, p: Tensor, group: Group) -> dict[str, Tensor | None]:
        """Return the averages."""
        return {
            "m": zeros_like(p),
            "v": zeros_like(p),
            "vmax": zeros_like(p) if self.amsgrad else None,
        }

    def update(self, group: Group, grads: Gradients) -> None:
        """Make one step."""
        s = group.state
        self._kernel(group.params, grads, s["m"], s["v"], s["vmax"], group.hyper, group.step, self._found)


class AdamW(Adam):
    """Adam with decoupled weight decay: ``p = (1 - lr weight_decay) p`` instead of an L2 penalty.

    Parameters are those of :class:`Adam`; ``weight_decay`` is 0.01 unless given.

    Examples
    --------
    >>> import mlext as ml
    >>> model = ml.nn.Linear(3, 1)
    >>> opt = ml.optim.AdamW(model.parameters(), lr=3e-4)

    References
    ----------
    Loshchilov & Hutter 2019, "Decoupled weight decay regularization".
    """

    _kernel = staticmethod(_C.adamw_)

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)


class _TwoAverages(Optimizer):
    """An algorithm with betas, eps, coupled weight decay, and two states."""

    HYPER = ("lr", "beta1", "beta2", "eps", "weight_decay")
    _states = ("m", "v")
    _kernel: Any

    def init_state(self, p: Tensor, group: Group) -> dict[str, Tensor | None]:
        """Return the averages."""
        return {name: zeros_like(p) for name in self._states}

    def update(self, group: Group, grads: Gradients) -> None:
        """Make one step."""
        first, second = group.state.values()
        self._kernel(group.params, grads, first, second, group.hyper, group.step, self._found)


class Adamax(_TwoAverages):
    """Adam with the maximum norm.

        m = beta1 m + (1 - beta1) g
        u = max(beta2 u, |g| + eps)
        p = p - lr / (1 - beta1^t) m / u

    Parameters are those of :class:`Adam`, without ``amsgrad``.

    Examples
    --------
    >>> import mlext as ml
    >>> opt = ml.optim.Adamax(ml.nn.Linear(3, 1).parameters())

    References
    ----------
    Kingma & Ba 2015, "Adam: a method for stochastic optimization", section 7.1.
    """

    _states = ("m", "u")
    _kernel = staticmethod(_C.adamax_)

    def __init__(
        self,
        params: Parameters,
        lr: float = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})


class RAdam(_TwoAverages):
    """Adam that waits with its scaling until the variance is known: rectified Adam.

    Parameters are those of :class:`Adam`, without ``amsgrad``.

    Examples
    --------
    >>> import mlext as ml
    >>> opt = ml.optim.RAdam(ml.nn.Linear(3, 1).parameters())

    References
    ----------
    Liu et al. 2020, "On the variance of the adaptive learning rate and beyond".
    """

    _kernel = staticmethod(_C.radam_)

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})


class Nadam(Optimizer):
    """Adam with Nesterov momentum.

        mu_t = beta1 (1 - 0.5 * 0.96^(t momentum_decay))
        p = p - lr (mu_{t+1} m / (1 - prod_{i<=t+1} mu_i) + (1 - mu_t) g / (1 - prod_{i<=t} mu_i))
              / (sqrt(v / (1 - beta2^t)) + eps)

    Parameters are those of :class:`Adam`, without ``amsgrad``; ``momentum_decay`` is how fast mu
    nears beta1.

    Examples
    --------
    >>> import mlext as ml
    >>> opt = ml.optim.Nadam(ml.nn.Linear(3, 1).parameters())

    References
    ----------
    Dozat 2016, "Incorporating Nesterov momentum into Adam".
    """

    HYPER = ("lr", "beta1", "beta2", "eps", "weight_decay", "momentum_decay")

    def __init__(
        self,
        params: Parameters,
        lr: float = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
        }
        super().__init__(params, defaults)

    def init_state(self, p: Tensor, group: Group) -> dict[str, Tensor | None]:
        """Return the averages."""
        return {"m": zeros_like(p), "v": zeros_like(p)}

    def _make_state(self, group: Group) -> None:
        super()._make_state(group)
        # The product of all mu so far, one for the group.
        group.state["product"] = [full(1, 1.0, dtypes.float64)]

    def update(self, group: Group, grads: Gradients) -> None:
        """Make one step."""
        s = group.state
        _C.nadam_(
            group.params,
            grads,
            s["m"],
            s["v"],
            s["product"][0],
            group.hyper,
            group.step,
            self._found,
        )
