"""What networks hold and what they see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mlext.plot._figure import Path, finish, new_figure


def filters(weight: Any, path: Path | None = None, *, columns: int = 8) -> Any:
    """Draw the filters of a convolution, each in shades of its own range.

    Filters of three channels are drawn in colour, others as the mean over their channels.

    Parameters
    ----------
    weight : Tensor or ndarray (O, R, S, C), or a Conv2d
        The filters, or the layer that has them.
    path : path-like, optional
        Where to write the picture; its ending decides the format.
    columns : int
        Pictures side by side.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not there: ``pip install mlext[plot]``.
    ValueError
        If the weight has not four axes, or no filter.
    """
    array = _images("filters", "weight", getattr(weight, "weight", weight))
    return _grid("filters", list(array), columns, path)


def activations(model: Any, image: ArrayLike, path: Path | None = None, *, layer: str = "", columns: int = 8) -> Any:
    """Draw what a layer makes of an image: a picture for each channel.

    Parameters
    ----------
    model : Module
        Run in evaluation mode.
    image : array (H, W, C), or as the model wants it
        One input.
    path : path-like, optional
        Where to write the picture; its ending decides the format.
    layer : str
        Path of the layer whose output is drawn, such as "0" or "layer1.0"; by default that of the first convolution.
    columns : int
        Pictures side by side.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not there: ``pip install mlext[plot]``.
    ValueError
        If there is no such layer, or its output is no image.
    """
    layers = dict(model.named_modules())
    known = [name for name, module in layers.items() if type(module).__name__ in ("Conv2d", "DepthwiseConv2d")]
    name = layer or next(iter(known), "")
    if name not in layers or not name:
        raise ValueError(f"activations: argument 'layer': expected a path such as {known[:3]}, got {layer!r}")
    seen: list[Any] = []
    remove = layers[name].register_forward_hook(lambda module, inputs, out: seen.append(out.numpy()))
    try:
        with model.evaluating():
            model(np.asarray(image)[None])
    finally:
        remove()
    first = getattr(layers[name], "data_format", "") == "channels_first" and seen[-1].ndim == 4
    maps = _images("activations", "layer", np.moveaxis(seen[-1], 1, -1) if first else seen[-1])[0]
    return _grid("activations", [maps[:, :, i : i + 1] for i in range(maps.shape[2])], columns, path)


def attention(
    weights: Any,
    path: Path | None = None,
    *,
    query_labels: Sequence[str] = (),
    key_labels: Sequence[str] = (),
    columns: int = 4,
) -> Any:
    """Draw how much each query takes of each key: a picture for each head, queries downwards, keys to the right.

    Parameters
    ----------
    weights : Tensor or ndarray (S, T), (H, S, T) or (1, H, S, T)
        Of one sequence, from :class:`mlext.nn.MultiHeadAttention` with ``need_weights=True``.
    path : path-like, optional
        Where to write the picture; its ending decides the format.
    query_labels, key_labels : sequence of str
        What stands at each query and at each key, such as words.
    columns : int
        Pictures side by side.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not there: ``pip install mlext[plot]``.
    ValueError
        If the weights are of another shape, or there are not as many labels as queries or keys.
    """
    array = _array(weights)
    heads = array[None] if array.ndim == 2 else array[0] if array.ndim == 4 and len(array) == 1 else array
    if heads.ndim != 3 or heads.size == 0:
        expected = "weights (S, T), (H, S, T) or (1, H, S, T) of one sequence"
        raise ValueError(f"attention: argument 'weights': expected {expected}, got shape {array.shape}")
    for name, labels, count in zip(("query", "key"), (query_labels, key_labels), heads.shape[1:], strict=True):
        if len(labels) not in (0, count):
            raise ValueError(f"attention: argument '{name}_labels': expected {count} labels, got {len(labels)}")
    width, height = (min(1.4 + 0.22 * count, 9.0) for count in (heads.shape[2], heads.shape[1]))
    figure, places = _side_by_side("attention", len(heads), columns, width, height)
    for i, (axes, head) in enumerate(zip(places, heads, strict=True)):
        axes.imshow(head.astype(np.float64), cmap="viridis", vmin=0, vmax=1)
        if len(heads) > 1:
            axes.set_title(f"head {i}", fontsize=8)
        if len(key_labels):
            axes.set_xticks(range(len(key_labels)), list(key_labels), rotation=90, fontsize=7)
        if len(query_labels):
            axes.set_yticks(range(len(query_labels)), list(query_labels), fontsize=7)
    return finish(figure, path)


def _array(value: Any) -> Any:
    return value.detach().numpy() if hasattr(value, "detach") else np.asarray(value)


def _images(op: str, name: str, value: Any) -> Any:
    array = _array(value)
    if array.ndim != 4 or array.size == 0:
        raise ValueError(f"{op}: argument '{name}': expected images or filters of four axes, got shape {array.shape}")
    return array.astype(np.float64)


def _side_by_side(op: str, count: int, columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """Return a figure and places for so many pictures, each so large, in rows of ``columns``."""
    if columns < 1:
        raise ValueError(f"{op}: argument 'columns': expected a positive int, got {columns}")
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = new_figure(op, columns * width, rows * height)
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def _grid(op: str, pictures: list[Any], columns: int, path: Path | None) -> Any:
    figure, places = _side_by_side(op, len(pictures), columns, 1.1, 1.1)
    for axes, picture in zip(places, pictures, strict=True):
        low, high = picture.min(), picture.max()
        scaled = (picture - low) / (high - low) if high > low else np.zeros_like(picture)
        axes.imshow(scaled if picture.shape[2] == 3 else scaled.mean(2), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
    return finish(figure, path)
