"""Batch, stochastic and mini-batch gradient descent side by side.

The same model, data and number of epochs; only the number of samples per update differs. Few large batches make few
smooth steps; single samples make many noisy ones; mini-batches are in between.
"""

import time

import numpy as np

import mlext as ml


def make_data(count=256):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 3)).astype("f")
    y = x @ np.array([[1.0], [-2.0], [0.5]], "f") + 0.3 + rng.normal(0, 0.1, (count, 1))
    return x, y.astype("f")


def train(x, y, batch_size, lr=0.02, epochs=20):
    model = ml.nn.Linear(3, 1, rng=0)
    steps = []
    trainer = ml.training.Trainer(
        model,
        "mse",
        ml.optim.SGD(model.parameters(), lr=lr),
        callbacks=[ml.training.LambdaCallback(on_batch_end=lambda step, logs: steps.append(logs["loss"]))],
        seed=0,
    )
    began = time.perf_counter()
    history = trainer.fit(x, y, epochs=epochs, batch_size=batch_size, verbose=0)
    seconds = time.perf_counter() - began
    roughness = float(np.mean(np.abs(np.diff(steps[-len(steps) // 4 :]))))
    return len(steps), history["loss"], roughness, seconds


def main():
    x, y = make_data()
    print(f"{'method':<12}{'batch':>6}{'updates':>9}{'loss, epoch 1':>15}{'5':>9}{'20':>9}{'roughness':>11}{'ms':>7}")
    found = {}
    for name, batch_size in (("batch", len(x)), ("mini-batch", 32), ("stochastic", 1)):
        updates, losses, roughness, seconds = found[name] = train(x, y, batch_size)
        print(
            f"{name:<12}{batch_size:>6}{updates:>9}{losses[0]:>15.4f}{losses[4]:>9.4f}{losses[-1]:>9.4f}"
            f"{roughness:>11.4f}{seconds * 1e3:>7.0f}"
        )
    return found


if __name__ == "__main__":
    main()
