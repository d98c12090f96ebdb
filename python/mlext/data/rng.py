"""Random generators: from a seed, and to and from plain data for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["as_generator", "get_state", "set_state"]


def as_generator(rng: np.random.Generator | int | None) -> np.random.Generator:
    """Return ``rng`` itself, a generator seeded by an integer, or a freshly seeded one.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        For a negative seed.

    Examples
    --------
    >>> int(as_generator(3).integers(100)) == int(as_generator(3).integers(100))
    True
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is None:
        return np.random.default_rng()
    if isinstance(rng, bool) or not isinstance(rng, int | np.integer):
        raise TypeError(f"argument 'rng': expected numpy.random.Generator, int or None, got {type(rng).__name__}")
    if rng < 0:
        raise ValueError(f"argument 'rng': expected a seed >= 0, got {rng}")
    return np.random.default_rng(int(rng))


def get_state(rng: np.random.Generator) -> dict[str, Any]:
    """Return a generator's state as dicts, lists, strings and ints, fit for JSON.

    Examples
    --------
    >>> import json
    >>> rng = np.random.Generator(np.random.Philox(1))
    >>> text = json.dumps(get_state(rng))
    >>> before = rng.random(3)
    >>> set_state(rng, json.loads(text))
    >>> bool((rng.random(3) == before).all())
    True
    """
    state: dict[str, Any] = _plain(rng.bit_generator.state)
    return state


def set_state(rng: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Put a generator into a state from `get_state`.

    Raises
    ------
    ValueError
        If the state is of another kind of generator, or malformed.
    """
    kind = type(rng.bit_generator).__name__
    if not isinstance(state, Mapping) or state.get("bit_generator") != kind:
        got = state.get("bit_generator") if isinstance(state, Mapping) else type(state).__name__
        raise ValueError(f"set_state: expected the state of a {kind} generator, got {got!r}")
    try:
        rng.bit_generator.state = _arrays(state)
    except (KeyError, TypeError, IndexError, OverflowError) as error:
        raise ValueError(f"set_state: the state of {kind} is malformed: {error!r}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return [int(item) for item in value]
    return int(value) if isinstance(value, np.integer) else value


def _arrays(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _arrays(item) for key, item in value.items()}
    return np.array(value, np.uint64) if isinstance(value, list) else value
