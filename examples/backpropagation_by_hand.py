"""Back-propagation by hand, line by line, and the same gradients from the tape.

Network: h = tanh(x W1^T + b1), p = h W2^T + b2, loss = mean((p - y)^2). Going back, the chain rule turns the
gradient of each value into that of the values it was made from.
"""

import numpy as np

import mlext as ml


def forward_and_backward(x, y, w1, b1, w2, b2):
    h = np.tanh(x @ w1.T + b1)
    p = h @ w2.T + b2
    loss = np.mean((p - y) ** 2)
    dp = 2 * (p - y) / p.size  # loss = mean((p - y)^2)
    dw2, db2 = dp.T @ h, dp.sum(axis=0)  # p = h W2^T + b2
    dh = dp @ w2
    dz = dh * (1 - h**2)  # tanh' = 1 - tanh^2
    dw1, db1 = dz.T @ x, dz.sum(axis=0)  # z = x W1^T + b1
    return loss, [dw1, db1, dw2, db2]


def main():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    values = [rng.normal(size=shape) for shape in ((4, 3), (4,), (2, 4), (2,))]
    loss, by_hand = forward_and_backward(x, y, *values)

    w1, b1, w2, b2 = leaves = [ml.tensor(value, requires_grad=True) for value in values]
    h = ml.functional.tanh(ml.tensor(x) @ w1.T + b1)
    taped = ((h @ w2.T + b2 - y) ** 2).mean()
    taped.backward()

    print(f"loss by hand {loss:.15f}, from the tape {taped.item():.15f}")
    differences = []
    for name, mine, leaf in zip(("W1", "b1", "W2", "b2"), by_hand, leaves, strict=True):
        differences.append(float(np.abs(mine - leaf.grad.numpy()).max()))
        print(f"gradient of {name}: largest difference {differences[-1]:.1e} of {np.abs(mine).max():.3f}")
    return differences


if __name__ == "__main__":
    main()
