"""Classifiers of images: LeNet-5, VGG-16 and MobileNetV2."""

from __future__ import annotations

from mlext import nn
from mlext.functional._layout import LAST
from mlext.models._formats import in_format
from mlext.random import Generator, Rng, resolve


def lenet5(num_classes: int = 10, in_channels: int = 1, *, data_format: str = LAST, rng: Rng = None) -> nn.Sequential:
    """LeNet-5 for images of 28 by 28 pixels: two convolutions, three dense layers, tanh and mean pooling.

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
    x : (N, 28, 28, C)
    output : (N, num_classes), scores

    Examples
    --------
    >>> import mlext as ml
    >>> ml.models.lenet5(rng=0)(ml.ones(2, 28, 28, 1)).shape
    (2, 10)

    References
    ----------
    LeCun et al. 1998, "Gradient-based learning applied to document recognition", section II.B.
    """
    rng = resolve(rng)
    model = nn.Sequential(
        nn.Conv2d(in_channels, 6, 5, padding=2, rng=rng),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5, rng=rng),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120, rng=rng),
        nn.Tanh(),
        nn.Linear(120, 84, rng=rng),
        nn.Tanh(),
        nn.Linear(84, num_classes, rng=rng),
    )
    return in_format("lenet5", model, data_format)


# Outputs of the convolutions; 0 is max pooling.
_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


def vgg16(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float = 0.5,
    data_format: str = LAST,
    rng: Rng = None,
) -> nn.Sequential:
    """VGG-16: thirteen convolutions of 3 by 3, five times max pooling, three dense layers.

    Parameters
    ----------
    num_classes : int
        Outputs.
    in_channels : int
        Channels of an image.
    dropout : float
        Probability that a dense feature is dropped while training.
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
    >>> len(ml.models.vgg16(rng=0)[0])
    31

    References
    ----------
    Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", table 1, D.
    """
    rng = resolve(rng)
    features: list[nn.Module] = []
    channels = in_channels
    for outputs in _VGG16:
        if outputs == 0:
            features.append(nn.MaxPool2d(2))
        else:
            features += [nn.Conv2d(channels, outputs, 3, padding=1, rng=rng), nn.ReLU()]
            channels = outputs
    classifier = nn.Sequential(
        nn.Linear(channels * 49, 4096, rng=rng),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096, rng=rng),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(4096, num_classes, rng=rng),
    )
    parts = {"features": nn.Sequential(*features), "avgpool": nn.AdaptiveAvgPool2d(7)}
    model = nn.Sequential({**parts, "flatten": nn.Flatten(), "classifier": classifier})
    return in_format("vgg16", model, data_format)


# Factor of the hidden channels, outputs, blocks, stride of the first one.
_MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float = 0.2,
    data_format: str = LAST,
    rng: Rng = None,
) -> nn.Sequential:
    """MobileNetV2: residual blocks that widen, convolve each channel by itself, and narrow again.

    Parameters
    ----------
    num_classes, in_channels, data_format, rng
        As in :func:`vgg16`.
    dropout : float
        Probability that a feature is dropped before the dense layer while training.

    Shapes
    ------
    x : (N, H, W, C), at least 32 by 32 pixels; 224 by 224 in the paper
    output : (N, num_classes), scores

    Examples
    --------
    >>> import mlext as ml
    >>> ml.models.mobilenet_v2(num_classes=10, rng=0).eval()(ml.ones(1, 32, 32, 3)).shape
    (1, 10)

    References
    ----------
    Sandler et al. 2018, "MobileNetV2: inverted residuals and linear bottlenecks", table 2.
    """
    rng = resolve(rng)
    features: list[nn.Module] = [_normed(in_channels, 32, 3, 2, 1, rng)]
    channels = 32
    for factor, outputs, blocks, first_stride in _MOBILENET_V2:
        for i in range(blocks):
            stride = first_stride if i == 0 else 1
            features.append(_inverted_residual(channels, outputs, stride, factor, rng))
            channels = outputs
    features.append(_normed(channels, 1280, 1, 1, 1, rng))
    classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(1280, num_classes, rng=rng))
    model = nn.Sequential(
        {"features": nn.Sequential(*features), "pool": nn.GlobalAvgPool2d(), "classifier": classifier}
    )
    return in_format("mobilenet_v2", model, data_format)


def _normed(channels: int, outputs: int, size: int, stride: int, groups: int, rng: Generator) -> nn.Sequential:
    conv = nn.Conv2d(channels, outputs, size, stride, size // 2, groups=groups, bias=False, rng=rng)
    return nn.Sequential(conv, nn.BatchNorm(outputs), nn.ReLU6())


def _inverted_residual(channels: int, outputs: int, stride: int, factor: int, rng: Generator) -> nn.Module:
    hidden = channels * factor
    layers: list[nn.Module] = [_normed(channels, hidden, 1, 1, 1, rng)] if factor > 1 else []
    layers += [
        _normed(hidden, hidden, 3, stride, hidden, rng),
        nn.Conv2d(hidden, outputs, 1, bias=False, rng=rng),
        nn.BatchNorm(outputs),
    ]
    body = nn.Sequential(*layers)
    return nn.Residual(body) if stride == 1 and channels == outputs else nn.Sequential({"module": body})
