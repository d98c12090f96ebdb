"""What a trainer is told: how steps are made, and the names of losses and metrics."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from typing import Any, TypeAlias

from mlext import losses, metrics

__all__ = ["Loss", "Options", "find_loss", "find_metric"]

Loss: TypeAlias = "str | Callable[..., Any]"
_WITH_LOGITS = "binary_cross_entropy_with_logits"


class Options:
    """How steps are made; the keyword arguments of :class:`mlext.training.Trainer`, checked."""

    def __init__(
        self,
        gradient_accumulation: int = 1,
        mixed_precision: str | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        compile: str | bool = "auto",
        steps_per_execution: int = 1,
    ) -> None:
        for name, value in (
            ("gradient_accumulation", gradient_accumulation),
            ("steps_per_execution", steps_per_execution),
        ):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"Trainer: argument '{name}': expected an int, got {value!r}")
            if value < 1:
                raise ValueError(f"Trainer: argument '{name}': expected at least 1, got {value}")
        if mixed_precision not in (None, "bfloat16", "float16"):
            raise ValueError(
                f"Trainer: argument 'mixed_precision': expected None, 'bfloat16' or 'float16', got {mixed_precision!r}"
            )
        if compile not in ("auto", True, False):
            raise ValueError(f"Trainer: argument 'compile': expected 'auto', True or False, got {compile!r}")
        if steps_per_execution > 1 and (gradient_accumulation > 1 or mixed_precision == "float16"):
            raise ValueError(
                "Trainer: argument 'steps_per_execution': expected 1 with gradient_accumulation or float16, got "
                f"{steps_per_execution}"
            )
        self.accumulation = gradient_accumulation
        self.mixed = mixed_precision
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.l1, self.l2 = l1, l2
        self.compile = compile
        self.group = steps_per_execution


def find_loss(loss: Loss) -> Callable[..., Any]:
    """Return the function of a name, or the function itself."""
    if not isinstance(loss, str):
        if not callable(loss):
            raise TypeError(f"Trainer: argument 'loss': expected a name or a function, got {type(loss).__name__}")
        return loss
    if loss == _WITH_LOGITS:
        return functools.partial(losses.binary_cross_entropy, with_logits=True)
    if loss not in losses.__all__:
        known = [*losses.__all__, _WITH_LOGITS]
        raise ValueError(
            f"Trainer: argument 'loss': unknown loss {loss!r}{_hint(loss, known)}; known are {', '.join(known)}"
        )
    return getattr(losses, loss)  # type: ignore[no-any-return]


def find_metric(metric: Any, loss: Loss) -> Any:
    """Return a metric object; accuracy of a binary cross-entropy gets that loss's threshold."""
    if metric == "accuracy" and isinstance(loss, str) and loss.startswith("binary_cross_entropy"):
        return metrics.Accuracy(threshold=0.0 if loss == _WITH_LOGITS else 0.5)
    try:
        return metrics.get(metric)
    except ValueError as error:
        known = str(error).partition("known are ")[2].split(", ")
        raise ValueError(f"Trainer: argument 'metrics': {error}{_hint(metric, known)}") from None


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f", did you mean {close[0]!r}?" if close else ""
