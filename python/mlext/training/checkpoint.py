"""Checkpoints: everything a training needs to go on, bit for bit, in one safetensors file."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from mlext import nn, random
from mlext.io import Entry, FileFormatError, read, write
from mlext.io.state import pack, unpack
from mlext.random import Generator

if TYPE_CHECKING:
    from mlext.training.trainer import Trainer

__all__ = ["generators", "load_checkpoint", "save_checkpoint"]

KEY = "mlext.checkpoint"
FORMAT = 1
_PARTS = {"model", "optimizer", "generators", "data", "progress", "history", "callbacks", "step"}


def generators(model: nn.Module) -> dict[str, Generator]:
    """Return the random generators training draws from: the default one, and those that layers own."""
    found = {"": random.default_generator()}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, Generator):
                found[f"{path}.{name}"] = value
    return found


def save_checkpoint(path: str | os.PathLike[str], trainer: Trainer) -> None:
    """Write the state of a training: weights, optimizer, random generators, place in the data, history, callbacks.

    Crash-safe: there is always the old file or the new one, whole. May be called between batches and between epochs,
    that is from callbacks; :class:`ModelCheckpoint` does.

    Parameters
    ----------
    path : path-like
        The file.
    trainer : Trainer
        Its state is written.

    Raises
    ------
    OSError
        If the disk refuses; an existing file is untouched then.
    """
    model = trainer.model
    state = {
        "model": model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "generators": {name: g.get_state() for name, g in generators(model).items()},
        **trainer.state_dict(),
    }
    arrays: dict[str, Any] = {}
    packed = pack(state, arrays)
    write(path, arrays, {KEY: json.dumps({"format": FORMAT, "state": packed})})


def load_checkpoint(path: str | os.PathLike[str], trainer: Trainer) -> None:
    """Put a trainer into the state :func:`save_checkpoint` wrote: ``fit(..., resume=path)`` does, and then goes on.

    Parameters
    ----------
    path : path-like
        The file.
    trainer : Trainer
        Of the same model, optimizer and callbacks as the one that was saved.

    Raises
    ------
    FileFormatError
        If the file is malformed or no checkpoint.
    ValueError
        If it is of another model, optimizer, data or list of callbacks.
    """
    entries, texts = read(path)
    state = _parse(path, entries, texts)
    trainer.check_state(state)
    # The model and the optimizer check everything before they change anything.
    before = {name: value.numpy().copy() for name, value in trainer.model.state_dict().items()}
    trainer.model.load_state_dict(state["model"])
    try:
        trainer.optimizer.load_state_dict(state["optimizer"])
    except ValueError:
        trainer.model.load_state_dict(before)
        raise
    own = generators(trainer.model)
    for name, value in state["generators"].items():
        if name in own:
            own[name].set_state(value)
    trainer.load_state_dict(state)


def _parse(path: str | os.PathLike[str], entries: dict[str, Entry], texts: dict[str, str]) -> dict[str, Any]:
    if KEY not in texts:
        raise FileFormatError(path, "not a checkpoint of mlext; mlext.load reads models")
    try:
        found = json.loads(texts[KEY])
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(f"expected a checkpoint of format {FORMAT}")
        state = unpack(found.get("state"), entries)
        if not isinstance(state, dict) or not set(state) >= _PARTS:
            raise ValueError(f"expected the parts {sorted(_PARTS)}")
    except (ValueError, RecursionError) as error:
        raise FileFormatError(path, f"__metadata__ {KEY!r}: {error}") from None
    return state
