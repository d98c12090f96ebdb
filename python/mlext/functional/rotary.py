"""Rotary positions: pairs of features turned by angles that grow with the position."""

from __future__ import annotations

from typing import Any

from mlext.functional._common import ArrayLike
from mlext.functional._geometry import check_rank
from mlext.functional.arithmetic import add, mul, sub
from mlext.functional.shape import concat, expand_dims, reshape, split, squeeze, stack


def rotary(x: ArrayLike, cos: ArrayLike, sin: ArrayLike, *, interleaved: bool = False) -> Any:
    """Turn each pair of features by an angle: ``(a, b)`` becomes ``(a cos - b sin, b cos + a sin)``.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, T, H, D)
        Queries or keys; D is even.
    cos, sin : Tensor or ndarray, shape (T, D / 2) or (N, T, D / 2)
        Of the angle of each pair at each step; of the dtype of x.
    interleaved : bool
        Whether pairs are neighbours, features 2 i and 2 i + 1, or features i and i + D / 2.

    Returns
    -------
    Tensor or ndarray, shape (N, T, H, D)

    Raises
    ------
    ValueError
        If a shape does not fit.

    Examples
    --------
    >>> import mlext as ml
    >>> x = ml.tensor([[[[1.0, 2.0]]]])
    >>> ml.functional.rotary(x, ml.zeros(1, 1), ml.ones(1, 1)).tolist()
    [[[[-2.0, 1.0]]]]

    References
    ----------
    Su et al. 2021, "RoFormer: enhanced transformer with rotary position embedding".
    """
    check_rank("rotary", "x", x, "(N, T, H, D)")
    n, steps, heads, width = x.shape
    if width % 2:
        raise ValueError(f"rotary: argument 'x': expected an even number of features, got shape {x.shape}")
    for name, table in (("cos", cos), ("sin", sin)):
        if tuple(table.shape) not in ((steps, width // 2), (n, steps, width // 2)):
            expected = f"({steps}, {width // 2}) or ({n}, {steps}, {width // 2})"
            raise ValueError(f"rotary: argument '{name}': expected shape {expected}, got {table.shape}")
    cos, sin = expand_dims(cos, -2), expand_dims(sin, -2)
    if interleaved:
        a, b = (squeeze(part, 4) for part in split(reshape(x, (n, steps, heads, width // 2, 2)), 2, 4))
    else:
        a, b = split(x, 2, 3)
    turned = [sub(mul(a, cos), mul(b, sin)), add(mul(b, cos), mul(a, sin))]
    return reshape(stack(turned, 4), x.shape) if interleaved else concat(turned, 3)
