"""Changes of image batches, given by numbers for each image.

All functions take batches (N, H, W) or (N, H, W, C) and return new arrays of the same shape and
dtype; integer images are rounded and clipped to their type's range. A number per batch may be
one for all images or one for each, shape (N,).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Images",
    "add_noise",
    "check_images",
    "check_positive",
    "flip",
    "rotate",
    "shift",
    "zoom",
]

Images: TypeAlias = NDArray[Any]


def flip(images: ArrayLike, *, horizontal: ArrayLike = True, vertical: ArrayLike = False) -> Images:
    """Mirror images left to right, top to bottom, or both.

    Parameters
    ----------
    images : array
        Shape (N, H, W) or (N, H, W, C).
    horizontal, vertical : bool or (N,) array of bool
        Which images to mirror.

    Examples
    --------
    >>> flip(np.array([[[1, 2], [3, 4]]])).tolist()
    [[[2, 1], [4, 3]]]
    """
    x = check_images(images, "flip")
    result = x.copy()
    across = _per_image(horizontal, x, "flip", "horizontal").astype(bool)
    result[across] = result[across][:, :, ::-1]
    down = _per_image(vertical, x, "flip", "vertical").astype(bool)
    result[down] = result[down][:, ::-1]
    return result


def shift(images: ArrayLike, dy: ArrayLike = 0, dx: ArrayLike = 0, *, fill: float = 0.0) -> Images:
    """Move images down by ``dy`` and right by ``dx`` pixels; whole numbers are exact.

    Examples
    --------
    >>> shift(np.array([[[1, 2], [3, 4]]]), dx=1).tolist()
    [[[0, 1], [0, 3]]]
    """
    x = check_images(images, "shift")
    rows, columns = _per_image(dy, x, "shift", "dy"), _per_image(dx, x, "shift", "dx")
    return _warp(x, np.zeros(len(x)), np.ones(len(x)), rows, columns, fill)


def rotate(images: ArrayLike, degrees: ArrayLike, *, fill: float = 0.0) -> Images:
    """Turn images counter-clockwise about their centre, with bilinear interpolation.

    Examples
    --------
    >>> rotate(np.array([[[1.0, 2.0], [3.0, 4.0]]]), 90).round(6).tolist()
    [[[2.0, 4.0], [1.0, 3.0]]]
    """
    x = check_images(images, "rotate")
    angle = np.deg2rad(_per_image(degrees, x, "rotate", "degrees"))
    return _warp(x, angle, np.ones(len(x)), np.zeros(len(x)), np.zeros(len(x)), fill)


def zoom(images: ArrayLike, factor: ArrayLike, *, fill: float = 0.0) -> Images:
    """Enlarge (factor > 1) or shrink images about their centre, with bilinear interpolation.

    Examples
    --------
    >>> zoom(np.ones((1, 4, 4)), 0.5)[0].sum().item()
    4.0
    """
    x = check_images(images, "zoom")
    factors = _per_image(factor, x, "zoom", "factor")
    if not (factors > 0).all():
        raise ValueError(f"zoom: argument 'factor': expected > 0, got {factors.min()}")
    return _warp(x, np.zeros(len(x)), factors, np.zeros(len(x)), np.zeros(len(x)), fill)


def add_noise(images: ArrayLike, std: float, rng: np.random.Generator) -> Images:
    """Add independent normal noise of standard deviation ``std`` to every value."""
    x = check_images(images, "add_noise")
    check_positive(std, "add_noise", "std")
    noise = rng.standard_normal(x.shape, np.float64 if x.dtype == np.float64 else np.float32)
    return _like(x + noise * noise.dtype.type(std), x)


def check_images(images: ArrayLike, what: str) -> Images:
    """Return a batch of images as an array of numbers with 3 or 4 axes."""
    x = np.asarray(images)
    if x.dtype.kind not in "fiu":
        raise TypeError(f"{what}: argument 'images': expected numbers, got {x.dtype}")
    if x.ndim not in (3, 4):
        raise ValueError(f"{what}: argument 'images': expected shape (N, H, W) or (N, H, W, C), got {x.shape}")
    return x


def _per_image(value: ArrayLike, x: Images, what: str, name: str) -> NDArray[np.float64]:
    """Check a parameter and spread it to one value per image."""
    array = np.asarray(value, np.float64)
    if array.shape not in ((), (len(x),)) or not np.isfinite(array).all():
        raise ValueError(
            f"{what}: argument {name!r}: expected finite, a number or shape ({len(x)},), got shape {array.shape}"
        )
    return np.broadcast_to(array, (len(x),))


def check_positive(value: float, what: str, name: str) -> float:
    """Return a finite number that is not negative."""
    if not (value >= 0 and np.isfinite(value)):
        raise ValueError(f"{what}: argument {name!r}: expected a finite number >= 0, got {value}")
    return float(value)


def _like(result: NDArray[Any], x: Images) -> Images:
    """Convert to the images' dtype; integers are rounded and clipped."""
    if x.dtype.kind in "iu":
        limits = np.iinfo(x.dtype)
        result = np.asarray(np.rint(result).clip(limits.min, limits.max))
    return result.astype(x.dtype, copy=False)


def _warp(
    x: Images,
    angle: NDArray[np.float64],
    factor: NDArray[np.float64],
    dy: NDArray[np.float64],
    dx: NDArray[np.float64],
    fill: float,
) -> Images:
    """Rotate, zoom and shift each image about its centre.

    For every new pixel its old position is computed and read off with bilinear weights; outside
    of the old image is ``fill``.
    """
    height, width = x.shape[1:3]
    row = np.arange(height) - (height - 1) / 2
    column = np.arange(width) - (width - 1) / 2
    r = row[None, :, None] - dy[:, None, None]
    c = column[None, None, :] - dx[:, None, None]
    cos, sin = (f(angle)[:, None, None] / factor[:, None, None] for f in (np.cos, np.sin))
    old_r = cos * r + sin * c + (height - 1) / 2
    old_c = cos * c - sin * r + (width - 1) / 2
    return _like(_sample(x, old_r, old_c, fill), x)


def _sample(x: Images, row: NDArray[np.float64], column: NDArray[np.float64], fill: float) -> NDArray[Any]:
    """Read images (N, H, W, ...) at positions (N, H, W) with bilinear interpolation.

    A border of ``fill`` makes every neighbour exist, so that no position needs a test.
    """
    count, height, width = x.shape[:3]
    stride = width + 3  # one before, two after: positions reach `width`, their neighbours one more
    padded = np.full((count, height + 3, stride, *x.shape[3:]), fill, x.dtype)
    padded[:, 1:-2, 1:-2] = x
    pixels = padded.reshape(count * (height + 3) * stride, *x.shape[3:])
    row, column = row.clip(-1, height), column.clip(-1, width)
    top, left = np.floor(row), np.floor(column)
    first = np.arange(count)[:, None, None] * (height + 3)
    index = ((first + top + 1) * stride + left + 1).astype(np.int64)
    down, right = row - top, column - left
    if not (down.any() or right.any()):
        whole: NDArray[Any] = pixels.take(index, axis=0)
        return whole
    dtype = np.float32 if x.dtype.itemsize < 4 or x.dtype == np.float32 else np.float64
    # Weights are written out per channel: an inner loop over 3 channels would be slow.
    depth = int(np.prod(x.shape[3:]))
    down = np.repeat(down.astype(dtype), depth).reshape(x.shape)
    right = np.repeat(right.astype(dtype), depth).reshape(x.shape)
    upper = _mix(pixels, index, right)
    upper += (_mix(pixels, index + stride, right) - upper) * down
    return upper


def _mix(pixels: NDArray[Any], index: NDArray[np.int64], weight: NDArray[Any]) -> NDArray[Any]:
    """Interpolate between the pixels at ``index`` and their right neighbours."""
    near = pixels.take(index, axis=0).astype(weight.dtype, copy=False)
    mixed: NDArray[Any] = near + (pixels.take(index + 1, axis=0) - near) * weight
    return mixed
