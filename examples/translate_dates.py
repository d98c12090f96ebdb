"""From "3 March 2021" to "2021-03-03", character by character: an encoder, a decoder, and attention between them."""

import datetime
import time

import numpy as np

import mlext as ml

OUT = "\n0123456789-"  # the first one stands at the end
FORMS = ("{d} {month} {y}", "{month} {d}, {y}", "{d}.{m}.{y}", "{month3} {d} {y}", "{m}/{d}/{y}")


def dates(count, rng):
    """Dates as people write them, and as they should."""
    found = []
    for day, form in zip(rng.integers(700_000, 740_000, count), rng.integers(0, len(FORMS), count), strict=True):
        date = datetime.date.fromordinal(int(day))
        month = date.strftime("%B")
        values = {"d": date.day, "m": date.month, "y": date.year, "month": month, "month3": month[:3]}
        found.append((FORMS[form].format(**values), date.isoformat()))
    return found


def arrays(pairs, known):
    source, lengths = ml.data.pack_sequences([[known.index(c) for c in text] for text, _ in pairs])
    target = np.array([[OUT.index(c) for c in text + "\n"] for _, text in pairs])
    return source, target, lengths


def main(epochs=12):
    pairs = dates(4000, np.random.default_rng(0))
    known = "".join(sorted({c for text, _ in pairs for c in text}))
    train, test = pairs[:3500], pairs[3500:]
    source, target, lengths = arrays(train, known)
    model = ml.models.Seq2Seq(len(known), len(OUT), 24, 64, rng=0)
    trainer = ml.training.Trainer(model, "cross_entropy", ml.optim.Adam(model.parameters(), lr=5e-3), seed=0)
    began = time.perf_counter()
    # The decoder reads the target one step late, so it is an input as well.
    history = trainer.fit((source, target, lengths), target, epochs=epochs, batch_size=32, verbose=0)
    print(f"loss {history['loss'][0]:.3f} -> {history['loss'][-1]:.4f} in {time.perf_counter() - began:.1f} s")
    source, _, lengths = arrays(test, known)
    written = ["".join(OUT[i] for i in row).strip() for row in model.generate(source, 12, lengths)]
    right = float(np.mean([text == date for text, (_, date) in zip(written, test, strict=True)]))
    for text, (given, _) in list(zip(written, test, strict=True))[:5]:
        print(f"{given:>20} -> {text}")
    print(f"{right:.3f} of the dates that were held out are right in every character")
    return right


if __name__ == "__main__":
    main()
