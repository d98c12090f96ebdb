"""The two networks that tutorials begin with: one convolution for 28 by 28 grey images, three for 32 by 32 in colour.

The data here are the embedded digits, enlarged; ``mlext.datasets`` reads MNIST and CIFAR-10 for the real ones.
"""

import time

import numpy as np

import mlext as ml
from mlext import nn


def grey(rng):
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(13 * 13 * 32, 10, rng=rng),
    )


def colour(rng):
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, rng=rng),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 4 * 64, 64, rng=rng),
        nn.ReLU(),
        nn.Linear(64, 10, rng=rng),
    )


def train(make, size, channels, epochs=4):
    """Return the share of test images that are recognised."""
    data = ml.datasets.load_digits()
    x = ml.functional.interpolate((data.data.reshape(-1, 8, 8, 1) / 16).astype("f"), size, mode="bilinear")
    x = np.repeat(x, channels, axis=3)
    x_train, x_test, y_train, y_test = ml.data.train_test_split(x, data.target, test_size=0.2, rng=0)
    model = make(ml.random.Generator(0))
    optimizer = ml.optim.Adam(model.parameters(), lr=1e-3)
    trainer = ml.training.Trainer(model, "cross_entropy", optimizer, metrics=["accuracy"], seed=0)
    trainer.fit(x_train, y_train, epochs=epochs, batch_size=32, verbose=0)
    return trainer.evaluate(x_test, y_test)["accuracy"]


def main():
    found = {}
    for make, size, channels in ((grey, 28, 1), (colour, 32, 3)):
        began = time.perf_counter()
        found[make.__name__] = train(make, size, channels)
        print(f"{make.__name__}: test accuracy {found[make.__name__]:.3f} after {time.perf_counter() - began:.1f} s")
    return found


if __name__ == "__main__":
    main()
