"""Deep learning in one small wheel: NumPy in, NumPy out, hand-written kernels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mlext import _C as _C
from mlext import cuda, functional, init, losses, metrics, nn, optim, random
from mlext._C import __version__
from mlext.autograd import no_grad
from mlext.compiling import compile
from mlext.config import (
    empty_cache,
    get_isa,
    get_num_threads,
    memory_stats,
    set_isa,
    set_num_threads,
    show_config,
)
from mlext.dtypes import bfloat16, bool_, float16, float32, float64, int8, int32, int64, uint8
from mlext.profiling import nan_check, profile
from mlext.random import manual_seed
from mlext.tensor import (
    Parameter,
    Tensor,
    from_dlpack,
    from_numpy,
    full,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from mlext.transforms import differentiable, grad, value_and_grad

if TYPE_CHECKING:
    from mlext import data, datasets, io, training
    from mlext.io import load, save

# Loaded at first use: `import mlext` stays within 15 ms of NumPy's own import.
_LAZY = {"data", "datasets", "io", "training", "plot"}
_LAZY_NAMES = {"save": "io", "load": "io"}

__all__ = [
    "Parameter",
    "Tensor",
    "__version__",
    "bfloat16",
    "bool_",
    "compile",
    "cuda",
    "data",
    "datasets",
    "differentiable",
    "empty_cache",
    "float16",
    "float32",
    "float64",
    "from_dlpack",
    "from_numpy",
    "full",
    "functional",
    "get_isa",
    "get_num_threads",
    "grad",
    "init",
    "int32",
    "int64",
    "int8",
    "io",
    "load",
    "losses",
    "manual_seed",
    "memory_stats",
    "metrics",
    "nan_check",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "optim",
    "plot",
    "profile",
    "random",
    "save",
    "set_isa",
    "set_num_threads",
    "show_config",
    "tensor",
    "training",
    "uint8",
    "value_and_grad",
    "zeros",
    "zeros_like",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"mlext.{name}")
    if name in _LAZY_NAMES:
        return getattr(importlib.import_module(f"mlext.{_LAZY_NAMES[name]}"), name)
    raise AttributeError(f"module 'mlext' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | _LAZY | set(_LAZY_NAMES))
