"""The recurrent networks that tutorials begin with: one layer, two, plain with relu, with attention on top."""

import time

import numpy as np

import mlext as ml
from mlext import nn


def waves(rng):
    """32 steps of 3 features: the class is which of them is the fastest wave."""
    y = rng.integers(0, 3, 1200)
    speed = np.where(np.arange(3) == y[:, None], 1.2, 0.6) + rng.normal(0, 0.1, (1200, 3))
    x = np.sin(speed[:, None] * np.arange(32)[:, None] + rng.uniform(0, 6, (1200, 1, 3)))
    return x, y


def steps(rng):
    """10 steps of 1 feature: the class is whether the next one is higher."""
    t = np.arange(1200)[:, None]
    x, y = ml.data.sliding_windows(np.sin(0.4 * t) + np.sin(0.93 * t), 10)
    return x, (y[:, 0, 0] > x[:, -1, 0]).astype(int)


def rows(rng):
    """28 rows of an image, 28 pixels each: the embedded digits, enlarged."""
    data = ml.datasets.load_digits()
    images = data.data.reshape(-1, 8, 8, 1).astype("f") / 16
    return ml.functional.interpolate(images, 28, mode="bilinear")[..., 0], data.target


def markers(rng):
    """40 words of 50: the class is the word, one of four, behind the word 0, which may be anywhere."""
    x, y = rng.integers(5, 50, (2000, 40)), rng.integers(1, 5, 2000)
    place = np.arange(2000), rng.integers(0, 39, 2000)
    x[place], x[place[0], place[1] + 1] = 0, y
    return x, y - 1


class Attending(nn.Module):
    """Every step looks at all the others; the mean of what they saw is what is known in the end."""

    def __init__(self, rng):
        self.lstm = nn.Sequential(nn.Embedding(50, 16, rng=rng), nn.LSTM(16, 100, rng=rng))
        self.attention, self.head = nn.AdditiveAttention(100, 100, 32, rng=rng), nn.Linear(100, 4, rng=rng)

    def forward(self, x):
        y, _ = self.lstm(x)
        return self.head(self.attention(y, y)[0].mean(1))


def last(recurrent, classes, rng):
    return nn.Sequential(recurrent, nn.LastStep(), nn.Linear(recurrent.hidden_size, classes, rng=rng))


NETWORKS = {
    "LSTM 32 on (32, 3)": (12, waves, lambda r: last(nn.LSTM(3, 32, rng=r), 3, r)),
    "LSTM 64, 64 on (10, 1)": (12, steps, lambda r: last(nn.LSTM(1, 64, 2, rng=r), 2, r)),
    "RNN 100 relu on (28, 28)": (30, rows, lambda r: last(nn.RNN(28, 100, nonlinearity="relu", rng=r), 10, r)),
    "LSTM 100 with attention": (6, markers, Attending),
}


def main():
    found, split = {}, ml.data.train_test_split
    for name, (epochs, make_data, make) in NETWORKS.items():
        x_train, x_test, y_train, y_test = split(*make_data(np.random.default_rng(0)), test_size=0.2, rng=0)
        model, began = make(ml.random.Generator(0)), time.perf_counter()
        adam = ml.optim.Adam(model.parameters(), lr=2e-3)
        trainer = ml.training.Trainer(model, "cross_entropy", adam, ["accuracy"], clip_norm=1.0, seed=0)
        trainer.fit(x_train, y_train, epochs=epochs, verbose=0)
        found[name] = trainer.evaluate(x_test, y_test)["accuracy"]
        print(f"{name:<26} test accuracy {found[name]:.3f} after {time.perf_counter() - began:.1f} s")
    return found


if __name__ == "__main__":
    main()
