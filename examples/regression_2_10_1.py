"""Regression with a 2-10-1 network: ReLU, standardised data, training and test error in the target's unit."""

import numpy as np

import mlext as ml
from mlext.data import StandardScaler, train_test_split


def make_houses(count=400):
    """Price in thousands from area in square metres and age in years: not a plane."""
    rng = np.random.default_rng(0)
    area, age = rng.uniform(30, 200, count), rng.uniform(0, 80, count)
    price = 40 + 2.2 * area + 60 * np.abs(age - 40) / 40 + rng.normal(0, 10, count)
    return np.stack([area, age], axis=1), price[:, None]


def main():
    ml.manual_seed(0)
    x, y = make_houses()
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, rng=0)
    inputs, prices = StandardScaler().fit(x_train), StandardScaler().fit(y_train)

    model = ml.nn.Sequential(ml.nn.Linear(2, 10), ml.nn.ReLU(), ml.nn.Linear(10, 1))
    trainer = ml.training.Trainer(model, "mse", ml.optim.Adam(model.parameters(), lr=0.01), seed=0)
    trainer.fit(inputs.transform(x_train), prices.transform(y_train), epochs=150, verbose=0)

    print(model.summary((1, 2)))
    errors = {}
    for name, features, target in (("training", x_train, y_train), ("test", x_test, y_test)):
        predicted = prices.inverse_transform(trainer.predict(inputs.transform(features)))
        errors[name] = ml.metrics.rmse(predicted, target)
        print(
            f"{name:<9} root mean squared error {errors[name]:.1f} thousand, R2 {ml.metrics.r2(predicted, target):.3f}"
        )
    plane = np.linalg.lstsq(np.c_[x_train, np.ones(len(x_train))], y_train, rcond=None)[0]
    errors["plane"] = ml.metrics.rmse(np.c_[x_test, np.ones(len(x_test))] @ plane, y_test)
    print(f"a plane (linear regression) has {errors['plane']:.1f} on the test data; the noise alone is 10")
    return errors


if __name__ == "__main__":
    main()
