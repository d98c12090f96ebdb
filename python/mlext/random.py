"""Random numbers: a counter-based generator whose state is memory, so that a captured step draws new numbers at every
replay.

Algorithm: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). The same seed gives the
same numbers at every ISA level and thread count.
"""

from __future__ import annotations

import threading
from typing import Any, TypeAlias

import numpy as np

from mlext import _C, dtypes
from mlext.tensor import Tensor, as_shape


class Generator:
    """A stream of random numbers.

    Parameters
    ----------
    seed : int, optional
        Where the stream starts; drawn from the operating system if not given.

    Examples
    --------
    >>> import mlext as ml
    >>> a, b = ml.random.Generator(7), ml.random.Generator(7)
    >>> bool((a.normal(3) == b.normal(3)).all())
    True
    """

    def __init__(self, seed: int | None = None) -> None:
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise TypeError(f"Generator: argument 'seed': expected an int, got {type(seed).__name__}")
        self.state = Tensor(np.array([int(seed) % 2**64, 0], np.uint64).view(np.int64))

    def get_state(self) -> list[int]:
        """Return the seed and the position as two ints."""
        return [int(n) for n in self.state.numpy()]

    def set_state(self, state: list[int]) -> None:
        """Go back to a position from :meth:`get_state`; captured programs that use this generator follow."""
        _C.copy_(self.state, np.array(state, np.int64))

    def uniform(self, *shape: Any, low: float = 0.0, high: float = 1.0, dtype: dtypes.DTypeLike = "float32") -> Tensor:
        """Draw from ``[low, high)``."""
        return _C.random_uniform(self.state, as_shape("uniform", shape), low, high, dtype)

    def normal(self, *shape: Any, mean: float = 0.0, std: float = 1.0, dtype: dtypes.DTypeLike = "float32") -> Tensor:
        """Draw from the normal distribution."""
        return _C.random_normal(self.state, as_shape("normal", shape), mean, std, dtype)

    def bernoulli(self, *shape: Any, p: float, dtype: dtypes.DTypeLike = "float32") -> Tensor:
        """Draw 1 with probability ``p``, else 0."""
        return _C.random_bernoulli(self.state, as_shape("bernoulli", shape), p, dtype)

    def integers(self, low: int, high: int, shape: Any = ()) -> Tensor:
        """Draw int64 values from ``low`` to ``high - 1``."""
        return _C.random_integers(self.state, as_shape("integers", (shape,)), low, high)

    def permutation(self, n: int) -> Tensor:
        """Return the ints 0 to ``n - 1`` in random order."""
        return _C.random_permutation(self.state, n)


Rng: TypeAlias = Generator | int | None  # what a call that draws accepts: resolve() makes a Generator of it


_default: Generator | None = None
_lock = threading.Lock()


def default_generator() -> Generator:
    """Return the generator that functions without ``rng=`` draw from."""
    global _default
    with _lock:
        if _default is None:
            _default = Generator()
        return _default


def manual_seed(seed: int) -> Generator:
    """Restart the default generator at ``seed`` and return it.

    Examples
    --------
    >>> import mlext as ml
    >>> _ = ml.manual_seed(0)
    """
    generator = default_generator()
    generator.set_state(Generator(seed).get_state())
    return generator


def resolve(rng: Generator | int | None) -> Generator:
    """``rng=`` arguments: a generator, a seed for a new one, or None for the default."""
    if rng is None:
        return default_generator()
    if isinstance(rng, Generator):
        return rng
    if _C.is_capturing():
        raise RuntimeError("compile: rng=<int> would restart at every replay; pass a Generator")
    return Generator(rng)
