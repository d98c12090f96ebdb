"""Callbacks that watch a value: early stopping, checkpoints, smaller learning rates."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from typing import Any, Literal

from mlext.tensor import tensor
from mlext.training import checkpoint
from mlext.training.callbacks import Callback, Logs

__all__ = ["EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau"]

Mode = Literal["auto", "min", "max"]


class _Monitor(Callback):
    """Watches one value for improvement."""

    def __init__(self, monitor: str, mode: Mode, min_delta: float = 0.0) -> None:
        op = type(self).__name__
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{op}: argument 'mode': expected 'auto', 'min' or 'max', got {mode!r}")
        if not min_delta >= 0:
            raise ValueError(f"{op}: argument 'min_delta': expected 0 or more, got {min_delta}")
        self.monitor = monitor
        grows = any(word in monitor for word in ("acc", "auc", "f1", "precision", "recall", "r2"))
        self.sign = -1.0 if mode == "max" or (mode == "auto" and grows) else 1.0
        self.min_delta = min_delta
        self.best: float | None = None

    def _improved(self, logs: Logs) -> bool:
        """Whether this epoch is the best so far; a value of NaN never is."""
        if self.monitor not in logs:
            raise ValueError(
                f"{type(self).__name__}: argument 'monitor': no {self.monitor!r} in this training; there are "
                f"{', '.join(logs)}" + ("; pass validation_data" if self.monitor.startswith("val_") else "")
            )
        value = float(logs[self.monitor])
        if math.isnan(value):
            return False
        if self.best is not None and not self.sign * value < self.sign * self.best - self.min_delta:
            return False
        self.best = value
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the best value."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.best = state["best"]


class EarlyStopping(_Monitor):
    """Stop when a value has not improved for ``patience`` epochs in a row.

    Parameters
    ----------
    monitor : str
        Name in the history, such as "val_loss".
    patience : int
        Epochs without improvement after which training stops; 0 is as 1.
    min_delta : float
        Less than this is no improvement.
    mode : {"auto", "min", "max"}
        Whether less or more is better; "auto" knows accuracy, AUC, F1, precision, recall and R2 to grow.
    restore_best_weights : bool
        Whether the model gets the weights of the best epoch when training ends.

    Raises
    ------
    ValueError
        If training has no value of that name.
    """

    best_epoch: int | None
    best_weights: dict[str, Any] | None

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 0,
        min_delta: float = 0.0,
        mode: Mode = "auto",
        restore_best_weights: bool = False,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if patience < 0:
            raise ValueError(f"EarlyStopping: argument 'patience': expected 0 or more, got {patience}")
        self.patience = patience
        self.restore_best_weights = restore_best_weights
        self.on_train_begin()

    def on_train_begin(self) -> None:
        """Forget earlier trainings."""
        self.best = self.best_epoch = self.best_weights = None
        self.wait = 0

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Compare and perhaps stop."""
        if self._improved(logs):
            self.wait, self.best_epoch = 0, epoch
            if self.restore_best_weights:
                state = self.trainer.model.state_dict()
                self.best_weights = {name: tensor(value) for name, value in state.items()}
            return
        self.wait += 1
        if self.wait >= self.patience:
            self.trainer.stop_training = True

    def on_train_end(self) -> None:
        """Bring the best weights back."""
        if self.best_weights is not None:
            self.trainer.model.load_state_dict(self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        """Return best value, epoch, weights and how long it has waited."""
        names = ("best", "wait", "best_epoch", "best_weights")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        vars(self).update(state)


class ModelCheckpoint(_Monitor):
    """Write a checkpoint (see :func:`save_checkpoint`) after epochs, and after batches if wanted.

    It runs after the other callbacks, so that a checkpoint has what they made of the epoch.

    Parameters
    ----------
    path : path-like
        The file; ``{epoch}`` in it becomes the number of epochs done.
    monitor : str
        What `save_best_only` compares.
    save_best_only : bool
        Write only when it improved.
    every : int
        Write after so many epochs.
    every_batches : int, optional
        Write after so many batches too.
    min_seconds : float
        Skip when the last checkpoint is younger; the last epoch's is always written.
    mode : {"auto", "min", "max"}
        As in :class:`EarlyStopping`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        every: int = 1,
        *,
        every_batches: int | None = None,
        min_seconds: float = 0.0,
        mode: Mode = "auto",
    ) -> None:
        super().__init__(monitor, mode)
        for name, value in (("every", every), ("every_batches", every_batches)):
            if value is not None and value < 1:
                raise ValueError(f"ModelCheckpoint: argument '{name}': expected at least 1, got {value}")
        self.path = os.fspath(path)
        self.save_best_only = save_best_only
        self.every = every
        self.every_batches = every_batches
        self.min_seconds = min_seconds
        self._written = -math.inf
        self._due: int | None = None

    def on_batch_end(self, step: int, logs: Logs) -> None:
        """Write if it is time."""
        if self.every_batches and (step + 1) % self.every_batches == 0:
            self._write(self.trainer.epoch)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write if it is time and, with `save_best_only`, if it improved."""
        if self.save_best_only and not self._improved(logs):
            return
        if (epoch + 1) % self.every == 0:
            self._write(epoch + 1)

    def on_train_end(self) -> None:
        """Write the state that was skipped last."""
        if self._due is not None:
            self._write(self._due, now=True)

    def _write(self, epoch: int, now: bool = False) -> None:
        self._due = epoch
        if now or time.monotonic() - self._written >= self.min_seconds:
            checkpoint.save_checkpoint(self.path.replace("{epoch}", str(epoch)), self.trainer)
            self._written, self._due = time.monotonic(), None


class ReduceLROnPlateau(_Monitor):
    """Multiply the learning rate by ``factor`` when a value has not improved for ``patience`` epochs in a row.

    Parameters
    ----------
    monitor, min_delta, mode
        As in :class:`EarlyStopping`.
    factor : float
        Less than 1.
    patience : int
        Epochs without improvement after which it is reduced.
    min_lr : float
        The learning rate stops here.
    cooldown : int
        Epochs after a reduction that do not count.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        *,
        min_delta: float = 1e-4,
        mode: Mode = "auto",
        min_lr: float = 0.0,
        cooldown: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if not 0 < factor < 1:
            raise ValueError(f"ReduceLROnPlateau: argument 'factor': expected a number between 0 and 1, got {factor}")
        self.factor, self.patience, self.min_lr, self.cooldown = factor, patience, min_lr, cooldown
        self.wait = self.cooling = 0

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Compare and perhaps reduce."""
        improved = self._improved(logs)
        self.wait = 0 if improved or self.cooling else self.wait + 1
        self.cooling = max(0, self.cooling - 1)
        if self.wait >= max(1, self.patience):
            optimizer = self.trainer.optimizer
            optimizer.lr = max(optimizer.lr * self.factor, self.min_lr)
            self.wait, self.cooling = 0, self.cooldown

    def state_dict(self) -> dict[str, Any]:
        """Return best value and counters."""
        return {"best": self.best, "wait": self.wait, "cooling": self.cooling}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        vars(self).update(state)
