"""Over-fitting, and four cures: L1, L2, dropout, early stopping.

A network with far more parameters than the 30 noisy points it learns fits the noise; what it says about new points
gets worse.
"""

import numpy as np

import mlext as ml


def make_points(count, seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (count, 1))
    return x.astype("f"), (np.sin(3 * x) + rng.normal(0, 0.35, x.shape)).astype("f")


def train(dropout=0.0, stop=False, epochs=1500, **options):
    """Return the last loss on the training points, on new points, and the number of epochs."""
    ml.manual_seed(0)
    model = ml.nn.Sequential(
        ml.nn.Linear(1, 64), ml.nn.Tanh(), ml.nn.Dropout(dropout),
        ml.nn.Linear(64, 64), ml.nn.Tanh(), ml.nn.Dropout(dropout), ml.nn.Linear(64, 1),
    )  # fmt: skip
    stopping = ml.training.EarlyStopping(patience=100, restore_best_weights=True)
    trainer = ml.training.Trainer(
        model,
        "mse",
        ml.optim.Adam(model.parameters(), lr=0.01),
        callbacks=[stopping] if stop else [],
        seed=0,
        **options,
    )
    points, new = make_points(30, 0), make_points(500, 1)
    history = trainer.fit(
        *points, epochs=epochs, batch_size=30, validation_data=make_points(100, 2) if stop else None, verbose=0
    )
    return trainer.evaluate(*points)["loss"], trainer.evaluate(*new)["loss"], len(history)


def main():
    cases = {
        "no cure": {},
        "L1 0.003": {"l1": 0.003},
        "L2 0.02": {"l2": 0.02},
        "dropout 0.3": {"dropout": 0.3},
        "early stopping": {"stop": True},
    }
    print(f"{'':<16}{'training loss':>14}{'loss on new points':>20}{'epochs':>8}    (noise variance 0.1225)")
    found = {}
    for name, options in cases.items():
        fitted, new, epochs = found[name] = train(**options)
        print(f"{name:<16}{fitted:>14.3f}{new:>20.3f}{epochs:>8}")
    return found


if __name__ == "__main__":
    main()
