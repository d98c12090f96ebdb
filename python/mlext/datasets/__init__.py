"""Data sets: three embedded ones, readers of well-known formats, and your own files."""

from mlext.datasets.base import Dataset, Labelled, TrainTest
from mlext.datasets.cifar import read_cifar10, read_cifar10_batch
from mlext.datasets.download import DownloadError, cache_dir, fetch
from mlext.datasets.embedded import load_diabetes, load_digits, load_iris
from mlext.datasets.folder import load_image_folder, read_image
from mlext.datasets.idx import read_idx
from mlext.datasets.images import load_cifar10, load_fashion_mnist, load_mnist
from mlext.datasets.npz import load_npz, read_npy, read_npz
from mlext.datasets.table import load_csv

__all__ = [
    "Dataset",
    "DownloadError",
    "Labelled",
    "TrainTest",
    "cache_dir",
    "fetch",
    "load_cifar10",
    "load_csv",
    "load_diabetes",
    "load_digits",
    "load_fashion_mnist",
    "load_image_folder",
    "load_iris",
    "load_mnist",
    "load_npz",
    "read_cifar10",
    "read_cifar10_batch",
    "read_idx",
    "read_image",
    "read_npy",
    "read_npz",
]
