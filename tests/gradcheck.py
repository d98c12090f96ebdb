"""Gradients by one random direction d: (f(x + h d) - f(x - h d)) / 2h against the tape."""

import numpy as np

import mlext as ml


def check_gradient(fn, *arrays, rng=0, step=1e-5, rtol=1e-6, atol=1e-9, parameters=()):
    """Check the gradient of ``fn(*arrays)`` for every array, and for Tensors that ``fn`` uses.

    ``fn`` takes Tensors and returns a Tensor of any shape; what is checked is the derivative of a
    random weighted sum of its elements. The arrays should be away from kinks. If the derivative
    along one direction in the space of all arguments is wrong, every argument is tried alone, so
    that the message names the culprit.
    """
    rng = np.random.default_rng(rng)
    arrays = [np.asarray(a, np.float64) for a in arrays]
    parameters = list(parameters)
    values = arrays + [p.numpy().copy() for p in parameters]
    with ml.no_grad():
        weights = rng.standard_normal(fn(*[ml.tensor(a) for a in arrays]).shape)

    def run(at, tracked):
        inputs = [ml.tensor(a, requires_grad=tracked) for a in at[: len(arrays)]]
        for p, value in zip(parameters, at[len(arrays) :], strict=True):
            ml._C.copy_(p, value)
            p.grad = None
        return inputs, (fn(*inputs) * ml.tensor(weights)).sum()

    def directional(directions):
        def value(h):
            moved = [v + h * d for v, d in zip(values, directions, strict=True)]
            with ml.no_grad():
                return run(moved, False)[1].item()

        return (value(step) - value(-step)) / (2 * step)

    inputs, total = run(values, True)
    total.backward()
    gradients = [
        np.zeros(v.shape) if t.grad is None else t.grad.numpy().copy()
        for t, v in zip([*inputs, *parameters], values, strict=True)
    ]
    for gradient, value in zip(gradients, values, strict=True):
        assert gradient.shape == value.shape

    directions = [rng.standard_normal(v.shape) for v in values]
    if _agrees(directional(directions), gradients, directions, rtol, atol):
        return
    for i in range(len(values)):
        alone = [d if j == i else np.zeros_like(d) for j, d in enumerate(directions)]
        expected, got = directional(alone), _along(gradients, alone)
        kind = f"argument {i}" if i < len(arrays) else f"parameter {i - len(arrays)}"
        assert _agrees(expected, gradients, alone, rtol, atol), f"{kind}: expected {expected}, got {got}"
    raise AssertionError(f"expected {directional(directions)}, got {_along(gradients, directions)}")


def _along(gradients, directions):
    return float(sum((g * d).sum() for g, d in zip(gradients, directions, strict=True)))


def _agrees(expected, gradients, directions, rtol, atol):
    got = _along(gradients, directions)
    # The difference quotient carries rounding of the order of the terms it cancels.
    scale = max(abs(expected), abs(got))
    return abs(expected - got) <= rtol * scale + atol
