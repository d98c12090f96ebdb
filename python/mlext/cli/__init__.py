"""The command ``mlext``: train, predict, info, bench."""

from __future__ import annotations

import argparse
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
    commands = parser.add_subparsers(dest="command", required=True, metavar="{train,predict,info,bench}")
    _add_train(commands.add_parser("train", help="train a model on the embedded digits or on your data"))
    _add_predict(commands.add_parser("predict", help="apply a model that 'mlext train' wrote"))
    info = commands.add_parser("info", help="say what this build is and what it found on this machine")
    info.set_defaults(run=_info)
    bench = commands.add_parser("bench", help="time a few kernels against NumPy and, if installed, PyTorch")
    bench.add_argument("--threads", type=int, default=None, help="threads of all contestants (default: all cores)")
    bench.add_argument("--seconds", type=float, default=0.5, help="time per contestant and row (default: %(default)s)")
    bench.set_defaults(run=_bench)
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--data",
        metavar="PATH",
        help="CSV or .npz file, or a folder with one folder of images per class (default: digits)",
    )
    add("--target", metavar="COLUMN", help="CSV: name or position of the target's column (default: the last)")
    add("--size", type=int, metavar="PIXELS", help="image folder: resize to this height and width")
    add("--task", choices=("auto", "classification", "regression"), default="auto", help="(default: by the target)")
    add(
        "--model",
        choices=("mlp", "cnn"),
        default="mlp",
        help="kind of network: dense layers, or for images convolutions (default: %(default)s)",
    )
    add(
        "--hidden",
        type=int,
        nargs="*",
        default=None,
        metavar="N",
        help="units of the hidden layers (default: 128 64), or filters at each size of the image (cnn: 32 64)",
    )
    add(
        "--dropout",
        type=float,
        default=0.0,
        metavar="P",
        help="dropout after each hidden layer, or before the last one (cnn) (default: %(default)s)",
    )
    add("--augment", action="store_true", help="cnn: shift, turn and zoom the images a little in every epoch")
    add("--label-smoothing", type=float, default=0.1, metavar="S", help="classification: (default: %(default)s)")
    add("--epochs", type=int, default=20, help="(default: %(default)s)")
    add("--batch-size", type=int, default=32, help="(default: %(default)s)")
    add("--lr", type=float, default=None, help="learning rate (default: the optimizer's; adam 0.002)")
    add("--optimizer", default="adam", metavar="NAME", help="sgd, adam, adamw, rmsprop ... (default: %(default)s)")
    add("--test-size", type=float, default=0.25, help="share held out for testing (default: %(default)s)")
    add("--seed", type=int, default=0, help="(default: %(default)s)")
    add("--out", default="mlext-out", metavar="DIR", help="where the results go (default: %(default)s)")
    add("--resume", action="store_true", help="go on from the checkpoint in DIR")
    parser.set_defaults(run=_train)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="model.safetensors of 'mlext train'")
    add("data", metavar="DATA", help="CSV or .npz file, or an image folder, as for training; the target may be missing")
    add("--out", metavar="CSV", help="write a CSV file instead of standard output")
    add("--proba", action="store_true", help="one column of probability per class")
    parser.set_defaults(run=_predict)


# Each command is imported when it runs: `mlext --help` needs none of them.


def _train(args: argparse.Namespace) -> None:
    from mlext.cli import train

    train.run(args)


def _predict(args: argparse.Namespace) -> None:
    from mlext.cli import predict

    predict.run(args)


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
