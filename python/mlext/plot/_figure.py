"""Where pictures begin and end."""

from __future__ import annotations

import os
from typing import Any

from mlext.io import atomic_write

Path = str | os.PathLike[str]


def new_figure(op: str, width: float, height: float) -> Any:
    """Return an empty figure; ImportError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"{op} needs matplotlib: pip install mlext[plot]") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def finish(figure: Any, path: Path | None) -> Any:
    """Write the figure, if there is a path, and return it."""
    if path is not None:
        kind = os.path.splitext(path)[1].lstrip(".") or "png"
        with atomic_write(path) as file:
            figure.savefig(file, format=kind, dpi=120)
    return figure
