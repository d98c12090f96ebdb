"""Digits through a bottleneck and back: a convolutional autoencoder removes noise that it never saw twice."""

import numpy as np

import mlext as ml


def main():
    ml.manual_seed(0)
    x = ml.datasets.load_digits().data.reshape(-1, 8, 8, 1) / 16
    clean, test = x[:1500].astype("f"), x[1500:].astype("f")
    rng = np.random.default_rng(0)
    model = ml.models.conv_autoencoder(widths=(32, 16), rng=0)
    optimizer = ml.optim.Adam(model.parameters(), lr=3e-3)

    @ml.compile
    def step(noisy, target):
        loss = ml.losses.mse(model(noisy), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def noise(images):
        return (images + rng.normal(0, 0.3, images.shape)).clip(0, 1).astype("f")

    for epoch in range(30):
        losses = [step(noise(clean[i : i + 50]), clean[i : i + 50]).item() for i in range(0, len(clean), 50)]
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: mean squared error {np.mean(losses):.4f}")
    noisy = noise(test)
    before, after = np.mean((noisy - test) ** 2), np.mean((model.predict(noisy) - test) ** 2)
    print(f"noisy images {before:.4f} from the clean ones, cleaned {after:.4f}")
    shades = " .:-=+*#%@"
    for images in (test[0], noisy[0], model.predict(noisy[:1])[0]):
        print("\n".join("".join(shades[int(v * 9)] * 2 for v in row) for row in images[:, :, 0]) + "\n")
    return before, after


if __name__ == "__main__":
    main()
