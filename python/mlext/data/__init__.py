"""Data on its way into a model: scaling, splitting, mini-batches, sequences, augmentation."""

from mlext.data.augment import (
    Compose,
    GaussianNoise,
    RandomFlip,
    RandomRotation,
    RandomShift,
    RandomZoom,
    add_noise,
    flip,
    rotate,
    shift,
    zoom,
)
from mlext.data.loader import ArrayDataset, DataLoader
from mlext.data.preprocessing import MinMaxScaler, StandardScaler, one_hot, train_test_split
from mlext.data.sequences import pack_sequences, sliding_windows, unpack_sequences

__all__ = [
    "ArrayDataset",
    "Compose",
    "DataLoader",
    "GaussianNoise",
    "MinMaxScaler",
    "RandomFlip",
    "RandomRotation",
    "RandomShift",
    "RandomZoom",
    "StandardScaler",
    "add_noise",
    "flip",
    "one_hot",
    "pack_sequences",
    "rotate",
    "shift",
    "sliding_windows",
    "train_test_split",
    "unpack_sequences",
    "zoom",
]
