"""Models of images with channels first: the view is taken once, at the entry."""

from __future__ import annotations

from mlext import nn
from mlext.functional._layout import LAST, check_format


def in_format(name: str, model: nn.Sequential, data_format: str, *, gives_images: bool = False) -> nn.Sequential:
    """A model of images with channels last, for those of a format; its parameters and their names stay."""
    if check_format(name, data_format) == LAST:
        return model
    layers: dict[str, nn.Module] = {"entry": nn.Permute((0, 2, 3, 1)), **dict(model.named_children())}
    if gives_images:
        layers["exit"] = nn.Permute((0, 3, 1, 2))
    return nn.Sequential(layers)
