"""Residual networks: ResNet-18 and ResNet-50."""

from __future__ import annotations

from mlext import nn
from mlext.functional._layout import LAST
from mlext.models._formats import in_format
from mlext.random import Generator, Rng, resolve


def resnet18(
    num_classes: int = 1000, in_channels: int = 3, *, data_format: str = LAST, rng: Rng = None
) -> nn.Sequential:
    """ResNet-18: eight blocks of two convolutions of 3 by 3 and a way around them.

    Parameters
    ----------
    num_classes : int
        Outputs.
    in_channels : int
        Channels of an image.
    data_format : {"channels_last", "channels_first"}
        Whether images are (N, H, W, C) or (N, C, H, W); the parameters are the same.
    rng : Generator or int, optional
        Source of the initial values.

    Shapes
    ------
    x : (N, H, W, C), at least 32 by 32 pixels; 224 by 224 in the paper
    output : (N, num_classes), scores

    Examples
    --------
    >>> import mlext as ml
    >>> ml.models.resnet18(num_classes=10, rng=0).eval()(ml.ones(1, 32, 32, 3)).shape
    (1, 10)

    References
    ----------
    He et al. 2016, "Deep residual learning for image recognition", table 1.
    """
    model = _resnet((2, 2, 2, 2), False, num_classes, in_channels, resolve(rng))
    return in_format("resnet18", model, data_format)


def resnet50(
    num_classes: int = 1000, in_channels: int = 3, *, data_format: str = LAST, rng: Rng = None
) -> nn.Sequential:
    """ResNet-50: sixteen blocks that narrow, convolve 3 by 3 and widen again, and a way around them.

    Strides are those of the convolutions of 3 by 3, as in most published weights.

    Parameters
    ----------
    num_classes, in_channels, data_format, rng
        As in :func:`resnet18`.

    Shapes
    ------
    x : (N, H, W, C), at least 32 by 32 pixels; 224 by 224 in the paper
    output : (N, num_classes), scores

    Examples
    --------
    >>> import mlext as ml
    >>> ml.models.resnet50(rng=0).num_parameters()
    25557032

    References
    ----------
    He et al. 2016, "Deep residual learning for image recognition", table 1.
    """
    model = _resnet((3, 4, 6, 3), True, num_classes, in_channels, resolve(rng))
    return in_format("resnet50", model, data_format)


def _resnet(blocks: tuple[int, ...], narrow: bool, num_classes: int, in_channels: int, rng: Generator) -> nn.Sequential:
    parts: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False, rng=rng),
        "bn1": nn.BatchNorm(64),
        "relu": nn.ReLU(),
        "maxpool": nn.MaxPool2d(3, 2, 1),
    }
    channels = 64
    for i, count in enumerate(blocks):
        width, layer = 64 << i, []
        for j in range(count):
            stride = 2 if i > 0 and j == 0 else 1
            layer.append(_block(channels, width, stride, narrow, rng))
            channels = width * 4 if narrow else width
        parts[f"layer{i + 1}"] = nn.Sequential(*layer)
    return nn.Sequential({**parts, "avgpool": nn.GlobalAvgPool2d(), "fc": nn.Linear(channels, num_classes, rng=rng)})


def _block(channels: int, width: int, stride: int, narrow: bool, rng: Generator) -> nn.Module:
    """Outputs, size and stride of each convolution; all but the last are followed by relu."""
    outputs = width * 4 if narrow else width
    plain = [(width, 3, stride), (width, 3, 1)]
    convolutions = [(width, 1, 1), (width, 3, stride), (outputs, 1, 1)] if narrow else plain
    layers: dict[str, nn.Module] = {}
    inner = channels
    for i, (out, size, step) in enumerate(convolutions, 1):
        layers[f"conv{i}"] = nn.Conv2d(inner, out, size, step, size // 2, bias=False, rng=rng)
        layers[f"bn{i}"] = nn.BatchNorm(out)
        if i < len(convolutions):
            layers[f"relu{i}"] = nn.ReLU()
        inner = out
    shortcut = None
    if stride > 1 or channels != outputs:
        shortcut = nn.Sequential(nn.Conv2d(channels, outputs, 1, stride, bias=False, rng=rng), nn.BatchNorm(outputs))
    return nn.Residual(nn.Sequential(layers), shortcut, activation="relu")
