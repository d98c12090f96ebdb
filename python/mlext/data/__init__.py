"""Data on its way into a model: scaling, splitting, mini-batches, augmentation."""

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
    "rotate",
    "shift",
    "train_test_split",
    "zoom",
]
