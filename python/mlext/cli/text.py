"""``mlext train`` on a text, and ``mlext generate``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from numpy.typing import NDArray

import mlext
from mlext import models
from mlext.cli.fitting import finish, fit, heads, layer_sizes, say
from mlext.data import train_test_split
from mlext.io import FileFormatError, open_regular

__all__ = ["generate", "train"]


def train(args: argparse.Namespace) -> None:
    """Train a model of the characters of a text, and test it on the text's end."""
    text = _read(args.data)
    if len(text) < 2:
        raise FileFormatError(args.data, f"expected a text, got {len(text)} characters")
    model = _model(text, args)
    first, last = train_test_split(model.encode(text), test_size=args.test_size, shuffle=False)
    data, test = _lines(first, args), _lines(last, args)
    what = f"{len(first)} characters for training, {len(last)} for testing, {len(model.vocabulary)} different ones"
    trainer = fit(model, "cross_entropy", args, data, test, what, clip_norm=1.0)
    bits = model.bits_per_character(text[len(first) :])
    say(f"test bits per character {bits:.4f}")
    finish(model, trainer.history, args, {"task": "text", "test": {"bits_per_character": bits}})


def _model(text: str, args: argparse.Namespace) -> models.CharacterModel:
    options: dict[str, Any] = {"kind": args.model, "dropout": args.dropout}
    if args.model != "transformer":
        size, layers = layer_sizes(args, 256)
        return models.CharacterModel(text, 64, size, layers, **options)
    size, layers = layer_sizes(args, 64, 2)
    options |= {"num_heads": heads(size), "context": args.window}
    return models.CharacterModel(text, size, 4 * size, layers, **options)


def _read(path: str) -> str:
    with open_regular(path) as file:
        try:
            return file.readall().decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise FileFormatError(path, f"not UTF-8 text: {error.reason} at byte {error.start}") from None


def _lines(indices: NDArray[Any], args: argparse.Namespace) -> tuple[NDArray[Any], NDArray[Any]]:
    """Parts of as many steps as the window, and for each the characters one step later."""
    if args.window < 1:
        raise ValueError(f"--window: expected at least one step, got {args.window}")
    count = (len(indices) - 1) // args.window
    if count < 1:
        expected = f"expected more than --window {args.window} characters for training and for testing"
        raise FileFormatError(args.data, f"{expected}, got {len(indices)}")
    end = count * args.window
    return indices[:end].reshape(count, -1), indices[1 : end + 1].reshape(count, -1)


def generate(args: argparse.Namespace) -> None:
    """Write a text, character by character, as they come."""
    model = mlext.load(args.model)
    if not isinstance(model, models.CharacterModel):
        raise FileFormatError(args.model, "not a model of a text: 'mlext train --task text' makes one")
    prompt = args.prompt
    if prompt is None:  # the beginning of a line
        prompt = "\n" if "\n" in model.vocabulary else model.vocabulary[0]
    options: dict[str, Any] = {"temperature": args.temperature, "top_k": args.top_k, "top_p": args.top_p}
    following = model.generate(prompt, args.length, rng=args.seed, **options)
    sys.stdout.write(args.prompt or "")
    for character in following:
        sys.stdout.write(character)
        sys.stdout.flush()
    sys.stdout.write("\n")
