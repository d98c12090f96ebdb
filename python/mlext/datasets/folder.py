"""Images sorted into one folder per class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlext.datasets.base import Dataset
from mlext.datasets.netpbm import read_netpbm
from mlext.datasets.npz import read_npy
from mlext.io import FileFormatError, open_regular

__all__ = ["load_image_folder", "read_image", "resize"]

_NETPBM = (".pgm", ".ppm", ".pnm")
_PILLOW = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
SUFFIXES = (*_NETPBM, ".npy", *_PILLOW)


def load_image_folder(
    path: str | os.PathLike[str],
    size: int | tuple[int, int] | None = None,
    *,
    channels: Literal[1, 3] | None = None,
) -> Dataset:
    """Load images from a folder that has one folder per class.

    Parameters
    ----------
    path : path-like
        ``path/<class>/<image>``. PGM, PPM and NPY need nothing else; PNG, JPEG and others need
        Pillow (``pip install mlext[images]``). Other files and hidden ones are skipped.
    size : int or (int, int), optional
        Height and width to resize to; by default all images must have the same size.
    channels : 1 or 3, optional
        Grey or colour; by default that of the images, 3 if both kinds occur.

    Returns
    -------
    Dataset
        data (N, H, W, channels) uint8, sorted by class, then file name; target (N,) int64;
        target_names the folders' names.

    Raises
    ------
    ValueError
        If there is no class, a class has no images, or sizes differ and `size` is None.
    FileFormatError
        If an image is malformed.
    """
    root = Path(path)
    if not root.is_dir():
        raise NotADirectoryError(f"load_image_folder: {root} is not a folder")
    wanted = _check_size(size)
    if channels not in (None, 1, 3):
        raise ValueError(f"load_image_folder: argument 'channels': expected 1 or 3, got {channels!r}")
    files = _list(root)
    images = []
    for file, _ in files:
        image = read_image(file)
        images.append(image if wanted is None else resize(image, wanted))
    depth = channels or max(image.shape[2] for image in images)
    images = [_with_channels(image, depth) for image in images]
    for (file, _), image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            raise ValueError(
                f"load_image_folder: {file} has {image.shape[0]} x {image.shape[1]} pixels but "
                f"{files[0][0]} has {images[0].shape[0]} x {images[0].shape[1]}; pass size="
            )
    names = sorted({name for _, name in files})
    target = np.array([names.index(name) for _, name in files], np.int64)
    data = np.stack(images)
    return Dataset(data, target, (), tuple(names), os.fspath(root), data.shape[1:])


def _list(root: Path) -> list[tuple[Path, str]]:
    """Return all image files with their class, in a fixed order."""
    found: list[tuple[Path, str]] = []
    for folder in sorted(root.iterdir()):
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        files = [
            (file, folder.name)
            for file in sorted(folder.iterdir())
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        ]
        if not files:
            raise ValueError(f"load_image_folder: class {folder.name!r} has no images ({', '.join(SUFFIXES)})")
        found += files
    if not found:
        raise ValueError(f"load_image_folder: {root} has no folders; expected one per class")
    return found


def _check_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(n, int) and 0 < n <= 16384 for n in pair):
        raise ValueError(f"argument 'size': expected a positive int or (height, width), got {size!r}")
    return pair[0], pair[1]


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read one image as (H, W, 1) or (H, W, 3) uint8; alpha is dropped.

    Raises
    ------
    FileFormatError
        If the file is malformed.
    ImportError
        If the format needs Pillow and it is not installed.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix in _NETPBM:
        return read_netpbm(path)
    if suffix == ".npy":
        return _read_array(path)
    return _read_with_pillow(path)


def _read_array(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    image = read_npy(path)
    if image.ndim == 2:
        image = image[:, :, None]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
        raise FileFormatError(
            path,
            f"expected an image uint8 (H, W), (H, W, 1) or (H, W, 3), got {image.dtype} {image.shape}",
        )
    return image


def _read_with_pillow(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"reading {os.fspath(path)} needs Pillow: pip install mlext[images]") from error
    with open_regular(path) as file:
        try:
            with Image.open(file) as image:
                if image.mode.startswith(("I", "F")):  # Pillow would cut values at 255
                    raise ValueError(f"mode {image.mode} has more than 8 bits per sample")
                grey = image.mode in ("1", "L", "LA")
                pixels = np.asarray(image.convert("L" if grey else "RGB"), np.uint8)
        except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
            raise FileFormatError(path, f"not a readable image: {error}") from None
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _with_channels(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Convert between grey and colour; grey is the luma of ITU-R BT.601."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    grey = image @ np.array([[0.299], [0.587], [0.114]])
    result: NDArray[np.uint8] = np.rint(grey).astype(np.uint8)
    return result


def resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an image (H, W, C) with a triangle filter, widened to average when shrinking."""
    height, width = image.shape[:2]
    if (height, width) == size:
        return image
    rows, columns = _filter(height, size[0]), _filter(width, size[1])
    result = np.einsum("yh,hwc->ywc", rows, image.astype(np.float64))
    result = np.einsum("xw,ywc->yxc", columns, result)
    rounded: NDArray[np.uint8] = np.rint(result).clip(0, 255).astype(np.uint8)
    return rounded


def _filter(before: int, after: int) -> NDArray[np.float64]:
    """Weights (after, before) of every old pixel for every new one; rows add up to 1."""
    scale = before / after
    centres = (np.arange(after) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(before)[None, :] - centres[:, None]) / max(scale, 1.0)
    weights = np.maximum(0.0, 1.0 - distance)
    result: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return result
