"""MNIST, Fashion-MNIST and CIFAR-10: from a folder, a file or a server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlext.datasets.base import Labelled, TrainTest
from mlext.datasets.cifar import read_cifar10
from mlext.datasets.download import Progress
from mlext.datasets.idx import read_idx
from mlext.datasets.npz import read_npz
from mlext.datasets.sources import IDX_FILES, IDX_NAMES, Source, has_idx, idx_file, locate
from mlext.io import FileFormatError

__all__ = ["load_cifar10", "load_fashion_mnist", "load_mnist"]

_MNIST = Source(
    "mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    IDX_FILES,
    {
        IDX_FILES[0]: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        IDX_FILES[1]: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        IDX_FILES[2]: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        IDX_FILES[3]: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "mnist.npz": "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    },
)
_FASHION_MNIST = Source(
    "fashion-mnist",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    IDX_FILES,
    {
        IDX_FILES[0]: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        IDX_FILES[1]: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        IDX_FILES[2]: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        IDX_FILES[3]: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
)
_CIFAR10 = Source(
    "cifar10",
    "https://www.cs.toronto.edu/~kriz/",
    ("cifar-10-binary.tar.gz",),
    {
        "cifar-10-binary.tar.gz": ("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    },
)


def load_mnist(
    path: str | os.PathLike[str] | None = None,
    *,
    url: str | None = None,
    sha256: str | Mapping[str, str] | None = None,
    download: bool = False,
    progress: Progress | bool | None = None,
) -> TrainTest:
    """Load the MNIST handwritten digits.

    Without `path` the cache (``$MLEXT_DATA``, else ``~/.cache/mlext``) is searched for
    ``mnist/`` or ``mnist.npz``, then ``~/.keras/datasets/mnist.npz``. Nothing is downloaded
    unless `download` is true or `url` is given.

    Parameters
    ----------
    path : path-like, optional
        A folder with the four IDX files (gzip-compressed or not) or ``mnist.npz``, or a
        ``.npz`` file with x_train, y_train, x_test and y_test.
    url : str, optional
        A ``.npz`` file, or a folder with the four ``.gz`` files, to download into the cache.
    sha256 : str or mapping of str to str, optional
        SHA-256 of the file at `url`, or of each file by name; needed where the content is not
        that of the original data set.
    download : bool
        Download from the data set's usual address if it is not found.
    progress : callable or bool, optional
        See `mlext.datasets.fetch`.

    Returns
    -------
    TrainTest
        ``(x_train, y_train), (x_test, y_test)``: images (60000, 28, 28) and (10000, 28, 28)
        uint8, labels int64 in 0..9.

    Raises
    ------
    FileNotFoundError
        If the files are nowhere; the text says where they were looked for.
    FileFormatError
        If a file is malformed.
    DownloadError
        If downloading fails.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document
    recognition. Proceedings of the IEEE 86(11), 1998.
    """
    return _read_mnist(locate(_MNIST, path, url, sha256, download, progress))


def load_fashion_mnist(
    path: str | os.PathLike[str] | None = None,
    *,
    url: str | None = None,
    sha256: str | Mapping[str, str] | None = None,
    download: bool = False,
    progress: Progress | bool | None = None,
) -> TrainTest:
    """Load Fashion-MNIST: 70,000 grey images of clothing in ten classes.

    Parameters, result and errors are those of `load_mnist`; the cache folder is
    ``fashion-mnist``.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking
    machine learning algorithms. arXiv:1708.07747, 2017.
    """
    return _read_mnist(locate(_FASHION_MNIST, path, url, sha256, download, progress))


def load_cifar10(
    path: str | os.PathLike[str] | None = None,
    *,
    url: str | None = None,
    sha256: str | Mapping[str, str] | None = None,
    download: bool = False,
    progress: Progress | bool | None = None,
) -> TrainTest:
    """Load CIFAR-10: 60,000 colour images of 32 x 32 pixels in ten classes.

    Parameters and errors are those of `load_mnist`, except for the files: `path` is a folder
    with the binary version (``data_batch_1.bin`` ... ``test_batch.bin``) or its archive
    ``cifar-10-binary.tar.gz``, or that archive, or a ``.npz``; `url` an archive or ``.npz``.

    Returns
    -------
    TrainTest
        Images (N, 32, 32, 3) uint8, channels last; labels int64 in 0..9.

    References
    ----------
    A. Krizhevsky: Learning multiple layers of features from tiny images. Technical report,
    University of Toronto, 2009.
    """
    found = locate(_CIFAR10, path, url, sha256, download, progress)
    if found.suffix == ".npz":
        return _check(_read_split(found), found, (3,))
    return _check(read_cifar10(found), found, (3,))


def _read_mnist(path: Path) -> TrainTest:
    if not path.is_dir():
        return _check(_read_split(path), path, ())
    if not has_idx(path):
        archive = path / "mnist.npz"
        if archive.is_file():
            return _check(_read_split(archive), archive, ())
        missing = [name for name in IDX_NAMES if idx_file(path, name) is None]
        raise FileNotFoundError(f"{path}: missing {', '.join(missing)} (or the same with .gz)")
    arrays = [read_idx(idx_file(path, name) or name) for name in IDX_NAMES]
    parts = TrainTest(Labelled(arrays[0], arrays[1]), Labelled(arrays[2], arrays[3]))
    return _check(parts, path, ())


def _read_split(path: Path) -> TrainTest:
    """Read a ``.npz`` in the layout x_train, y_train, x_test, y_test."""
    arrays = read_npz(path)
    names = ("x_train", "y_train", "x_test", "y_test")
    missing = [name for name in names if name not in arrays]
    if missing:
        raise FileFormatError(path, f"missing arrays {', '.join(missing)}")
    a, b, c, d = (arrays[name] for name in names)
    return TrainTest(Labelled(a, b), Labelled(c, d))


def _check(parts: TrainTest, path: Path, channels: tuple[int, ...]) -> TrainTest:
    """Check shapes, dtypes and labels of both parts; labels become int64."""
    train = _check_part(parts.train, path, channels, "training")
    return TrainTest(train, _check_part(parts.test, path, channels, "test"))


def _check_part(part: Labelled, path: Path, channels: tuple[int, ...], which: str) -> Labelled:
    images, labels = part
    wanted = f"uint8 (N, H, W{', 3' if channels else ''})"
    ndim = 3 + len(channels)
    if images.dtype != np.uint8 or images.ndim != ndim or images.shape[3:] != channels:
        raise FileFormatError(path, f"{which} images: expected {wanted}, got {images.dtype} {images.shape}")
    if labels.ndim == 2 and labels.shape[1] == 1:  # Keras keeps CIFAR's labels as a column
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1] or not len(labels):
        raise FileFormatError(
            path,
            f"{which} labels: expected integers ({len(images)},), one per image and not none, "
            f"got {labels.dtype} {labels.shape}",
        )
    return Labelled(images, _check_labels(labels, path, which))


def _check_labels(labels: NDArray[Any], path: Path, which: str) -> NDArray[np.int64]:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > 9:
        raise FileFormatError(path, f"{which} labels: expected 0..9, got {low}..{high}")
    return labels.astype(np.int64)
