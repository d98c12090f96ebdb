"""The command ``mlext``: train, predict, generate, info, bench."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

INTERRUPTED = 130
MISTAKE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, 2 for a user's mistake, 130 after Ctrl-C.

    Examples
    --------
    >>> main(["info"])  # doctest: +ELLIPSIS
    mlext ...
    0
    """
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("mlext: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away: no traceback when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, TypeError, IndexError, OSError, ImportError, FloatingPointError) as error:
        sys.stderr.write(f"mlext: error: {_one_line(error)}\n")
        return MISTAKE
    return 0


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error) or type(error).__name__
    notes = getattr(error, "__notes__", [])
    return " ".join(" ".join([text, *[f"({note})" for note in notes]]).split())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlext", description="Train and use small neural networks.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{train,predict,generate,info,bench}")
    _add_train(commands.add_parser("train", help="train a model on the embedded digits or on your data"))
    _add_predict(commands.add_parser("predict", help="apply a model that 'mlext train' wrote"))
    _add_generate(commands.add_parser("generate", help="go on with a text, by a model that 'mlext train' made of one"))
    info = commands.add_parser("info", help="say what this build is and what it found on this machine")
    info.set_defaults(run=_info)
    bench = commands.add_parser("bench", help="time a few kernels against NumPy and, if installed, PyTorch")
    bench.add_argument("--threads", type=int, default=None, help="threads of all contestants (default: all cores)")
    bench.add_argument("--seconds", type=float, default=0.5, help="time per contestant and row (default: %(default)s)")
    bench.set_defaults(run=_bench)
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    data, network, run = (parser.add_argument_group(name) for name in ("data", "network", "training"))
    add = data.add_argument
    add(
        "--data",
        metavar="PATH",
        help="CSV or .npz file, a folder with one folder of images per class, or a text (default: digits)",
    )
    add("--target", metavar="COLUMN", help="CSV: name or position of the target's column (default: the last)")
    add("--size", type=int, metavar="PIXELS", help="image folder: resize to this height and width")
    add(
        "--task",
        choices=("auto", "classification", "regression", "forecast", "text"),
        default="auto",
        help="forecast: the next rows of a CSV file whose columns are series; text: its next character "
        "(default: by the target; text for lstm, gru or transformer on a .txt file)",
    )
    add("--window", type=int, metavar="STEPS", help="steps seen at once (default: forecast 24, text 128)")
    add("--horizon", type=int, metavar="STEPS", help="forecast: steps ahead (default: 1)")
    add("--test-size", type=float, metavar="SHARE", help="held out for testing (default: 0.25; text 0.1)")
    add(
        "--augment",
        action="store_true",
        help="shift, turn and zoom images a little in every epoch",
    )
    add = network.add_argument
    add(
        "--model",
        choices=("mlp", "cnn", "lstm", "gru", "transformer"),
        help="dense layers, for images convolutions, for images row by row, sequences, series and texts recurrent "
        "layers, or for images by patches, sequences and texts attention (default: mlp; forecast and text lstm)",
    )
    add(
        "--hidden",
        type=int,
        nargs="*",
        default=None,
        metavar="N",
        help="units of the hidden layers (default: 128 64), filters at each size of the image (cnn: 32 64), or units of"
        " the recurrent layers, all alike (128; forecast 64, text 256), or features of a transformer's layers,"
        " all alike (64 64)",
    )
    add(
        "--dropout",
        type=float,
        metavar="P",
        help="dropout after each hidden layer, or before the last one (cnn) (default: 0; transformer 0.2, text 0)",
    )
    _add_training(run)
    parser.set_defaults(run=_train)


def _add_training(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--label-smoothing", type=float, default=0.1, metavar="S", help="classification: (default: %(default)s)")
    add("--epochs", type=int, help="(default: 20, transformer 30; text 10)")
    add("--seconds", type=float, default=math.inf, help="stop training after so long (default: never)")
    add("--batch-size", type=int, help="(default: 32; text 16)")
    add(
        "--lr",
        type=float,
        default=None,
        help="learning rate, of a transformer the highest one (default: the optimizer's; adam 0.002, text 0.005)",
    )
    add("--optimizer", default="adam", metavar="NAME", help="sgd, adam, adamw, rmsprop ... (default: %(default)s)")
    add("--seed", type=int, default=0, help="(default: %(default)s)")
    add("--out", default="mlext-out", metavar="DIR", help="where the results go (default: %(default)s)")
    add("--resume", action="store_true", help="go on from the checkpoint in DIR")


def _add_predict(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="model.safetensors of 'mlext train'")
    add("data", metavar="DATA", help="as for training: the target may be missing; of series what comes next is given")
    add("--out", metavar="CSV", help="write a CSV file instead of standard output")
    add("--proba", action="store_true", help="one column of probability per class")
    parser.set_defaults(run=_predict)


def _add_generate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="model.safetensors of 'mlext train' on a text")
    add("--prompt", metavar="TEXT", help="what the text begins with (default: a new line)")
    add("--length", type=int, default=500, metavar="N", help="characters to write (default: %(default)s)")
    add("--temperature", type=float, default=1.0, help="below 1 likely characters become more likely; 0: no chance")
    add("--top-k", type=int, metavar="K", help="draw from so many of the most likely characters (default: all)")
    add("--top-p", type=float, metavar="P", help="draw from the fewest that have this share together (default: all)")
    add("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.set_defaults(run=_generate)


# Each command is imported when it runs: `mlext --help` needs none of them.


def _train(args: argparse.Namespace) -> None:
    from mlext.cli import train

    train.run(args)


def _predict(args: argparse.Namespace) -> None:
    from mlext.cli import predict

    predict.run(args)


def _generate(args: argparse.Namespace) -> None:
    from mlext.cli import text

    text.generate(args)


def _info(args: argparse.Namespace) -> None:
    from mlext.config import show_config

    config = show_config()
    lines = [f"mlext {config.pop('version')}"]
    for name, value in config.items():
        text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        lines.append(f"  {name.replace('_', ' '):<14} {text}")
    sys.stdout.write("\n".join(lines) + "\n")


def _bench(args: argparse.Namespace) -> None:
    from mlext import benchmarks

    for line in benchmarks.run(args.threads, args.seconds):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
