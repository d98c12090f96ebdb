"""Lion: steps of one size."""

from __future__ import annotations

from mlext import _C
from mlext.optim.group import Group
from mlext.optim.optimizer import Gradients, Optimizer, Parameters
from mlext.tensor import Tensor, zeros_like


class Lion(Optimizer):
    """Steps of one size: the sign of an average of the gradient.

        p = (1 - lr weight_decay) p - lr sign(beta1 m + (1 - beta1) g)
        m = beta2 m + (1 - beta2) g

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        What to train; dicts are groups with hyper-parameters of their own.
    lr : float
        Learning rate; 3 to 10 times smaller than Adam's.
    betas : tuple of two floats
        Of the formula.
    weight_decay : float
        Decoupled.

    Examples
    --------
    >>> import mlext as ml
    >>> w = ml.nn.Parameter(ml.tensor([1.0]))
    >>> opt = ml.optim.Lion([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> opt.step()
    >>> w.item()
    0.75

    References
    ----------
    Chen et al. 2023, "Symbolic discovery of optimization algorithms".
    """

    HYPER = ("lr", "beta1", "beta2", "weight_decay")

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    def init_state(self, p: Tensor, group: Group) -> dict[str, Tensor | None]:
        """Return the average."""
        return {"m": zeros_like(p)}

    def update(self, group: Group, grads: Gradients) -> None:
        """Make one step."""
        _C.lion_(group.params, grads, group.state["m"], group.hyper, group.step, self._found)
