"""Layers: (name, how to make one in a dtype, input shapes)."""

import mlext as ml
from mlext import nn

# Activations whose arguments have defaults: name, and arguments other than the default.
ACTIVATIONS = [
    ("ReLU", {}),
    ("ReLU6", {}),
    ("LeakyReLU", {"negative_slope": 0.2}),
    ("ELU", {"alpha": 1.5}),
    ("CELU", {"alpha": 0.7}),
    ("SELU", {}),
    ("GELU", {"approximate": "tanh"}),
    ("SiLU", {}),
    ("Mish", {}),
    ("Sigmoid", {}),
    ("LogSigmoid", {}),
    ("Hardsigmoid", {}),
    ("Hardswish", {}),
    ("Tanh", {}),
    ("Hardtanh", {"min_val": -0.5, "max_val": 0.75}),
    ("Softplus", {"beta": 2.0}),
    ("Softsign", {}),
    ("Softshrink", {"lambd": 0.3}),
    ("Softmax", {"dim": 0}),
    ("LogSoftmax", {"dim": 0}),
]

LAYERS = [
    ("Linear", lambda dtype: nn.Linear(5, 3, dtype=dtype, rng=1), [(4, 5)]),
    ("Linear, one row", lambda dtype: nn.Linear(5, 3, dtype=dtype, rng=1), [(5,)]),
    ("Linear, three axes", lambda dtype: nn.Linear(5, 3, dtype=dtype, rng=1), [(2, 4, 5)]),
    ("Linear, no bias", lambda dtype: nn.Linear(5, 3, bias=False, dtype=dtype, rng=1), [(4, 5)]),
    *[
        (
            f"Linear, {name}",
            lambda dtype, n=name: nn.Linear(5, 3, activation=n, dtype=dtype, rng=1),
            [(4, 5)],
        )
        for name in ("relu", "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu")
    ],
    ("Bilinear", lambda dtype: nn.Bilinear(3, 4, 2, dtype=dtype, rng=1), [(6, 3), (6, 4)]),
    ("Conv2d", lambda dtype: nn.Conv2d(3, 4, (3, 2), 2, 1, dtype=dtype, rng=1), [(2, 5, 6, 3)]),
    (
        "Conv2d, groups",
        lambda dtype: nn.Conv2d(4, 6, 3, padding="same", groups=2, bias=False, activation="relu", dtype=dtype, rng=1),
        [(2, 5, 6, 4)],
    ),
    ("Conv1d", lambda dtype: nn.Conv1d(3, 4, 3, 2, 1, dilation=2, dtype=dtype, rng=1), [(2, 9, 3)]),
    ("ConvTranspose2d", lambda dtype: nn.ConvTranspose2d(3, 4, 3, 2, 1, 1, dtype=dtype, rng=1), [(2, 4, 3, 3)]),
    ("MaxPool2d", lambda dtype: nn.MaxPool2d(3, 2, 1), [(2, 5, 6, 3)]),
    ("MaxPool1d", lambda dtype: nn.MaxPool1d(2), [(2, 7, 3)]),
    ("AvgPool2d", lambda dtype: nn.AvgPool2d((2, 3), 2, (1, 0), ceil_mode=True), [(2, 5, 6, 3)]),
    ("AvgPool1d", lambda dtype: nn.AvgPool1d(2, 1, 1), [(2, 7, 3)]),
    ("AdaptiveAvgPool2d", lambda dtype: nn.AdaptiveAvgPool2d((3, 2)), [(2, 5, 6, 3)]),
    ("AdaptiveMaxPool2d", lambda dtype: nn.AdaptiveMaxPool2d(2), [(2, 5, 6, 3)]),
    ("GlobalAvgPool2d", lambda dtype: nn.GlobalAvgPool2d(), [(2, 5, 6, 3)]),
    ("GlobalMaxPool2d", lambda dtype: nn.GlobalMaxPool2d(), [(2, 5, 6, 3)]),
    ("DepthwiseConv2d", lambda dtype: nn.DepthwiseConv2d(3, 3, 2, padding=1, dtype=dtype, rng=1), [(2, 5, 6, 3)]),
    (
        "SeparableConv2d",
        lambda dtype: nn.SeparableConv2d(3, 4, (2, 3), stride=2, activation="relu", dtype=dtype, rng=1),
        [(2, 5, 6, 3)],
    ),
    ("Upsample", lambda dtype: nn.Upsample(scale_factor=(2, 1.5)), [(2, 3, 4, 2)]),
    ("Upsample, bilinear", lambda dtype: nn.Upsample((5, 3), mode="bilinear", align_corners=True), [(2, 3, 4, 2)]),
    ("Dropout2d, evaluation", lambda dtype: nn.Dropout2d(0.5).eval(), [(2, 3, 4, 2)]),
    ("BatchNorm", lambda dtype: nn.BatchNorm(3, dtype=dtype), [(4, 2, 3)]),
    ("BatchNorm, of the batch", lambda dtype: nn.BatchNorm(3, 1e-3, 0.5, False, False, activation="relu"), [(4, 3)]),
    ("GroupNorm", lambda dtype: nn.GroupNorm(2, 6, dtype=dtype), [(2, 5, 6)]),
    ("InstanceNorm", lambda dtype: nn.InstanceNorm(3, affine=True, dtype=dtype), [(2, 5, 4, 3)]),
    ("LayerNorm", lambda dtype: nn.LayerNorm((4, 3), dtype=dtype), [(5, 4, 3)]),
    ("LayerNorm, no bias", lambda dtype: nn.LayerNorm(3, bias=False, dtype=dtype), [(5, 3)]),
    ("RMSNorm", lambda dtype: nn.RMSNorm(3, 1e-6, dtype=dtype), [(5, 3)]),
    ("PReLU", lambda dtype: nn.PReLU(dtype=dtype), [(4, 5)]),
    ("PReLU, per channel", lambda dtype: nn.PReLU(5, 0.1, dtype=dtype), [(4, 5)]),
    ("Flatten", lambda dtype: nn.Flatten(), [(2, 3, 4)]),
    ("Permute", lambda dtype: nn.Permute((0, 2, 1)), [(2, 3, 4)]),
    ("Identity", lambda dtype: nn.Identity(), [(2, 3)]),
    ("Lambda", lambda dtype: nn.Lambda(lambda x: x * x), [(2, 3)]),
    (
        "Residual, shortcut",
        lambda dtype: nn.Residual(
            nn.Sequential(nn.Linear(5, 3, dtype=dtype, rng=1)), nn.Linear(5, 3, dtype=dtype, rng=2), activation="silu"
        ),
        [(4, 5)],
    ),
    ("LastStep", lambda dtype: nn.LastStep(), [(2, 5, 3)]),
    ("TimeDistributed", lambda dtype: nn.TimeDistributed(nn.Linear(3, 2, dtype=dtype, rng=1)), [(2, 5, 3)]),
    (
        "MultiHeadAttention",
        lambda dtype: nn.MultiHeadAttention(6, 3, rotary=nn.RotaryPosition(2), alibi=True, dtype=dtype, rng=1),
        [(2, 5, 6)],
    ),
    (
        "MultiHeadAttention, of keys and values",
        lambda dtype: nn.MultiHeadAttention(6, 2, num_kv_heads=1, key_size=4, value_size=5, dtype=dtype, rng=1),
        [(2, 5, 6), (2, 3, 4), (2, 3, 5)],
    ),
    ("SinusoidalPosition", lambda dtype: nn.SinusoidalPosition(5), [(2, 4, 5)]),
    ("LearnedPosition", lambda dtype: nn.LearnedPosition(7, 5, dtype=dtype, rng=1), [(2, 4, 5)]),
    ("RotaryPosition", lambda dtype: nn.RotaryPosition(6, interleaved=True), [(2, 4, 3, 6)]),
    ("GatedMLP", lambda dtype: nn.GatedMLP(5, 7, bias=True, dtype=dtype, rng=1), [(2, 4, 5)]),
    (
        "TransformerEncoderLayer",
        lambda dtype: nn.TransformerEncoderLayer(6, 2, 8, 0.0, "gelu", norm_first=True, dtype=dtype, rng=1),
        [(2, 4, 6)],
    ),
    (
        "TransformerDecoder",
        lambda dtype: nn.TransformerDecoder(
            nn.TransformerDecoderLayer(6, 2, 8, 0.0, "silu", dtype=dtype, rng=1), 2, nn.RMSNorm(6, dtype=dtype)
        ),
        [(2, 4, 6), (2, 3, 6)],
    ),
    ("Skip", lambda dtype: nn.Skip(nn.Linear(5, 3, dtype=dtype, rng=1)), [(4, 5)]),
    ("Residual", lambda dtype: nn.Residual(nn.Linear(5, 5, dtype=dtype, rng=1)), [(4, 5)]),
    (
        "Sequential",
        lambda dtype: nn.Sequential(
            nn.Linear(5, 7, dtype=dtype, rng=1), nn.Tanh(), nn.Linear(7, 2, dtype=dtype, rng=2)
        ),
        [(4, 5)],
    ),
    *[(name, lambda dtype, n=name, k=kw: getattr(nn, n)(**k), [(6, 5)]) for name, kw in ACTIVATIONS],
]

IDS = [row[0] for row in LAYERS]
DTYPES = [ml.float32, ml.float64]
