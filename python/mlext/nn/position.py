"""Positions of steps: attention itself does not know their order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlext import _C, dtypes
from mlext import functional as F
from mlext.functional._geometry import check_rank
from mlext.nn._door import positive_int
from mlext.nn.module import Module
from mlext.random import Rng, resolve
from mlext.tensor import Parameter


def _checked_offset(name: str, offset: Any, x: Any) -> Any:
    """Return the position of the first step as an int, or those of all steps as a Tensor (T) or (N, T)."""
    if not isinstance(offset, _C.Array):
        given = np.asarray(offset)
        if given.dtype.kind not in "iu":
            raise TypeError(f"{name}: argument 'offset': expected integers, got {given.dtype}")
        if given.size and given.min() < 0:
            raise ValueError(f"{name}: argument 'offset': expected 0 or more, got {given.min()}")
        if given.ndim == 0:
            return int(given)
        offset = _C.constant(given.astype(np.int64))
    if offset.shape not in ((x.shape[1],), x.shape[:2]):
        expected = f"an int or shape ({x.shape[1]},) or {x.shape[:2]}"
        raise ValueError(f"{name}: argument 'offset': expected {expected}, got {offset.shape}")
    return offset


def _turns(offset: Any, x: Any, frequencies: NDArray[np.float64], dtype: str) -> tuple[Any, Any]:
    """Return cos and sin of positions times frequencies, (T, K) or (N, T, K).

    Angles are float64: of float32, with 24 bits, those of position 100,000 would be off by 0.004.
    """
    if isinstance(offset, int):
        positions = _C.constant(np.arange(offset, offset + x.shape[1], dtype=np.float64))
    else:
        positions = _C.cast(offset, "float64")
    angles = _C.mul(_C.expand_dims(positions, (-1,)), _C.constant(frequencies))
    return _C.cast(_C.cos(angles), dtype), _C.cast(_C.sin(angles), dtype)


def _check_width(name: str, x: Any, embed_dim: int) -> None:
    check_rank(name, "x", x, "(N, T, E)")
    if x.shape[2] != embed_dim:
        raise ValueError(f"{name}: argument 'x': expected {embed_dim} features, got shape {x.shape}")


def _check_end(name: str, offset: Any, x: Any, max_len: int | None) -> None:
    if max_len is not None and isinstance(offset, int) and offset + x.shape[1] > max_len:
        steps = f"steps up to position {max_len - 1} (max_len={max_len})"
        raise ValueError(f"{name}: argument 'x': expected {steps}, got {x.shape[1]} from position {offset} on")


class SinusoidalPosition(Module):
    """Adds waves of the position, of lengths from 2 pi to 10000 2 pi.

        y[t, 2 i] = x[t, 2 i] + sin(t / 10000^(2 i / E)),  y[t, 2 i + 1] = x[t, 2 i + 1] + cos(t / 10000^(2 i / E))

    Parameters
    ----------
    embed_dim : int
        E.
    max_len : int, optional
        Refuse more steps than that; by default any number will do.

    Shapes
    ------
    x : (N, T, E)
    offset : position of the first step, or integers (T) or (N, T), positions of all steps
    output : (N, T, E)

    Raises
    ------
    ValueError
        If a shape does not fit, a position is negative, or there are more than ``max_len`` steps.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.SinusoidalPosition(4)(ml.zeros(1, 1, 4))
    Tensor([[[0., 1., 0., 1.]]])

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need", section 3.5.
    """

    def __init__(self, embed_dim: int, max_len: int | None = None) -> None:
        self.embed_dim = positive_int("SinusoidalPosition", "embed_dim", embed_dim)
        self.max_len = None if max_len is None else positive_int("SinusoidalPosition", "max_len", max_len)

    def forward(self, x: Any, offset: Any = 0) -> Any:
        """Add the waves."""
        _check_width("SinusoidalPosition", x, self.embed_dim)
        offset = _checked_offset("SinusoidalPosition", offset, x)
        _check_end("SinusoidalPosition", offset, x, self.max_len)
        frequencies = 10000.0 ** (-np.arange(0, self.embed_dim, 2) / self.embed_dim)
        cos, sin = _turns(offset, x, frequencies, x.dtype.name)
        waves = F.reshape(F.stack([sin, cos], -1), (*cos.shape[:-1], -1))
        return x + F.narrow(waves, -1, 0, self.embed_dim)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.embed_dim}" if self.max_len is None else f"{self.embed_dim}, max_len={self.max_len}"


class LearnedPosition(Module):
    """Adds a learned row for each position.

    The rows start normal with mean 0 and standard deviation 0.02.

    Parameters
    ----------
    max_len : int
        Rows, one for each position from 0 on.
    embed_dim : int
        E.
    dtype : dtype
        Of the rows.
    rng : Generator or int, optional
        Source of the initial values.

    Shapes
    ------
    x : (N, T, E)
    offset : position of the first step, or integers (T) or (N, T), positions of all steps
    weight : (max_len, E)
    output : (N, T, E)

    Raises
    ------
    ValueError
        If a shape does not fit, or there are more steps than rows.
    IndexError
        If one of the positions of all steps has no row.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.LearnedPosition(16, 4)(ml.zeros(2, 5, 4)).shape
    (2, 5, 4)

    References
    ----------
    Devlin et al. 2019, "BERT: pre-training of deep bidirectional transformers for language understanding" (the initial
    values).
    """

    def __init__(
        self, max_len: int, embed_dim: int, *, dtype: dtypes.DTypeLike = dtypes.float32, rng: Rng = None
    ) -> None:
        self.max_len = positive_int("LearnedPosition", "max_len", max_len)
        self.embed_dim = positive_int("LearnedPosition", "embed_dim", embed_dim)
        self.weight = Parameter(resolve(rng).normal(max_len, embed_dim, std=0.02, dtype=dtype))

    def forward(self, x: Any, offset: Any = 0) -> Any:
        """Add the rows."""
        _check_width("LearnedPosition", x, self.embed_dim)
        offset = _checked_offset("LearnedPosition", offset, x)
        _check_end("LearnedPosition", offset, x, self.max_len)
        if isinstance(offset, int):
            return x + F.narrow(self.weight, 0, offset, x.shape[1])
        return x + F.embedding(offset, self.weight)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.max_len}, {self.embed_dim}"


_LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")


class RotaryPosition(Module):
    """Turns queries and keys by angles that grow with the position, so that scores know distances.

        (a_i, b_i) -> (a_i cos - b_i sin, b_i cos + a_i sin)  of the angle t base^(-2 i / D)

    Parameters
    ----------
    head_dim : int
        D, even.
    base : float
        The longest wave has nearly ``2 pi base`` steps.
    interleaved : bool
        Whether a and b are neighbours (GPT-J), or b begins at D / 2 (GPT-NeoX, Llama).
    scaling : dict, optional
        Of Llama 3.1, for longer texts than those of the training: "factor", "low_freq_factor", "high_freq_factor" and
        "original_max_position_embeddings". Waves too long for the texts of the training become longer by the factor.

    Shapes
    ------
    x : (N, T, H, D), queries or keys
    offset : position of the first step, or integers (T) or (N, T), positions of all steps
    output : (N, T, H, D)

    Raises
    ------
    ValueError
        If D is odd, the base is not above 1, the scaling is not that of Llama 3, or a shape does not fit.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.RotaryPosition(8)(ml.ones(2, 5, 3, 8), offset=10).shape
    (2, 5, 3, 8)

    References
    ----------
    Su et al. 2021, "RoFormer: enhanced transformer with rotary position embedding"; Grattafiori et al. 2024, "The Llama
    3 herd of models" (scaling).
    """

    def __init__(
        self,
        head_dim: int,
        *,
        base: float = 10000.0,
        interleaved: bool = False,
        scaling: Mapping[str, Any] | None = None,
    ) -> None:
        self.head_dim = positive_int("RotaryPosition", "head_dim", head_dim)
        if head_dim % 2:
            raise ValueError(f"RotaryPosition: argument 'head_dim': expected an even number, got {head_dim}")
        if not (isinstance(base, (int, float)) and 1 < base < math.inf):
            raise ValueError(f"RotaryPosition: argument 'base': expected a number above 1, got {base!r}")
        self.base, self.interleaved = float(base), bool(interleaved)
        self.scaling = None if scaling is None else _checked_scaling(scaling)

    def forward(self, x: Any, offset: Any = 0) -> Any:
        """Turn the pairs."""
        check_rank("RotaryPosition", "x", x, "(N, T, H, D)")
        if x.shape[3] != self.head_dim:
            raise ValueError(f"RotaryPosition: argument 'x': expected {self.head_dim} features, got shape {x.shape}")
        offset = _checked_offset("RotaryPosition", offset, x)
        dtype = "float64" if x.dtype == dtypes.float64 else "float32"  # of the tables; halves are turned in float32
        turns = _turns(offset, x, self._frequencies(), dtype)
        return F.rotary(x, *turns, interleaved=self.interleaved)

    def _frequencies(self) -> NDArray[np.float64]:
        plain = self.base ** (-np.arange(0, self.head_dim, 2) / self.head_dim)
        if self.scaling is None:
            return plain
        factor, low, high, steps = (value for _, value in self.scaling)
        # Waves that fit into the old length `high` times stay, those that fit less than `low` times are stretched.
        share = np.clip((steps * plain / (2 * math.pi) - low) / (high - low), 0, 1)
        return np.asarray(plain * (share + (1 - share) / factor))

    def extra_repr(self) -> str:
        """Show the size and the options."""
        scaling = "" if self.scaling is None else f", scaling={dict(self.scaling)}"
        return f"{self.head_dim}, base={self.base}, interleaved={self.interleaved}{scaling}"


def _checked_scaling(scaling: Any) -> tuple[tuple[str, float], ...]:
    """Return names and numbers in order: what a file can hold, and dict() takes."""
    given = dict(scaling)
    kind = given.pop("rope_type", "llama3")
    if kind != "llama3" or set(given) != set(_LLAMA3):
        expected = f"a dict of {', '.join(_LLAMA3)}"
        raise ValueError(f"RotaryPosition: argument 'scaling': expected {expected} (rope_type 'llama3'), got {scaling}")
    found = tuple([(name, float(given[name])) for name in _LLAMA3])
    factor, low, high, steps = (value for _, value in found)
    if not (factor >= 1 and 0 < low < high and steps >= 1):
        raise ValueError(f"RotaryPosition: argument 'scaling': expected factor >= 1 and 0 < low < high, got {scaling}")
    return found
