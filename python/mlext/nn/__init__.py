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
from mlext.nn.attention import AdditiveAttention, DotProductAttention
from mlext.nn.basic import Dropout, Dropout2d, Flatten, Identity, Lambda, Permute, Upsample
from mlext.nn.cache import KeyValueCache
from mlext.nn.container import ModuleDict, ModuleList, Sequential
from mlext.nn.conv import Conv1d, Conv2d, ConvTranspose2d
from mlext.nn.embedding import Embedding
from mlext.nn.gated import GatedMLP
from mlext.nn.layer_norm import LayerNorm, RMSNorm
from mlext.nn.linear import Bilinear, Linear
from mlext.nn.module import Module
from mlext.nn.multihead import MultiHeadAttention
from mlext.nn.normalization import BatchNorm, GroupNorm, InstanceNorm
from mlext.nn.pooling import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool1d,
    AvgPool2d,
    GlobalAvgPool2d,
    GlobalMaxPool2d,
    MaxPool1d,
    MaxPool2d,
)
from mlext.nn.position import LearnedPosition, RotaryPosition, SinusoidalPosition
from mlext.nn.quantized import QuantizedLinear, WeightOnlyLinear
from mlext.nn.quantized_conv import QuantizedConv1d, QuantizedConv2d
from mlext.nn.quantized_recurrent import WeightOnlyGRU, WeightOnlyLSTM, WeightOnlyRNN
from mlext.nn.recurrent import GRU, LSTM, RNN
from mlext.nn.recurrent_cell import GRUCell, LSTMCell, RNNCell
from mlext.nn.residual import Residual, Skip
from mlext.nn.separable import DepthwiseConv2d, SeparableConv2d
from mlext.nn.sequence import Bidirectional, LastStep, TimeDistributed
from mlext.nn.transformer import TransformerDecoderLayer, TransformerEncoderLayer
from mlext.nn.transformer_stack import TransformerDecoder, TransformerEncoder
from mlext.tensor import Parameter

__all__ = [
    "Activation",
    "AdditiveAttention",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm",
    "Bidirectional",
    "Bilinear",
    "CELU",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "DepthwiseConv2d",
    "DotProductAttention",
    "Dropout",
    "Dropout2d",
    "ELU",
    "Embedding",
    "Flatten",
    "GELU",
    "GRU",
    "GRUCell",
    "GatedMLP",
    "GlobalAvgPool2d",
    "GlobalMaxPool2d",
    "GroupNorm",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "InstanceNorm",
    "KeyValueCache",
    "LSTM",
    "LSTMCell",
    "Lambda",
    "LastStep",
    "LayerNorm",
    "LeakyReLU",
    "LearnedPosition",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "MaxPool1d",
    "MaxPool2d",
    "Mish",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiHeadAttention",
    "PReLU",
    "Permute",
    "Parameter",
    "QuantizedConv1d",
    "QuantizedConv2d",
    "QuantizedLinear",
    "RMSNorm",
    "RNN",
    "RNNCell",
    "ReLU",
    "ReLU6",
    "Residual",
    "RotaryPosition",
    "SELU",
    "SeparableConv2d",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinusoidalPosition",
    "Skip",
    "Softmax",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "TimeDistributed",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "Upsample",
    "WeightOnlyGRU",
    "WeightOnlyLSTM",
    "WeightOnlyLinear",
    "WeightOnlyRNN",
]
