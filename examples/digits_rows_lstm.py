"""The embedded digits, read row by row: an LSTM from the top down, and one in both directions."""

import time

import numpy as np

import mlext as ml


def train(seed, both, epochs=20):
    """Return the share of test images that are recognised."""
    data = ml.datasets.load_digits()
    x = ((data.data - data.data.mean()) / data.data.std()).reshape(-1, 8, 8)  # 8 steps of 8 pixels
    parts = ml.data.train_test_split(x, data.target, test_size=0.2, stratify=data.target, rng=seed)
    x_train, x_test, y_train, y_test = parts
    model = ml.models.SequenceClassifier(8, 10, 64, bidirectional=both, rng=seed)
    optimizer = ml.optim.Adam(model.parameters(), lr=4e-3)
    trainer = ml.training.Trainer(model, "cross_entropy", optimizer, seed=seed)
    trainer.fit(x_train, y_train, epochs=epochs, batch_size=32, verbose=0)
    return float(np.mean(model.predict(x_test).argmax(-1) == y_test))


def main():
    found = {}
    for name, both in (("one direction", False), ("both directions", True)):
        began = time.perf_counter()
        found[name] = [train(seed, both) for seed in range(5)]
        seconds = (time.perf_counter() - began) / 5
        shares = " ".join(f"{share:.3f}" for share in found[name])
        print(f"{name}: test accuracy {shares}, mean {np.mean(found[name]):.4f}, {seconds:.1f} s each")
    return found


if __name__ == "__main__":
    main()
