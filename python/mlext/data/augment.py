"""Random changes of image batches that do not change what the images show.

Each is an object called as ``change(images, rng)``, made of the functions in `geometry`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from mlext.data.geometry import (
    Images,
    add_noise,
    check_images,
    check_positive,
    flip,
    rotate,
    shift,
    zoom,
)

__all__ = [
    "Compose",
    "GaussianNoise",
    "RandomFlip",
    "RandomRotation",
    "RandomShift",
    "RandomZoom",
    "add_noise",
    "flip",
    "rotate",
    "shift",
    "zoom",
]

Change: TypeAlias = Callable[[Images, np.random.Generator], Images]


class Compose:
    """Apply several changes one after the other.

    Parameters
    ----------
    *changes : callable
        Each called as ``change(images, rng)``.

    Examples
    --------
    >>> change = Compose(RandomFlip(), RandomShift(2))
    >>> change(np.ones((4, 8, 8, 1), np.float32), np.random.default_rng(0)).shape
    (4, 8, 8, 1)
    """

    def __init__(self, *changes: Change) -> None:
        for i, change in enumerate(changes):
            if not callable(change):
                raise TypeError(f"Compose: change {i}: expected a callable, got {change!r}")
        self.changes = changes

    def __call__(self, images: ArrayLike, rng: np.random.Generator) -> Images:
        """Apply all changes to a batch."""
        x = np.asarray(images)
        for change in self.changes:
            x = change(x, rng)
        return x


class RandomFlip:
    """Mirror each image with probability ``p``, independently in each direction allowed.

    Parameters
    ----------
    horizontal, vertical : bool
        Directions allowed: left to right, top to bottom.
    p : float
        Probability of each.
    """

    def __init__(self, horizontal: bool = True, vertical: bool = False, p: float = 0.5) -> None:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"RandomFlip: argument 'p': expected 0..1, got {p}")
        self.horizontal = bool(horizontal)
        self.vertical = bool(vertical)
        self.p = float(p)

    def __call__(self, images: ArrayLike, rng: np.random.Generator) -> Images:
        """Mirror some images of a batch."""
        x = check_images(images, "RandomFlip")
        draw = rng.random((2, len(x))) < self.p
        return flip(x, horizontal=draw[0] & self.horizontal, vertical=draw[1] & self.vertical)


class RandomShift:
    """Move each image by whole pixels, drawn uniformly.

    Parameters
    ----------
    pixels : int or (int, int)
        Furthest move up or down, and left or right.
    fill : float
        Value that comes in at the border.
    """

    def __init__(self, pixels: int | tuple[int, int], fill: float = 0.0) -> None:
        pair = (pixels, pixels) if isinstance(pixels, int) else tuple(pixels)
        if len(pair) != 2 or not all(isinstance(n, int) and n >= 0 for n in pair):
            raise ValueError(f"RandomShift: argument 'pixels': expected an int >= 0 or two, got {pixels!r}")
        self.pixels = pair
        self.fill = float(fill)

    def __call__(self, images: ArrayLike, rng: np.random.Generator) -> Images:
        """Move every image of a batch."""
        x = check_images(images, "RandomShift")
        dy, dx = (rng.integers(-n, n + 1, len(x)) for n in self.pixels)
        return shift(x, dy, dx, fill=self.fill)


class RandomRotation:
    """Turn each image by an angle drawn uniformly from ``-degrees..degrees``.

    Parameters
    ----------
    degrees : float
        Greatest angle.
    fill : float
        Value of the corners that come in.
    """

    def __init__(self, degrees: float, fill: float = 0.0) -> None:
        self.degrees = check_positive(degrees, "RandomRotation", "degrees")
        self.fill = float(fill)

    def __call__(self, images: ArrayLike, rng: np.random.Generator) -> Images:
        """Turn every image of a batch."""
        x = check_images(images, "RandomRotation")
        return rotate(x, rng.uniform(-self.degrees, self.degrees, len(x)), fill=self.fill)


class RandomZoom:
    """Enlarge or shrink each image by a factor drawn uniformly from ``low..high``.

    Parameters
    ----------
    low, high : float
        Range of the factor; 1 keeps the size.
    fill : float
        Value of the border of a shrunk image.
    """

    def __init__(self, low: float = 0.9, high: float = 1.1, fill: float = 0.0) -> None:
        if not (0 < low <= high and np.isfinite(high)):
            raise ValueError(f"RandomZoom: expected 0 < low <= high, got low={low}, high={high}")
        self.low, self.high, self.fill = float(low), float(high), float(fill)

    def __call__(self, images: ArrayLike, rng: np.random.Generator) -> Images:
        """Zoom every image of a batch."""
        x = check_images(images, "RandomZoom")
        return zoom(x, rng.uniform(self.low, self.high, len(x)), fill=self.fill)


class GaussianNoise:
    """Add normal noise to every value.

    Parameters
    ----------
    std : float
        Standard deviation, in the images' units.
    """

    def __init__(self, std: float) -> None:
        self.std = check_positive(std, "GaussianNoise", "std")

    def __call__(self, images: ArrayLike, rng: np.random.Generator) -> Images:
        """Add noise to a batch."""
        return add_noise(images, self.std, rng)
