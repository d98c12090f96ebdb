"""Linear regression: the line through 100 points of y = 2x + 1 + noise.

First gradient descent by hand, then the same line as a network of one unit, 1,000 epochs of SGD on the mean squared
error. Both must arrive at the least-squares solution.
"""

import numpy as np

import mlext as ml


def make_points(count=100):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, count)
    return x, 2 * x + 1 + rng.normal(0, 0.1, count)


def by_hand(x, y, lr=0.3, steps=200):
    """Minimise mean((w x + b - y)^2); its gradient is 2 mean(error x), 2 mean(error)."""
    w = b = 0.0
    for _ in range(steps):
        error = w * x + b - y
        w -= lr * 2 * np.mean(error * x)
        b -= lr * 2 * np.mean(error)
    return w, b


def as_network(x, y):
    model = ml.nn.Linear(1, 1, rng=0)
    trainer = ml.training.Trainer(model, "mse", ml.optim.SGD(model.parameters(), lr=0.1), seed=0)
    history = trainer.fit(x[:, None].astype("f"), y[:, None], epochs=1000, batch_size=100, shuffle=False, verbose=0)
    return model.weight.item(), model.bias.item(), history


def main():
    x, y = make_points()
    best_w, best_b = np.polyfit(x, y, 1)
    w, b = by_hand(x, y)
    unit_w, unit_b, history = as_network(x, y)
    print(f"least squares     y = {best_w:.4f} x + {best_b:.4f}")
    print(f"gradient descent  y = {w:.4f} x + {b:.4f}")
    print(f"one-unit network  y = {unit_w:.4f} x + {unit_b:.4f}")
    print(f"loss of the network: {history['loss'][0]:.4f} -> {history['loss'][-1]:.4f}, noise variance 0.0100")
    return (best_w, best_b), (w, b), (unit_w, unit_b)


if __name__ == "__main__":
    main()
