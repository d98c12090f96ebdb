"""XOR with a 2-3-1 network: no line separates the classes, a hidden layer of three units does."""

import numpy as np

import mlext as ml

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "f")
Y = np.array([[0], [1], [1], [0]], "f")


def main():
    ml.manual_seed(1)
    model = ml.nn.Sequential(ml.nn.Linear(2, 3), ml.nn.Tanh(), ml.nn.Linear(3, 1), ml.nn.Sigmoid())
    trainer = ml.training.Trainer(
        model, "binary_cross_entropy", ml.optim.Adam(model.parameters(), lr=0.05), metrics=["accuracy"]
    )
    history = trainer.fit(X, Y, epochs=500, batch_size=4, verbose=0)
    for epoch in (0, 99, 499):
        print(f"epoch {epoch + 1:>3}  loss {history['loss'][epoch]:.4f}  accuracy {history['accuracy'][epoch]:.2f}")
    predicted = trainer.predict(X)
    for (a, b), p in zip(X, predicted[:, 0], strict=True):
        print(f"{a:.0f} xor {b:.0f} = {p:.3f}")
    return predicted


if __name__ == "__main__":
    main()
