"""Trains with checkpoints after every few batches and prints a digest of everything at the end: the kill test's child.

``python _train_child.py CHECKPOINT RESULT``: goes on from CHECKPOINT if it is there; writes the digest to RESULT.
"""

import hashlib
import os
import sys

import numpy as np

import mlext as ml
from mlext.training.checkpoint import generators


def make():
    ml.manual_seed(3)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(203, 8)).astype("f")
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    nn = ml.nn
    model = nn.Sequential(
        nn.Linear(8, 16),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(16, 16),
        nn.Tanh(),
        nn.Dropout(0.1, rng=5),
        nn.Linear(16, 2),
    )
    return model, x, y


def digest(trainer):
    sha = hashlib.sha256()
    for name, value in trainer.model.state_dict().items():
        sha.update(name.encode() + value.numpy().tobytes())
    for group in trainer.optimizer.state_dict()["groups"]:
        sha.update(repr((sorted(group["hyper"].items()), group["step"])).encode())
        for name, tensors in sorted(group["state"].items()):
            sha.update(name.encode() + b"".join(t.numpy().tobytes() for t in tensors))
    sha.update(repr([g.get_state() for g in generators(trainer.model).values()]).encode())
    sha.update(repr(trainer._rng.bit_generator.state).encode())
    sha.update(repr(trainer.history.state_dict()).encode())
    sha.update(repr([c.state_dict() for c in trainer.callbacks[:2]]).encode())
    return sha.hexdigest()


def main(checkpoint, result, epochs=12):
    model, x, y = make()
    optimizer = ml.optim.Adam(model.parameters(), lr=0.01)
    trainer = ml.training.Trainer(
        model,
        "cross_entropy",
        optimizer,
        metrics=["accuracy"],
        callbacks=[
            ml.training.ReduceLROnPlateau("loss", factor=0.5, patience=1),
            ml.training.LearningRateScheduler(ml.optim.StepLR(optimizer, 5, 0.9)),
            ml.training.ModelCheckpoint(checkpoint, every_batches=3),
        ],
        seed=11,
    )
    resume = checkpoint if os.path.exists(checkpoint) else None
    trainer.fit(x, y, epochs=epochs, batch_size=16, validation_split=0.1, verbose=0, resume=resume)
    with open(result + ".part", "w") as file:
        file.write(digest(trainer))
    os.replace(result + ".part", result)


if __name__ == "__main__":
    main(*sys.argv[1:])
