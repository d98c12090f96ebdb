"""Optimizer: what all update rules share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeAlias

import numpy as np

from mlext import _C
from mlext.autograd import read_grad, write_grad
from mlext.optim.group import Group, as_parameters, check_betas, check_number, check_unique
from mlext.tensor import Tensor, tensor, zeros_like

Parameters: TypeAlias = "Iterable[Tensor] | Iterable[dict[str, Any]]"
Gradients: TypeAlias = "list[Tensor | None]"


class Optimizer:
    """Base of the optimizers: owns parameters in groups, and state that starts with them.

    A subclass names its hyper-parameters in ``HYPER``, in the order of the kernel's ``hyper``
    array, says in ``init_state`` what it remembers of a parameter and in ``update`` how a group is
    changed.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        A dict is a group: ``"params"`` and hyper-parameters of its own.
    defaults : dict
        Hyper-parameters of groups that do not give them.

    Raises
    ------
    ValueError
        If there is no parameter, one comes twice, or a hyper-parameter is out of its range.
    """

    HYPER: ClassVar[tuple[str, ...]]

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        self._name = type(self).__name__
        # Set by LossScaler for the length of a step: a flag that makes the kernels do nothing.
        self._found: Tensor | None = None
        self.param_groups: list[Group] = []
        # All groups are checked before any state is made.
        for given in self._as_groups(params):
            self.param_groups.append(self._make_group(given, defaults))
        check_unique(self._name, self.param_groups)
        for group in self.param_groups:
            self._make_state(group)

    def _as_groups(self, params: Any) -> list[dict[str, Any]]:
        if isinstance(params, Tensor) or not hasattr(params, "__iter__"):
            return [{"params": as_parameters(self._name, params)}]
        items = list(params)
        if items and all(isinstance(item, Mapping) for item in items):
            return [dict(item) for item in items]
        return [{"params": items}]

    def _make_group(self, given: dict[str, Any], defaults: dict[str, Any]) -> Group:
        params = as_parameters(self._name, given.pop("params", ()))
        unknown = sorted(set(given) - set(defaults))
        if unknown:
            raise ValueError(
                f"{self._name}: argument 'params': a group has unknown hyper-parameters {unknown}; "
                "expected some of "
                f"{sorted(defaults)}"
            )
        options = {**defaults, **given}
        if "betas" in options:
            options["beta1"], options["beta2"] = check_betas(self._name, options.pop("betas"))
        values = {name: check_number(self._name, name, options[name]) for name in self.HYPER}
        return Group(self._name, params, values)

    def _make_state(self, group: Group) -> None:
        states = [self.init_state(p, group) for p in group.params]
        for name in states[0]:
            # None for all or for none: it depends on the group alone.
            group.state[name] = [t for s in states if (t := s[name]) is not None]

    # ---- what an algorithm writes ----------------------------------------------------------------

    def init_state(self, p: Tensor, group: Group) -> dict[str, Tensor | None]:
        """Return what is remembered of a parameter; None for what this variant does not need."""
        raise NotImplementedError

    def update(self, group: Group, grads: Gradients) -> None:
        """Change the parameters of a group in place; None leaves its parameter alone."""
        raise NotImplementedError

    # ---- what a training loop calls --------------------------------------------------------------

    @property
    def lr(self) -> float:
        """Learning rate of the first group; assigning sets that of all groups."""
        return float(self.param_groups[0]["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        check_number(self._name, "lr", value)
        for group in self.param_groups:
            group["lr"] = value

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Called first; computes the loss and its gradients. Its result is returned.
        """
        loss = None if closure is None else closure()
        for group in self.param_groups:
            self.update(group, [read_grad(p) for p in group.params])
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients: forget them, or with ``set_to_none=False`` make them 0."""
        for group in self.param_groups:
            for p in group.params:
                write_grad(p, None if set_to_none else zeros_like(p))

    # ---- state -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of hyper-parameters, step counts and state, in lists and dicts."""
        return {
            "optimizer": self._name,
            "groups": [
                {
                    "hyper": dict(group.values),
                    "step": group.step.item(),
                    "state": {name: [tensor(t) for t in ts] for name, ts in group.state.items()},
                }
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`, bit for bit.

        Raises
        ------
        ValueError
            If the state is of another optimizer or of other parameters; nothing is changed then.
        """
        problems = self._mismatches(state)
        if problems:
            raise ValueError(f"{self._name}: load_state_dict: nothing was loaded:\n  " + "\n  ".join(problems))
        for group, saved in zip(self.param_groups, state["groups"], strict=True):
            group.values.update(saved["hyper"])
            group._write()
            _C.copy_(group.step, np.array([saved["step"]], np.int64))
            for name, tensors in group.state.items():
                for own, value in zip(tensors, saved["state"][name], strict=True):
                    _C.copy_(own, value)

    def _mismatches(self, state: Mapping[str, Any]) -> list[str]:
        if state.get("optimizer") != self._name:
            return [f"expected the state of {self._name}, got {state.get('optimizer')!r}"]
        saved = state["groups"]
        if len(saved) != len(self.param_groups):
            return [f"expected {len(self.param_groups)} groups, got {len(saved)}"]
        problems = []
        for i, (group, s) in enumerate(zip(self.param_groups, saved, strict=True)):
            if set(s["hyper"]) != set(group.values) or set(s["state"]) != set(group.state):
                problems.append(f"group {i}: expected hyper-parameters and states {self.HYPER} {list(group.state)}")
                continue
            for name, tensors in group.state.items():
                expected = [(t.shape, t.dtype.name) for t in tensors]
                got = [(tuple(t.shape), getattr(t.dtype, "name", str(t.dtype))) for t in s["state"][name]]
                if expected != got:
                    problems.append(f"group {i}: {name}: expected {expected}, got {got}")
        return problems

    def __repr__(self) -> str:
        """Return the groups."""
        return f"{self._name}({', '.join(map(repr, self.param_groups))})"
