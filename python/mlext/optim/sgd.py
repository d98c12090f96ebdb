"""Stochastic gradient descent."""

from __future__ import annotations

from mlext import _C
from mlext.optim.group import Group
from mlext.optim.optimizer import Gradients, Optimizer, Parameters
from mlext.tensor import Tensor, zeros_like


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

        g = g + weight_decay p
        b = momentum b + (1 - dampening) g        (b = g in the first step)
        p = p - lr (b, or with nesterov g + momentum b)

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        What to train; dicts are groups with hyper-parameters of their own.
    lr : float
        Learning rate.
    momentum : float
        Share of the last step that goes on.
    dampening : float
        What is held back of the gradient, with momentum.
    weight_decay : float
        L2 penalty.
    nesterov : bool
        Look ahead; needs momentum and no dampening.

    Raises
    ------
    ValueError
        If a hyper-parameter is out of its range, or ``nesterov`` does not apply.

    Examples
    --------
    >>> import mlext as ml
    >>> w = ml.nn.Parameter(ml.tensor([1.0]))
    >>> opt = ml.optim.SGD([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> opt.step()
    >>> w.item()
    0.0

    References
    ----------
    Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning".
    """

    HYPER = ("lr", "momentum", "dampening", "weight_decay")

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        *,
        nesterov: bool = False,
    ) -> None:
        self.nesterov = nesterov
        super().__init__(
            params,
            {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay},
        )
        for group in self.param_groups:
            if nesterov and not (group["momentum"] > 0 and group["dampening"] == 0):
                raise ValueError(
                    "SGD: argument 'nesterov': expected False unless momentum > 0 and dampening = "
                    "0, got True with "
                    f"momentum={group['momentum']}, dampening={group['dampening']}"
                )

    def init_state(self, p: Tensor, group: Group) -> dict[str, Tensor | None]:
        """Return the running step, with momentum."""
        return {"momentum": zeros_like(p) if group["momentum"] else None}

    def update(self, group: Group, grads: Gradients) -> None:
        """Make one step."""
        _C.sgd_(
            group.params,
            grads,
            group.state["momentum"],
            group.hyper,
            group.step,
            self.nesterov,
            self._found,
        )
