"""The table of ``Module.summary``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlext.tensor import Parameter

if TYPE_CHECKING:
    from mlext.nn.module import Module


def table(module: Module, input_shape: tuple[int, ...] | None) -> str:
    """One row per module: name, type, output shape, own parameters; then the totals."""
    shapes = {} if input_shape is None else _output_shapes(module, input_shape)
    header = ["name", "type", "output shape", "parameters"]
    rows = []
    for name, inner in module.named_modules():
        own = sum([v.size for v in vars(inner).values() if isinstance(v, Parameter)])
        kind = type(inner).__name__
        rows.append([name or "(model)", kind, shapes.get(id(inner), ""), f"{own:,}" if own else ""])
    if input_shape is None:
        header.pop(2)
        for row in rows:
            row.pop(2)
    total, trainable = module.num_parameters(), module.num_parameters(trainable_only=True)
    lines = _aligned(header, rows)
    lines.append(f"{total:,} parameters, {trainable:,} trainable")
    return "\n".join(lines)


def _aligned(header: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))

    def line(cells: list[str]) -> str:
        left = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        return "  ".join([*left[:-1], cells[-1].rjust(widths[-1])]).rstrip()

    return [line(header), rule, *[line(row) for row in rows], rule]


def _output_shapes(module: Module, input_shape: tuple[int, ...]) -> dict[int, str]:
    """Run zeros through the module and write down what comes out of each part."""
    shapes: dict[int, str] = {}

    def note(inner: Module, inputs: tuple[Any, ...], out: Any) -> None:
        shapes[id(inner)] = _describe(out)

    removers = [inner.register_forward_hook(note) for inner in module.modules()]
    indices = any(inner.takes_indices for inner in module.modules())
    try:
        with module.evaluating():
            module(np.zeros(input_shape, np.int64 if indices else np.float32))
    finally:
        for remove in removers:
            remove()
    return shapes


def _describe(out: Any) -> str:
    if isinstance(out, (tuple, list)):
        return ", ".join([_describe(part) for part in out])
    return str(tuple(getattr(out, "shape", ())))
