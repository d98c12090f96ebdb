"""Networks from images to images: a U-Net and a convolutional autoencoder."""

from __future__ import annotations

from collections.abc import Sequence

from mlext import nn
from mlext.functional._layout import LAST
from mlext.models._formats import in_format
from mlext.random import Generator, Rng, resolve


def unet(
    num_classes: int = 2,
    in_channels: int = 1,
    *,
    widths: Sequence[int] = (16, 32, 64, 128),
    data_format: str = LAST,
    rng: Rng = None,
) -> nn.Sequential:
    """A small U-Net: down to a coarse image and up again, with what was there before joined at every size.

    Parameters
    ----------
    num_classes : int
        Scores of each pixel.
    in_channels : int
        Channels of an image.
    widths : sequence of int
        Channels at each size, the finest first; every size is half of the one before.
    data_format : {"channels_last", "channels_first"}
        Whether images, and the result, are (N, H, W, C) or (N, C, H, W); the parameters are the same.
    rng : Generator or int, optional
        Source of the initial values.

    Shapes
    ------
    x : (N, H, W, C) with H and W multiples of 2 to the number of halvings
    output : (N, H, W, num_classes)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.models.unet(rng=0)(ml.ones(1, 32, 32, 1)).shape
    (1, 32, 32, 2)

    References
    ----------
    Ronneberger, Fischer and Brox 2015, "U-Net: convolutional networks for biomedical image segmentation"; with padding
    and batch norm.
    """
    rng = resolve(rng)
    if not widths:
        raise ValueError("unet: argument 'widths': expected at least one number of channels, got none")
    body = _level(in_channels, list(widths), rng)
    model = nn.Sequential(body, nn.Conv2d(widths[0], num_classes, 1, rng=rng))
    return in_format("unet", model, data_format, gives_images=True)


def _level(channels: int, widths: list[int], rng: Generator) -> nn.Sequential:
    width = widths[0]
    if len(widths) == 1:
        return _twice(channels, width, rng)
    coarser = nn.Sequential(
        nn.MaxPool2d(2), _level(width, widths[1:], rng), nn.ConvTranspose2d(widths[1], width, 2, 2, rng=rng)
    )
    return nn.Sequential(_twice(channels, width, rng), nn.Skip(coarser), _twice(2 * width, width, rng))


def _twice(channels: int, width: int, rng: Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner in (channels, width):
        layers += [nn.Conv2d(inner, width, 3, padding=1, bias=False, rng=rng), nn.BatchNorm(width), nn.ReLU()]
    return nn.Sequential(*layers)


def conv_autoencoder(
    in_channels: int = 1, *, widths: Sequence[int] = (16, 8), data_format: str = LAST, rng: Rng = None
) -> nn.Sequential:
    """A convolutional autoencoder: halves the image with every width, and doubles it back.

    Parameters
    ----------
    in_channels : int
        Channels of an image.
    widths : sequence of int
        Channels after each halving.
    data_format : {"channels_last", "channels_first"}
        Whether images, and the result, are (N, H, W, C) or (N, C, H, W); the parameters are the same.
    rng : Generator or int, optional
        Source of the initial values.

    Shapes
    ------
    x : (N, H, W, C) with H and W multiples of 2 to the number of widths, values in [0, 1]
    output : that of x, in [0, 1]

    Examples
    --------
    >>> import mlext as ml
    >>> ml.models.conv_autoencoder(rng=0)(ml.ones(2, 8, 8, 1)).shape
    (2, 8, 8, 1)

    References
    ----------
    Masci et al. 2011, "Stacked convolutional auto-encoders for hierarchical feature extraction".
    """
    rng = resolve(rng)
    if not widths:
        raise ValueError("conv_autoencoder: argument 'widths': expected at least one number of channels, got none")
    encoder: list[nn.Module] = []
    channels = in_channels
    for width in widths:
        encoder.append(nn.Conv2d(channels, width, 3, 2, 1, activation="relu", rng=rng))
        channels = width
    decoder: list[nn.Module] = []
    for width in reversed(widths[:-1]):
        decoder.append(nn.ConvTranspose2d(channels, width, 2, 2, activation="relu", rng=rng))
        channels = width
    decoder.append(nn.ConvTranspose2d(channels, in_channels, 2, 2, activation="sigmoid", rng=rng))
    model = nn.Sequential({"encoder": nn.Sequential(*encoder), "decoder": nn.Sequential(*decoder)})
    return in_format("conv_autoencoder", model, data_format, gives_images=True)
