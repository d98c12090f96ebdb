"""A transformer for series of measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlext import dtypes, nn
from mlext import functional as F
from mlext.functional._geometry import check_rank
from mlext.models._transformers import check_heads, dense_head, encoder_block
from mlext.nn._door import positive_int
from mlext.random import Rng, resolve


class TimeSeriesTransformer(nn.Module):
    """Scores of classes of series, whose steps attend to each other.

    Blocks of attention and two dense layers, with norms before them, then means over the steps or over the features,
    and dense layers.

    Parameters
    ----------
    channels : int
        C, features of a step.
    classes : int
        Scores.
    steps : int, optional
        T; needed for learned positions and for means over the features.
    embed_dim : int, optional
        E: a dense layer makes so many features of a step first. By default steps stay as they are, and E is C.
    position : {"learned", "sinusoidal"}, optional
        Added before the blocks; by default nothing is, and the order of steps does not matter to means over them.
    num_layers, num_heads : int
        Blocks, and heads of attention; E is a multiple of the heads unless ``head_dim`` is given.
    head_dim : int, optional
        Features of a head of attention; by default E / H.
    hidden_dim : int, optional
        Features between the two dense layers of a block; by default 4 E.
    pool : {"steps", "features"}
        What means are taken over: they leave E numbers, or T.
    norm : bool
        Whether there is a norm behind the blocks.
    head : sequence of int
        Units of dense layers before the scores.
    activation : str
        Behind the first dense layer of a block and those of the head, as in :class:`mlext.nn.Linear`.
    dropout : float
        Probability with which, in training, a weight of attention is 0, or a feature behind attention or between the
        two dense layers.
    head_dropout : float
        The same behind the dense layers before the scores.
    norm_eps : float
        Added to the variances.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values and of dropout.

    Shapes
    ------
    x : (N, T, C)
    output : (N, classes)

    Raises
    ------
    ValueError
        If a size does not fit, or an option is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> options = {"embed_dim": 16, "position": "sinusoidal", "num_layers": 2}
    >>> ml.models.TimeSeriesTransformer(3, 5, **options, rng=0)(ml.ones(2, 50, 3)).shape
    (2, 5)

    References
    ----------
    Ntakouris 2021, "Timeseries classification with a Transformer model", keras.io (with ``pool="features"``).
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        steps: int | None = None,
        embed_dim: int | None = None,
        position: str | None = None,
        num_layers: int = 4,
        num_heads: int = 4,
        head_dim: int | None = None,
        hidden_dim: int | None = None,
        pool: str = "steps",
        norm: bool = False,
        head: Sequence[int] = (),
        activation: str = "relu",
        dropout: float = 0.0,
        head_dropout: float = 0.0,
        norm_eps: float = 1e-6,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        name, rng = "TimeSeriesTransformer", resolve(rng)
        width = positive_int(name, "channels", channels) if embed_dim is None else embed_dim
        check_heads(name, width, num_heads, head_dim)
        if position not in (None, "learned", "sinusoidal"):
            expected = "'learned', 'sinusoidal' or None"
            raise ValueError(f"{name}: argument 'position': expected {expected}, got {position!r}")
        if pool not in ("steps", "features"):
            raise ValueError(f"{name}: argument 'pool': expected 'steps' or 'features', got {pool!r}")
        length = 0 if steps is None else positive_int(name, "steps", steps)
        if steps is None and (position == "learned" or pool == "features"):
            raise ValueError(f"{name}: argument 'steps': expected a number for learned positions or pool='features'")
        self.channels, self.classes = channels, positive_int(name, "classes", classes)
        self.steps, self.embed_dim, self.position, self.pool = steps, embed_dim, position, pool
        self.num_layers, self.num_heads = positive_int(name, "num_layers", num_layers), num_heads
        self.head_dim, self.hidden_dim = head_dim, 4 * width if hidden_dim is None else hidden_dim
        self.head, self.activation, self.norm_eps = tuple(head), activation, norm_eps
        self.dropout, self.head_dropout, self.norm = dropout, head_dropout, bool(norm)
        options: dict[str, Any] = {"dtype": dtype, "rng": rng}
        self.embedding = None if embed_dim is None else nn.Linear(channels, width, **options)
        self.positions: nn.Module | None = None
        if position is not None:
            sinusoidal = position == "sinusoidal"
            self.positions = (
                nn.SinusoidalPosition(width) if sinusoidal else nn.LearnedPosition(length, width, **options)
            )
        options |= {"activation": activation}
        block = {"head_dim": head_dim, "last_activation": None, "norm_eps": norm_eps, **options}
        block |= {"dropout": (dropout, dropout, dropout, 0.0)}
        blocks = [encoder_block(width, num_heads, self.hidden_dim, **block) for _ in range(num_layers)]
        self.blocks = nn.Sequential(*blocks, *([nn.LayerNorm(width, norm_eps, dtype=dtype)] if norm else []))
        features = length if pool == "features" else width
        self.scores = dense_head(features, self.head, classes, dropout=head_dropout, first=False, **options)

    def forward(self, x: Any) -> Any:
        """Return the scores."""
        check_rank("TimeSeriesTransformer", "x", x, "(N, T, C)")
        if x.shape[2] != self.channels or self.steps not in (None, x.shape[1]):
            expected = f"{self.channels} features" + (f" of {self.steps} steps" if self.steps else "")
            raise ValueError(f"TimeSeriesTransformer: argument 'x': expected {expected}, got shape {tuple(x.shape)}")
        if self.embedding is not None:
            x = self.embedding(x)
        if self.positions is not None:
            x = self.positions(x)
        x = self.blocks(x)
        return self.scores(F.mean(x, 1 if self.pool == "steps" else 2))

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.channels}, {self.classes}" + (f", pool={self.pool!r}" if self.pool == "features" else "")
