"""Around recurrent layers: the last step, every step, both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlext import functional as F
from mlext.functional._geometry import check_rank
from mlext.functional._recurrence import checked_lengths
from mlext.nn._recurrent import steps_of
from mlext.nn.module import Module
from mlext.nn.recurrent import _Recurrent
from mlext.nn.residual import _checked
from mlext.random import Rng, resolve


class LastStep(Module):
    """What a recurrent layer has read in the end: its last step, whatever the lengths were.

    In both directions that is the last step of the one beside the first step of the other.

    Shapes
    ------
    x : (y, state) of a recurrent layer, or (N, T, H)
    lengths : (N), optional, for (N, T, H) alone
    output : (N, H), of the layer (N, D H)

    Raises
    ------
    ValueError
        If ``lengths`` come with a state, which knows them, or are not from 1 to T.

    Examples
    --------
    >>> import mlext as ml
    >>> model = ml.nn.Sequential(ml.nn.LSTM(3, 32), ml.nn.LastStep(), ml.nn.Linear(32, 1))
    >>> model(ml.ones(2, 5, 3)).shape
    (2, 1)
    """

    def forward(self, x: Any, lengths: Any = None) -> Any:
        """Pick the step."""
        if not isinstance(x, tuple):
            return _picked(x, lengths)
        if lengths is not None:
            raise ValueError("LastStep: argument 'lengths': expected None with a state; give them to the layer")
        y, state = x
        h = state[0] if isinstance(state, tuple) else state
        directions = y.shape[2] // h.shape[2]
        last = [h[i] for i in range(len(h) - directions, len(h))]
        return last[0] if directions == 1 else F.concat(last, -1)


def _picked(x: Any, lengths: Any) -> Any:
    check_rank("LastStep", "x", x, "(N, T, H)")
    if x.shape[1] == 0:
        raise ValueError(f"LastStep: argument 'x': expected at least one step, got shape {x.shape}")
    if lengths is None:
        return x[:, -1]
    n, _, units = x.shape
    at = F.reshape(checked_lengths("LastStep", lengths, x) - 1, (n, 1, 1))
    return F.squeeze(F.take_along_axis(x, F.broadcast_to(at, (n, 1, units)), 1), 1)


class TimeDistributed(Module):
    """A module applied to every step by itself.

    Parameters
    ----------
    module : Module
        Gets the steps of all sequences as samples.

    Shapes
    ------
    x : (N, T, ...), or what a recurrent layer returned: its y
    output : (N, T, ...) with what the module makes of a step

    Raises
    ------
    ValueError
        If x has fewer than two axes.

    Examples
    --------
    >>> import mlext as ml
    >>> frames = ml.nn.TimeDistributed(ml.nn.Sequential(ml.nn.Conv2d(1, 4, 3, rng=0), ml.nn.Flatten()))
    >>> frames(ml.ones(2, 5, 6, 6, 1)).shape
    (2, 5, 64)
    """

    def __init__(self, module: Module) -> None:
        self.module = _checked("TimeDistributed", "module", module)

    def forward(self, x: Any) -> Any:
        """Fold the steps into the samples, apply, and unfold."""
        x = steps_of(x)
        if x.ndim < 2:
            raise ValueError(f"TimeDistributed: argument 'x': expected shape (N, T, ...), got {x.shape}")
        n, steps, *rest = x.shape
        out = self.module(F.reshape(x, (n * steps, *rest)))
        return F.reshape(out, (n, steps, *out.shape[1:]))


MERGES: dict[str, Callable[[Any, Any], Any]] = {
    "concat": lambda a, b: F.concat([a, b], 2),
    "sum": F.add,
    "mul": F.mul,
    "ave": lambda a, b: F.mul(F.add(a, b), 0.5),
}


class Bidirectional(Module):
    """A recurrent layer and its twin, which reads from the end on.

    A layer with ``bidirectional=True`` has both directions side by side in every layer of its stack. This one joins two
    whole stacks, and can add, multiply or average them.

    Parameters
    ----------
    layer : RNN, GRU or LSTM
        Reads from the first step on; of one direction.
    merge : {"concat", "sum", "mul", "ave"}
        How y of both, and their last states, become one.
    rng : Generator or int, optional
        Source of the twin's initial values.

    Shapes
    ------
    x : (N, T, C), or what a recurrent layer returned: its y
    lengths : (N), optional
    output : y (N, T, H) and the last state (L, N, H), of LSTM a pair; 2 H for "concat"

    Raises
    ------
    TypeError
        If ``layer`` is no recurrent layer.
    ValueError
        If it is bidirectional already, or ``merge`` is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> y, h = ml.nn.Bidirectional(ml.nn.GRU(3, 4), "sum")(ml.ones(2, 5, 3))
    >>> y.shape, h.shape
    ((2, 5, 4), (1, 2, 4))

    References
    ----------
    Schuster and Paliwal 1997, "Bidirectional recurrent neural networks".
    """

    def __init__(self, layer: Module, merge: str = "concat", *, rng: Rng = None) -> None:
        if not isinstance(layer, _Recurrent):
            raise TypeError(f"Bidirectional: argument 'layer': expected RNN, GRU or LSTM, got {type(layer).__name__}")
        if layer.bidirectional:
            raise ValueError("Bidirectional: argument 'layer': expected a layer of one direction, got both")
        if merge not in MERGES:
            raise ValueError(f"Bidirectional: argument 'merge': expected one of {', '.join(MERGES)}, got {merge!r}")
        self.layer, self.merge = layer, merge
        self.reverse = type(layer)(**layer.config(), rng=resolve(rng))
        self.reverse._backwards = True

    def forward(self, x: Any, lengths: Any = None) -> Any:
        """Return both directions as one."""
        (y, state), (other, last) = self.layer(x, lengths=lengths), self.reverse(x, lengths=lengths)
        merge = MERGES[self.merge]
        if isinstance(state, tuple):
            return merge(y, other), tuple([merge(a, b) for a, b in zip(state, last, strict=True)])
        return merge(y, other), merge(state, last)

    def extra_repr(self) -> str:
        """Show how they are joined."""
        return f"merge={self.merge!r}"
