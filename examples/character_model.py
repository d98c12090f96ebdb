"""A model of characters learns from this project's own pages for some seconds, and writes a few lines itself."""

from pathlib import Path

import mlext as ml

ROOT = Path(__file__).resolve().parents[1]


def pages():
    """The documentation and the readable half of the package, or what else is beside this program."""
    found = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("python/mlext/[f-m]*/*.py")])
    return "".join(path.read_text() for path in found or sorted(Path(__file__).parent.glob("*.py")))


def main(seconds=12, window=64):
    text = pages()
    cut = len(text) * 9 // 10
    model = ml.models.CharacterModel(text, 64, 128, kind="gru", rng=0)
    indices = model.encode(text[:cut])
    rows = (len(indices) - 1) // window
    x = indices[: rows * window].reshape(rows, window)
    y = indices[1 : rows * window + 1].reshape(rows, window)  # the same, one character later
    optimizer = ml.optim.Adam(model.parameters(), lr=5e-3)
    limit = ml.training.TimeLimit(seconds)
    trainer = ml.training.Trainer(model, "cross_entropy", optimizer, callbacks=[limit], clip_norm=1.0, seed=0)
    held_out = text[cut : cut + 20_000]
    before = model.bits_per_character(held_out)
    trainer.fit(x, y, epochs=100, batch_size=16, verbose=0)
    after = model.bits_per_character(held_out)
    print(f"{cut} characters, {len(model.vocabulary)} different ones, {trainer.epoch} epochs begun in {seconds} s")
    print(f"bits per character of pages that were held out: {before:.2f} before, {after:.2f} after")
    written = "".join(model.generate("The ", 300, temperature=0.6, rng=0))
    print("The " + written)
    return before, after, written


if __name__ == "__main__":
    main()
