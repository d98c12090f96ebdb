"""The contestants. Each module NAME_peer.py has

setup(threads)   called once, in a fresh process
build(op)        a function from an op's inputs to a call to be timed, or to (call, read) where
                 read(call()) gives the result; None for an op it does not have; of training
                 also, if not 3, the number of losses that are checked

A contestant whose package is not installed is left out with a line.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

NAMES = (
    "mlext",
    "numpy",
    "torch",
    "torch_channels_last",
    "torch_compile",
    "jax",
    "keras",
    "onnxruntime",
    "blis",
    "sklearn",
)
# Packages that a contestant needs besides the one of its name.
NEEDS = {
    "torch_channels_last": ("torch",),
    "torch_compile": ("torch",),
    "keras": ("keras", "jax"),
    "onnxruntime": ("onnxruntime", "onnx"),
}


def load(name: str) -> ModuleType:
    return importlib.import_module(f"peers.{name}_peer")


def missing(name: str) -> list[str]:
    """The packages that contestant `name` needs and that are not installed."""
    return [package for package in NEEDS.get(name, (name,)) if importlib.util.find_spec(package) is None]


# Contestants on top of a BLAS, and how that is told to use AVX-512 where it chooses AVX2 by itself.
FORCED = {
    "numpy": {"OPENBLAS_CORETYPE": "SkylakeX"},
    "torch": {"MKL_ENABLE_INSTRUCTIONS": "AVX512"},
}
