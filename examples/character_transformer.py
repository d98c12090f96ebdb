"""A transformer of characters learns from this project's own pages for some seconds, and writes a few lines itself."""

import math
import time
from pathlib import Path

import mlext as ml

ROOT = Path(__file__).resolve().parents[1]


def pages():
    """The documentation and the readable half of the package, or what else is beside this program."""
    found = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("python/mlext/[f-m]*/*.py")])
    return "".join(path.read_text() for path in found or sorted(Path(__file__).parent.glob("*.py")))


def main(seconds=20, context=64):
    text = pages()
    cut = len(text) * 9 // 10
    model = ml.models.CharacterModel(text, 64, 256, 2, kind="transformer", num_heads=4, context=context, rng=0)
    indices = model.encode(text[:cut])
    rows = (len(indices) - 1) // context
    x = indices[: rows * context].reshape(rows, context)
    y = indices[1 : rows * context + 1].reshape(rows, context)  # the same, one character later
    optimizer = ml.optim.Adam(model.parameters(), lr=5e-3)
    began = time.monotonic()

    def share(step):
        """The learning rate rises for fifty steps and falls until the time is over."""
        done = min((time.monotonic() - began) / seconds, 1)
        return min((step + 1) / 50, (1 + math.cos(math.pi * done)) / 2)

    schedule = ml.training.LearningRateScheduler(ml.optim.LambdaLR(optimizer, share), "batch")
    callbacks = [ml.training.TimeLimit(seconds), schedule]
    trainer = ml.training.Trainer(model, "cross_entropy", optimizer, callbacks=callbacks, clip_norm=1.0, seed=0)
    held_out = text[cut : cut + 20_000]
    before = model.bits_per_character(held_out)
    trainer.fit(x, y, epochs=100, batch_size=16, verbose=0)
    after = model.bits_per_character(held_out)
    print(f"{cut} characters, {len(model.vocabulary)} different ones, {trainer.epoch} epochs begun in {seconds} s")
    print(f"bits per character of pages that were held out: {before:.2f} before, {after:.2f} after")
    written = "".join(model.generate("The ", 300, temperature=0.6, top_p=0.95, rng=0))
    print("The " + written)
    return before, after, written


if __name__ == "__main__":
    main()
