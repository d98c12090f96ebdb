"""A transformer that sees images as sequences of patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlext import dtypes, nn
from mlext import functional as F
from mlext.functional._layout import LAST, check_format, shown_format, with_channels_last
from mlext.models._transformers import check_heads, dense_head, encoder_block
from mlext.nn._door import positive_int
from mlext.random import Rng, resolve
from mlext.tensor import Parameter, zeros

_POOLS = ("class", "mean", "flatten")


class VisionTransformer(nn.Module):
    """Scores of classes of images, which are cut into patches that attend to each other.

    A dense layer makes features of each patch, a learned row for its place is added; blocks of attention and two dense
    layers follow, with norms before them; then a norm, and dense layers on what is taken of all patches.

    Parameters
    ----------
    image_size : int or pair of int
        Rows and columns of an image.
    patch_size : int or pair of int
        Those of a patch, divisors of the image's.
    classes : int
        Scores.
    in_channels : int
        C, channels of an image.
    embed_dim, num_layers, num_heads : int
        E, blocks, and heads of attention; E is a multiple of the heads unless ``head_dim`` is given.
    hidden_dim : int, optional
        Features between the two dense layers of a block; by default 4 E.
    head_dim : int, optional
        Features of a head of attention; by default E / H.
    pool : {"class", "mean", "flatten"}
        What the head sees: the features of a learned row before all patches, the mean of all patches, or all of them.
    head : sequence of int
        Units of dense layers before the scores.
    activation, last_activation : str, optional
        Behind the first dense layer of a block and those of the head, and behind the second one of a block: as in
        :class:`mlext.nn.Linear`.
    dropout : float
        Probability with which, in training, a weight of attention is 0, or a feature behind a dense layer of a block.
    head_dropout : float
        The same before the head and behind its dense layers.
    norm_eps : float
        Added to the variances.
    data_format : {"channels_last", "channels_first"}
        Whether images are (N, H, W, C) or (N, C, H, W); the parameters are the same.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values and of dropout.

    Shapes
    ------
    x : (N, H, W, C)
    output : (N, classes)

    Raises
    ------
    ValueError
        If a size does not fit, or an option is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> model = ml.models.VisionTransformer(32, 8, 10, embed_dim=16, num_layers=2, num_heads=2, rng=0)
    >>> model(ml.ones(2, 32, 32, 3)).shape
    (2, 10)
    >>> ml.models.VisionTransformer(224, 16, 1000, rng=0).num_parameters()  # ViT-B/16
    86567656

    References
    ----------
    Dosovitskiy et al. 2021, "An image is worth 16x16 words: transformers for image recognition at scale".
    """

    def __init__(
        self,
        image_size: int | Sequence[int],
        patch_size: int | Sequence[int],
        classes: int,
        *,
        in_channels: int = 3,
        embed_dim: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        hidden_dim: int | None = None,
        head_dim: int | None = None,
        pool: str = "class",
        head: Sequence[int] = (),
        activation: str = "gelu",
        last_activation: str | None = None,
        dropout: float = 0.0,
        head_dropout: float = 0.0,
        norm_eps: float = 1e-6,
        data_format: str = LAST,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        name, rng = "VisionTransformer", resolve(rng)
        self.image_size, self.patch_size = _pair("image_size", image_size), _pair("patch_size", patch_size)
        for whole, part in zip(self.image_size, self.patch_size, strict=True):
            if whole % part:
                expected = f"divisors of the image's {self.image_size}"
                raise ValueError(f"{name}: argument 'patch_size': expected {expected}, got {self.patch_size}")
        if pool not in _POOLS:
            raise ValueError(f"{name}: argument 'pool': expected 'class', 'mean' or 'flatten', got {pool!r}")
        self.data_format = check_format(name, data_format)
        check_heads(name, embed_dim, num_heads, head_dim)
        self.classes, self.in_channels = positive_int(name, "classes", classes), in_channels
        self.embed_dim, self.num_layers = embed_dim, positive_int(name, "num_layers", num_layers)
        self.num_heads, self.head_dim, self.pool, self.head = num_heads, head_dim, pool, tuple(head)
        self.hidden_dim = 4 * embed_dim if hidden_dim is None else hidden_dim
        self.activation, self.last_activation = activation, last_activation
        self.dropout, self.head_dropout, self.norm_eps = dropout, head_dropout, norm_eps
        (rows, columns), (height, width) = self.image_size, self.patch_size
        patches = (rows // height) * (columns // width)
        options: dict[str, Any] = {"dtype": dtype, "rng": rng}
        self.patches = nn.Linear(height * width * positive_int(name, "in_channels", in_channels), embed_dim, **options)
        self.class_token = Parameter(zeros(1, 1, embed_dim, dtype=dtype)) if pool == "class" else None
        self.positions = nn.LearnedPosition(patches + (pool == "class"), embed_dim, **options)
        options |= {"activation": activation}
        block: dict[str, Any] = {"head_dim": head_dim, "last_activation": last_activation, "norm_eps": norm_eps}
        block |= {"dropout": (dropout, 0.0, dropout, dropout)} | options
        blocks = [encoder_block(embed_dim, num_heads, self.hidden_dim, **block) for _ in range(num_layers)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(embed_dim, norm_eps, dtype=dtype)
        features = embed_dim * (patches if pool == "flatten" else 1)
        self.scores = dense_head(features, self.head, classes, dropout=head_dropout, first=True, **options)

    def forward(self, x: Any) -> Any:
        """Return the scores."""
        expected: tuple[int, ...] = (*self.image_size, self.in_channels)
        if self.data_format != LAST:
            expected = (self.in_channels, *self.image_size)
        if x.ndim != 4 or tuple(x.shape[1:]) != expected:
            wanted = f"shape (N, {', '.join(map(str, expected))})"
            raise ValueError(f"VisionTransformer: argument 'x': expected {wanted}, got {tuple(x.shape)}")
        x = self.patches(self._cut(x if self.data_format == LAST else with_channels_last(x)))
        if self.class_token is not None:
            x = F.concat([F.broadcast_to(self.class_token, (x.shape[0], 1, self.embed_dim)), x], 1)
        x = self.norm(self.blocks(self.positions(x)))
        if self.pool == "flatten":
            x = F.reshape(x, (x.shape[0], -1))
        else:
            x = F.mean(x, 1) if self.pool == "mean" else x[:, 0]
        return self.scores(x)

    def _cut(self, x: Any) -> Any:
        """Patches, row by row, each with its pixels row by row and their channels: (N, patches, pixels times C)."""
        (rows, columns), (height, width) = self.image_size, self.patch_size
        down, across = rows // height, columns // width
        x = F.reshape(x, (x.shape[0], down, height, across, width, self.in_channels))
        return F.reshape(F.permute(x, (0, 1, 3, 2, 4, 5)), (x.shape[0], down * across, -1))

    def extra_repr(self) -> str:
        """Show the sizes."""
        return shown_format(
            f"image_size={self.image_size}, patch_size={self.patch_size}, classes={self.classes}", self.data_format
        )


def _pair(name: str, value: Any) -> tuple[int, int]:
    sides = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(sides) != 2:
        raise ValueError(f"VisionTransformer: argument '{name}': expected one or two numbers, got {value!r}")
    rows, columns = (positive_int("VisionTransformer", name, side) for side in sides)
    return rows, columns
