"""A convolutional network on the embedded digits: two sizes of the image, two normalised convolutions at each."""

import time

import numpy as np

import mlext as ml
from mlext import nn


def digits(seed):
    """Images of 8 by 8 pixels with mean 0 and deviation 1, and labels: for training, for testing."""
    data = ml.datasets.load_digits()
    x, y = data.data.reshape(-1, 8, 8, 1), data.target
    x_train, x_test, y_train, y_test = ml.data.train_test_split(x, y, test_size=0.2, stratify=y, rng=seed)
    mean, deviation = x_train.mean(), x_train.std()
    return (x_train - mean) / deviation, (x_test - mean) / deviation, y_train, y_test


def network(rng):
    def convolution(channels, filters):
        return [nn.Conv2d(channels, filters, 3, padding=1, bias=False, rng=rng), nn.BatchNorm(filters), nn.ReLU()]

    return nn.Sequential(
        *convolution(1, 32),
        *convolution(32, 32),
        nn.MaxPool2d(2),
        *convolution(32, 64),
        *convolution(64, 64),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3, rng=rng),
        nn.Linear(256, 10, rng=rng),
    )


def train(seed, epochs=30):
    """Return the share of test images that are recognised."""
    x_train, x_test, y_train, y_test = digits(seed)
    model = network(ml.random.Generator(seed))
    optimizer = ml.optim.AdamW(model.parameters(), lr=2e-3)
    trainer = ml.training.Trainer(model, "cross_entropy", optimizer, seed=seed)
    trainer.fit(x_train, y_train, epochs=epochs, batch_size=64, verbose=0)
    return float(np.mean(ml.fuse(model).predict(x_test).argmax(-1) == y_test))


def main():
    found = []
    for seed in range(5):
        began = time.perf_counter()
        found.append(train(seed))
        print(f"seed {seed}: test accuracy {found[-1]:.4f} after {time.perf_counter() - began:.1f} s")
    print(f"mean {np.mean(found):.4f}")
    return found


if __name__ == "__main__":
    main()
