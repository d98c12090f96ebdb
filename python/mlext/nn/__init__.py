"""Layers: modules that own parameters and call ``mlext.functional``."""

from mlext.nn.activation import (
    CELU,
    ELU,
    GELU,
    SELU,
    Activation,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softshrink,
    Softsign,
    Tanh,
)
from mlext.nn.basic import Dropout, Flatten, Identity, Lambda, Residual
from mlext.nn.container import ModuleDict, ModuleList, Sequential
from mlext.nn.conv import Conv1d, Conv2d, ConvTranspose2d
from mlext.nn.embedding import Embedding
from mlext.nn.linear import Bilinear, Linear
from mlext.nn.module import Module
from mlext.nn.quantized import QuantizedLinear, WeightOnlyLinear
from mlext.tensor import Parameter

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "Bilinear",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "Lambda",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "Module",
    "ModuleDict",
    "ModuleList",
    "PReLU",
    "Parameter",
    "QuantizedLinear",
    "ReLU",
    "ReLU6",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "WeightOnlyLinear",
]
