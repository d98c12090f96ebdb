"""Logistic regression: one sigmoid unit and binary cross-entropy separate two clouds of points."""

import numpy as np

import mlext as ml


def make_clouds(count=200):
    rng = np.random.default_rng(0)
    label = np.arange(count) % 2
    centre = np.where(label[:, None] == 1, (1.0, 1.5), (-1.0, -0.5))
    return (centre + rng.normal(0, 0.8, (count, 2))).astype("f"), label[:, None].astype("f")


def main():
    x, y = make_clouds()
    model = ml.nn.Sequential(ml.nn.Linear(2, 1, rng=0), ml.nn.Sigmoid())
    trainer = ml.training.Trainer(
        model,
        "binary_cross_entropy",
        ml.optim.SGD(model.parameters(), lr=0.5),
        metrics=["accuracy"],
        seed=0,
    )
    history = trainer.fit(x[:150], y[:150], epochs=60, validation_data=(x[150:], y[150:]), verbose=0)
    weight, bias = model[0].weight.detach().numpy()[0], model[0].bias.item()
    print(f"probability of class 1: sigmoid({weight[0]:.2f} x1 + {weight[1]:.2f} x2 + {bias:.2f})")
    print("boundary: where the argument is 0")
    for epoch in (0, 4, 19, 59):
        print(
            f"epoch {epoch + 1:>2}  loss {history['loss'][epoch]:.3f}  "
            f"accuracy {history['accuracy'][epoch]:.3f}  test accuracy {history['val_accuracy'][epoch]:.3f}"
        )
    return history


if __name__ == "__main__":
    main()
