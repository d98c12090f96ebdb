"""Callbacks that tell what happens: on the terminal, in a CSV file, to TensorBoard."""

from __future__ import annotations

import csv
import io
import os
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from mlext.io import atomic_write
from mlext.training.callbacks import Callback, Logs
from mlext.training.history import short

__all__ = ["CSVLogger", "ProgressBar", "TensorBoard"]


class ProgressBar(Callback):
    """A bar on a terminal; elsewhere one line per epoch.

    Parameters
    ----------
    stream : text file, optional
        Where to write; standard error if not given.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.is_terminal = bool(getattr(self.stream, "isatty", lambda: False)())
        self._open = False
        self._shown = self._began = 0.0

    def on_epoch_begin(self, epoch: int) -> None:
        """Start the clock."""
        self._began = time.monotonic()

    def on_batch_end(self, step: int, logs: Logs) -> None:
        """Draw the bar, ten times a second at most."""
        now = time.monotonic()
        if not self.is_terminal or now - self._shown < 0.1:
            return
        self._shown = now
        total = self.trainer.batches_per_epoch
        done = f"{step + 1}/{total or '?'}"
        filled = 20 * (step + 1) // total if total else 0
        bar = "#" * filled + "-" * (20 - filled)
        self._draw(f"{self._title(self.trainer.epoch)}  [{bar}] {done}  loss {short(self.trainer.mean_loss)}")

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the epoch's line."""
        values = "  ".join(
            [f"{name} {short(value)}" for name, value in logs.items() if isinstance(value, (int, float))]
        )
        self.message(f"{self._title(epoch)}  {values}  {time.monotonic() - self._began:.1f} s")

    def _title(self, epoch: int) -> str:
        last = self.trainer.epochs
        return f"epoch {epoch + 1:>{len(str(last))}}/{last}"

    def _draw(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        self.stream.write("\r\x1b[2K" + text[:width])
        self.stream.flush()
        self._open = True

    def message(self, text: str) -> None:
        """Write a line in the bar's place."""
        self.stream.write(("\r\x1b[2K" if self._open else "") + text + "\n")
        self.stream.flush()
        self._open = False

    def close(self) -> None:
        """End an unfinished bar."""
        if self._open:
            self.stream.write("\n")
            self._open = False


class CSVLogger(Callback):
    """Write the history to a CSV file after every epoch; the file is whole at any moment.

    Parameters
    ----------
    path : path-like
        The file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the file."""
        history = self.trainer.history
        names = list(history.history)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *names])
        for row, number in enumerate(history.epochs):
            writer.writerow([number, *[history.history[name][row] for name in names]])
        with atomic_write(self.path) as file:
            file.write(text.getvalue().encode())


class TensorBoard(Callback):
    """Write losses and metrics of every epoch as event files that TensorBoard shows.

    Parameters
    ----------
    folder : path-like
        Where the event files go.

    Raises
    ------
    ImportError
        If the package tensorboard is not there: ``pip install mlext[tensorboard]``.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise ImportError("TensorBoard needs the package tensorboard: pip install mlext[tensorboard]") from error
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._writer: Any = EventFileWriter(os.fspath(folder))

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the scalars."""
        values = {**_scalars(logs), "lr": self.trainer.optimizer.lr}
        summary = self._summary(value=[self._summary.Value(tag=k, simple_value=v) for k, v in values.items()])
        self._writer.add_event(self._event(wall_time=time.time(), step=epoch, summary=summary))
        self._writer.flush()

    def on_train_end(self) -> None:
        """Flush."""
        self._writer.flush()


def _scalars(logs: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in logs.items() if isinstance(value, (int, float))}
