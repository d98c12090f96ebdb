"""Callbacks: what happens around epochs and batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mlext.training.trainer import Trainer

Logs = dict[str, Any]


class Callback:
    """Base of the callbacks: override what you need; ``self.trainer`` is the trainer.

    What ``state_dict`` returns (numbers, strings, arrays, lists, dicts) is part of checkpoints.
    """

    trainer: Trainer

    def on_train_begin(self) -> None:
        """Run before the first epoch."""

    def on_train_end(self) -> None:
        """Run after the last epoch, also when training stops early; not after an error."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Run before epoch ``epoch``, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Run after an epoch; ``logs`` has its loss and metrics."""

    def on_batch_begin(self, step: int) -> None:
        """Run before batch ``step`` of the epoch, counted from 0."""

    def on_batch_end(self, step: int, logs: Logs) -> None:
        """Run after a batch; ``logs`` has its loss."""

    def state_dict(self) -> dict[str, Any]:
        """Return what must survive in a checkpoint."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""


class LambdaCallback(Callback):
    """A callback made of functions, by the names of the methods of :class:`Callback`.

    Examples
    --------
    >>> losses = []
    >>> callback = LambdaCallback(on_epoch_end=lambda epoch, logs: losses.append(logs["loss"]))
    """

    def __init__(self, **functions: Callable[..., Any]) -> None:
        for name, function in functions.items():
            if not name.startswith("on_") or not hasattr(Callback, name):
                known = [n for n in vars(Callback) if n.startswith("on_")]
                raise TypeError(f"LambdaCallback: unknown hook {name!r}; expected some of {', '.join(known)}")
            setattr(self, name, function)


class LearningRateScheduler(Callback):
    """Change the learning rate by a schedule or a function.

    Parameters
    ----------
    schedule : schedule of ``mlext.optim``, or callable
        A schedule's ``step()`` is called after every epoch (or batch). A function gets the epoch, from 0, and the
        learning rate, and returns the one for this epoch.
    interval : {"epoch", "batch"}
        When a schedule steps.
    """

    def __init__(self, schedule: Any, interval: Literal["epoch", "batch"] = "epoch") -> None:
        self.is_schedule = hasattr(schedule, "step")
        if not self.is_schedule and not callable(schedule):
            raise TypeError(
                f"LearningRateScheduler: argument 'schedule': expected a schedule or a function, got {schedule!r}"
            )
        if interval not in ("epoch", "batch") or (interval == "batch" and not self.is_schedule):
            raise ValueError(
                "LearningRateScheduler: argument 'interval': expected 'epoch', or 'batch' with a schedule, got "
                f"{interval!r}"
            )
        self.schedule = schedule
        self.interval = interval

    def on_epoch_begin(self, epoch: int) -> None:
        """Ask the function."""
        if not self.is_schedule:
            self.trainer.optimizer.lr = float(self.schedule(epoch, self.trainer.optimizer.lr))

    def on_batch_end(self, step: int, logs: Logs) -> None:
        """Step by batches."""
        if self.interval == "batch":
            self.schedule.step()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Step by epochs."""
        if self.is_schedule and self.interval == "epoch":
            self.schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's state."""
        return {"schedule": self.schedule.state_dict()} if self.is_schedule else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        if self.is_schedule:
            self.schedule.load_state_dict(state["schedule"])


class TerminateOnNaN(Callback):
    """Stop before a loss or gradient that is not finite reaches the weights.

    Training raises FloatingPointError that names epoch, step, layer and cause: the inputs, the weights, a layer's
    output, the loss, or the gradient of a parameter. The weights are those before that batch. Costs one pass over the
    gradients.
    """


class TimeLimit(Callback):
    """Stop after so many seconds, within an epoch if need be; training that is resumed has them anew.

    Parameters
    ----------
    seconds : float
        From the first batch on.

    Raises
    ------
    ValueError
        If ``seconds`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> model, x = ml.nn.Linear(1, 1, rng=0), np.ones((100, 1), "f")
    >>> trainer = ml.training.Trainer(model, "mse", ml.optim.SGD(model.parameters()), callbacks=[TimeLimit(0.1)])
    >>> len(trainer.fit(x, x, epochs=1_000_000, verbose=0)) < 1_000_000
    True
    """

    def __init__(self, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError(f"TimeLimit: argument 'seconds': expected a positive number, got {seconds}")
        self.seconds = seconds
        self.reached = False

    def on_train_begin(self) -> None:
        """Start the clock."""
        self.reached, self._began = False, time.monotonic()

    def on_batch_end(self, step: int, logs: Logs) -> None:
        """Look at the clock."""
        if time.monotonic() - self._began >= self.seconds:
            self.reached = self.trainer.stop_training = True

    def state_dict(self) -> dict[str, Any]:
        """Return whether it has stopped training."""
        return {"reached": self.reached}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let training go on that was stopped for this alone."""
        if state["reached"]:
            self.trainer.stop_training = False
