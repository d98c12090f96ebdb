"""The three data sets that are part of the package: digits, iris, diabetes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mlext.datasets.base import Dataset

__all__ = ["load_diabetes", "load_digits", "load_iris"]


def _load(name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    with np.load(Path(__file__).with_name(f"{name}.npz"), allow_pickle=False) as archive:
        return archive["data"], archive["target"]


def load_digits(*, dtype: DTypeLike = np.float32) -> Dataset:
    """Load 1,797 handwritten digits of 8 x 8 pixels.

    Parameters
    ----------
    dtype : dtype-like
        Of the pixels.

    Returns
    -------
    Dataset
        data (1797, 64) with values 0 to 16, target (1797,) int64 in 0..9; `images` gives
        (1797, 8, 8).

    Examples
    --------
    >>> digits = load_digits()
    >>> digits.data.shape, digits.images.shape, float(digits.data.max())
    ((1797, 64), (1797, 8, 8), 16.0)

    References
    ----------
    E. Alpaydin, C. Kaynak: Cascading classifiers. Kybernetika 34(4), 1998.
    """
    images, target = _load("digits")
    return Dataset(
        images.reshape(len(images), 64).astype(dtype),
        target.astype(np.int64),
        tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8)),
        tuple(str(digit) for digit in range(10)),
        "Optical recognition of handwritten digits (UCI; Alpaydin and Kaynak, 1998): "
        "8 x 8 images, each value the number of set pixels in a 4 x 4 block of a scanned digit.",
        (8, 8),
    )


def load_iris(*, dtype: DTypeLike = np.float32) -> Dataset:
    """Load Fisher's iris flowers: 150 plants of 3 species.

    Parameters
    ----------
    dtype : dtype-like
        Of the measurements.

    Returns
    -------
    Dataset
        data (150, 4) in centimetres, target (150,) int64 in 0..2.

    Examples
    --------
    >>> load_iris().target_names
    ('setosa', 'versicolor', 'virginica')

    References
    ----------
    R. A. Fisher: The use of multiple measurements in taxonomic problems. Annals of Eugenics
    7(2), 1936.
    """
    tenths, target = _load("iris")
    return Dataset(
        (tenths / 10.0).astype(dtype),
        target.astype(np.int64),
        ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"),
        ("setosa", "versicolor", "virginica"),
        "Iris plants (Fisher, 1936): 50 flowers of each of three species, four measurements.",
    )


def load_diabetes(*, scaled: bool = True, dtype: DTypeLike = np.float32) -> Dataset:
    """Load the diabetes study: 442 patients and the progression of their disease.

    Parameters
    ----------
    scaled : bool
        Give each column mean 0 and sum of squares 1, as the paper does; otherwise the values
        as measured.
    dtype : dtype-like
        Of data and target.

    Returns
    -------
    Dataset
        data (442, 10), target (442,) between 25 and 346.

    Examples
    --------
    >>> load_diabetes().data.shape
    (442, 10)

    References
    ----------
    B. Efron, T. Hastie, I. Johnstone, R. Tibshirani: Least angle regression. Annals of
    Statistics 32(2), 2004.
    """
    ten_thousandths, target = _load("diabetes")
    data = ten_thousandths / 10000.0
    if scaled:
        data -= data.mean(axis=0)
        data /= np.sqrt((data * data).sum(axis=0))
    return Dataset(
        data.astype(dtype),
        target.astype(dtype),
        ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"),
        (),
        "Diabetes (Efron et al., 2004): ten baseline variables and a measure of disease progression one year later.",
    )
