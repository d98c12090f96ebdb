"""What every loader of this package returns."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

__all__ = ["Dataset", "Labelled", "TrainTest"]


class Dataset(NamedTuple):
    """Features and targets with their names.

    Parameters
    ----------
    data : ndarray
        Shape (N, C), or (N, H, W, C) for images.
    target : ndarray
        Shape (N,): integer codes of classes, or numbers; (0,) if there is none.
    feature_names : tuple of str
        Names of the columns of `data`; empty for images.
    target_names : tuple of str
        Names of the classes in the order of their codes; empty for numeric targets.
    description : str
        What it is and where it comes from.
    image_shape : tuple of int
        Shape of one image, for data sets of images; otherwise empty.
    """

    data: NDArray[Any]
    target: NDArray[Any]
    feature_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    description: str = ""
    image_shape: tuple[int, ...] = ()

    @property
    def images(self) -> NDArray[Any]:
        """The data as images, shape (N, *image_shape); a view."""
        if not self.image_shape:
            raise AttributeError("images: this data set does not consist of images")
        return self.data.reshape(len(self.data), *self.image_shape)


class Labelled(NamedTuple):
    """Inputs and their targets: ``x, y = labelled``."""

    data: NDArray[Any]
    target: NDArray[Any]


class TrainTest(NamedTuple):
    """Training and test part: ``(x_train, y_train), (x_test, y_test) = parts``."""

    train: Labelled
    test: Labelled
