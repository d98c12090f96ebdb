"""Which rows a family has: those of its tables in bench/shapes, and what they are called."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attending
import convolution
import recurrence
import transformer_ops

HERE = Path(__file__).resolve().parent
FAMILIES = {
    "gemm": ["squares.json", "gemm.json"],
    "elementwise": ["elementwise.json"],
    "reduce": ["reduce.json"],
    "softmax": ["softmax.json"],
    "norm": ["norm.json"],
    "update": ["update.json"],
    "overhead": ["overhead.json"],
    "dense": ["dense.json"],
    "linear": ["linear.json"],
    "bytes": ["bytes.json"],
    "conv": ["cnn_layers.json", "conv.json"],
    "cnn": ["cnn.json"],
    "rnn": ["recurrent.json", "rnn.json", "rnn_models.json"],
    "attention": ["attention.json"],
    "transformer": ["transformer.json", "transformer_models.json"],
    "import": [],
}
MAX_GFLOP = 20.0  # longer rows of bench/shapes/gemm.json are left out: seconds per call


def rows_of(family: str, options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, row) of every row that the options ask for, each name once."""
    seen = set()
    for file in FAMILIES[family]:
        path = HERE / "shapes" / file
        table = json.loads(path.read_text())["rows"] if path.exists() else []
        for row in (each for found in table for each in expand(file, found)):
            row = {"op": "matmul", **row} if family == "gemm" else row
            wanted = row.get("readme") if options.readme else row.get("quick") or not options.quick
            name = row_name(row)
            wanted = wanted and options.only in name
            if wanted and name not in seen and row.get("gflop", 0) <= MAX_GFLOP:
                seen.add(name)
                yield name, row


def expand(file: str, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows to be timed that a row of a shape table stands for."""
    module = next((each for each in (attending, recurrence) if file in each.FILES), convolution)
    return module.expand(file, row)


def row_name(row: dict[str, Any]) -> str:
    op = row["op"]
    for module in (attending, convolution, recurrence, transformer_ops):
        if op in module.OPS:
            return module.name(row)
    if op.startswith("matmul"):
        marks = [m for m, on in (("W^T", row.get("trans_a")), ("x^T", row.get("trans_b"))) if on]
        marks += ["Tensors"] if row.get("tensors") else []
        marks += [row["dtype"]] if "dtype" in row else []
        return " ".join([f"{op} {row['n']}x{row['k']} @ {row['k']}x{row['m']}", *marks])
    if op in ("train", "predict"):
        sizes = row["model"] if "model" in row else "-".join(map(str, row["sizes"]))
        how = [row["optimizer"], "compiled" if row.get("compiled") else "eager"] if op == "train" else []
        return " ".join([f"{op} {sizes} batch {row['batch']}", *how])
    if "tensors" in row:
        return f"{op} {row['tensors']} x {row['size']}"
    shape = "x".join(map(str, row["shape"]))
    extra = f" + {row['other'][0]}" if "other" in row else ""
    return f"{op} {shape}{extra}" + (f" axis {row['axis']}" if "axis" in row else "")
