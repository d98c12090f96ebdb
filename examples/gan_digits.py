"""A small generative adversarial network: one network draws digits, another tells them from real ones."""

import numpy as np

import mlext as ml
from mlext import nn

NOISE = 16


def generator(rng):
    return nn.Sequential(
        nn.Linear(NOISE, 2 * 2 * 64, rng=rng),
        nn.ReLU(),
        nn.Lambda(lambda x: x.reshape(-1, 2, 2, 64)),
        nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False, rng=rng),
        nn.BatchNorm(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, 2, 1, activation="sigmoid", rng=rng),
    )


def judge(rng):
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, 2, 1, rng=rng),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 3, 2, 1, rng=rng),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Dropout(0.3, rng=rng),
        nn.Linear(256, 1, rng=rng),
    )


def main(epochs=40):
    rng, numbers = ml.random.Generator(0), np.random.default_rng(0)
    real = (ml.datasets.load_digits().data.reshape(-1, 8, 8, 1) / 16).astype("f")
    draw, tell = generator(rng), judge(rng)
    draw_step = ml.optim.Adam(draw.parameters(), lr=1e-3, betas=(0.5, 0.999))
    tell_step = ml.optim.Adam(tell.parameters(), lr=1e-3, betas=(0.5, 0.999))
    is_real = lambda images, value: ml.losses.binary_cross_entropy(  # noqa: E731
        tell(images), ml.tensor(np.full((images.shape[0], 1), value, "f")), with_logits=True
    )
    for epoch in range(epochs):
        order = numbers.permutation(len(real))
        for i in range(0, len(real) - 63, 64):
            noise = ml.tensor(numbers.normal(size=(64, NOISE)).astype("f"))
            drawn = draw(noise)
            told = is_real(real[order[i : i + 64]], 0.9) + is_real(drawn.detach(), 0.0)
            tell_step.zero_grad()
            told.backward()
            tell_step.step()
            fooled = is_real(drawn, 1.0)
            draw_step.zero_grad()
            fooled.backward()
            draw_step.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: judge {told.item():.3f}, generator {fooled.item():.3f}")
    made = draw.predict(numbers.normal(size=(200, NOISE)).astype("f"))
    shades = " .:-=+*#%@"
    for row in made[:6, :, :, 0].transpose(1, 0, 2):
        print("  ".join("".join(shades[int(v * 9)] * 2 for v in pixels) for pixels in row))
    return made, real


if __name__ == "__main__":
    main()
