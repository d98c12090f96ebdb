"""How models that write choose what comes next."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlext.functional.sampling import check_sampling, sample
from mlext.random import Rng, resolve


class Drawing:
    """Checked options of ``generate``; called with scores (N, V) it draws an index of each row."""

    def __init__(
        self, what: str, steps: Any, temperature: float, top_k: int | None, top_p: float | None, rng: Rng
    ) -> None:
        if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 0:
            raise ValueError(f"generate: argument '{what}': expected 0 or more, got {steps!r}")
        check_sampling("generate", temperature, top_k, top_p)
        self.steps = int(steps)
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p
        self.rng = resolve(rng)

    def __call__(self, scores: Any) -> NDArray[np.int64]:
        """Draw."""
        options: dict[str, Any] = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        return np.asarray(sample(scores, rng=self.rng, **options))
