"""What layers share that apply an activation in their own kernel."""

from __future__ import annotations

from typing import Any

from mlext.nn.module import Module


class Activated(Module):
    """A layer with an activation of its own, which can apply another one's instead."""

    activation: str | None

    def run_with(self, x: Any, activation: str | None) -> Any:
        """Apply the layer and an activation in one kernel; subclasses write this."""
        raise NotImplementedError

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        return self.run_with(x, self.activation)
