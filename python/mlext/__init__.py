"""Deep learning in one small wheel: NumPy in, NumPy out, hand-written kernels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mlext import _C as _C
from mlext import functional
from mlext._C import __version__
from mlext.autograd import no_grad
from mlext.dtypes import bfloat16, bool_, float16, float32, float64, int8, int32, int64, uint8
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

if TYPE_CHECKING:
    from mlext import config, cuda, data, datasets, init, io, losses, metrics, nn, optim, plot, random, training
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
    from mlext.convolution_plan import explain_conv
    from mlext.explaining import explain_gemm
    from mlext.fusion import fuse
    from mlext.io import load, save
    from mlext.profiling import nan_check, profile
    from mlext.quantization import quantize
    from mlext.random import manual_seed
    from mlext.transforms import differentiable, grad, value_and_grad

# Loaded at first use, so that `import mlext` stays within 15 ms of NumPy's own: modules, and names by module.
_MODULES = "config cuda data datasets init io losses metrics models nn optim plot random training"
_NAMES = {
    "compiling": "compile",
    "config": "empty_cache get_isa get_num_threads memory_stats set_isa set_num_threads show_config",
    "convolution_plan": "explain_conv",
    "explaining": "explain_gemm",
    "fusion": "fuse",
    "io": "load save",
    "profiling": "nan_check profile",
    "quantization": "quantize",
    "random": "manual_seed",
    "transforms": "differentiable grad value_and_grad",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "fuse",
    "Parameter",
    "Tensor",
    "__version__",
    "bfloat16",
    "bool_",
    "compile",
    "config",
    "cuda",
    "data",
    "datasets",
    "differentiable",
    "empty_cache",
    "explain_conv",
    "explain_gemm",
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
    "int8",
    "int32",
    "int64",
    "io",
    "load",
    "losses",
    "manual_seed",
    "memory_stats",
    "metrics",
    "models",
    "nan_check",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "optim",
    "plot",
    "profile",
    "quantize",
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
    if name in _HOME:
        value: Any = getattr(importlib.import_module(f"mlext.{_HOME[name]}"), name)
    elif name in _MODULES.split():
        value = importlib.import_module(f"mlext.{name}")
    else:
        raise AttributeError(f"module 'mlext' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
