"""Trainer: fit, evaluate, predict."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlext import nn, optim, random
from mlext.training import checkpoint
from mlext.training.batches import Batches, split_off
from mlext.training.callbacks import Callback, TerminateOnNaN
from mlext.training.history import History
from mlext.training.loggers import ProgressBar
from mlext.training.loop import Loop
from mlext.training.monitors import ModelCheckpoint
from mlext.training.options import Loss, Options, find_loss, find_metric

__all__ = ["Trainer"]


class Trainer(Loop):
    """Trains a model.

    Parameters
    ----------
    model : Module
        What to train.
    loss : str or callable
        A name of :mod:`mlext.losses`, "binary_cross_entropy_with_logits", or ``loss(prediction, target)``; one that
        takes
        ``sample_weight=`` can be used with weights.
    optimizer : Optimizer
        Over the model's parameters.
    metrics : sequence of str, Metric or callable
        See :func:`mlext.metrics.get`.
    callbacks : sequence of Callback
        Called in this order; :class:`ModelCheckpoint` after the others.
    gradient_accumulation : int
        Update after so many batches, with the mean gradient of all their samples.
    mixed_precision : {"bfloat16", "float16"}, optional
        Dtype of the forward and backward pass. Parameters, optimizer and loss stay in float32; float16 scales the loss.
    clip_norm, clip_value : float, optional
        Limits of the gradients' common norm and of each element.
    l1, l2 : float
        Factors of ``sum |p|`` and ``sum p^2 / 2`` in the gradients (not in the reported loss).
    compile : {"auto", True, False}
        Whether steps are captured and replayed (:func:`mlext.compile`); the results are bitwise the same. "auto" trains
        uncompiled if the model cannot be captured, and says so.
    steps_per_execution : int
        Batches per compiled call; callbacks see the last of them.
    seed : int, optional
        Of the order of the data; drawn from the default generator if not given.

    Attributes
    ----------
    history : History
        Of the last ``fit``, also if it was interrupted.
    stop_training : bool
        Callbacks set this to end training: after the epoch, or after the batch at whose end they do.

    Raises
    ------
    ValueError
        For an unknown loss or metric.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> x = np.linspace(-1, 1, 100, dtype="f")[:, None]
    >>> model = ml.nn.Linear(1, 1, rng=0)
    >>> trainer = Trainer(model, "mse", ml.optim.SGD(model.parameters(), lr=0.1), seed=0)
    >>> history = trainer.fit(x, 2 * x + 1, epochs=20, verbose=0)
    >>> history["loss"][-1] < 1e-4, len(history)
    (True, 20)
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        optimizer: optim.Optimizer,
        metrics: Sequence[Any] = (),
        callbacks: Sequence[Callback] = (),
        *,
        gradient_accumulation: int = 1,
        mixed_precision: str | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        compile: str | bool = "auto",
        steps_per_execution: int = 1,
        seed: int | None = None,
    ) -> None:
        for name, value, kind in (("model", model, nn.Module), ("optimizer", optimizer, optim.Optimizer)):
            if not isinstance(value, kind):
                raise TypeError(f"Trainer: argument '{name}': expected a {kind.__name__}, got {type(value).__name__}")
        found = [find_metric(metric, loss) for metric in ((metrics,) if isinstance(metrics, str) else metrics)]
        options = Options(
            gradient_accumulation, mixed_precision, clip_norm, clip_value, l1, l2, compile, steps_per_execution
        )
        super().__init__(model, find_loss(loss), optimizer, found, callbacks, options)
        self._seed = seed

    # ---- fit ---------------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        drop_last: bool = False,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        initial_epoch: int = 0,
        verbose: str | int = "auto",
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train.

        Parameters
        ----------
        x, y : array, or tuple of arrays for several inputs; array
            The data. Instead of both: a ``Dataset``, a loader, or an iterable of batches ``(x, y)`` or ``(x, y,
            weight)``.
        epochs : int
            Number of the last epoch; training runs from `initial_epoch` to here.
        batch_size, shuffle, drop_last
            How arrays are cut. A batch size above the number of samples gives one batch.
        sample_weight : array (N,), optional
            Factor of each sample's loss.
        class_weight : dict of int to float, optional
            Factor of each class's loss.
        validation_split : float
            Share of the arrays' end, taken before shuffling, that is for validation.
        validation_data : tuple (x, y) or (x, y, weight), or a loader, optional
            Evaluated after every epoch: ``val_loss`` and so on.
        initial_epoch : int
            Number of the first epoch, from 0.
        verbose : {"auto", 0, 1}
            Whether progress is written to standard error.
        resume : path-like, optional
            A checkpoint to go on from, in the middle of its epoch if it was written there.

        Returns
        -------
        History
            ``loss`` is the mean over the samples, as they were met during the epoch.

        Raises
        ------
        ValueError
            For empty data, a batch size below 1, lengths that differ. Errors inside an epoch carry a note with epoch
            and step.
        FloatingPointError
            With the callback :class:`TerminateOnNaN`.
        KeyboardInterrupt
            At Ctrl-C; ``history`` has the epochs so far, and the last checkpoint stands.
        """
        if isinstance(epochs, bool) or not isinstance(epochs, int):
            raise TypeError(f"fit: argument 'epochs': expected an int, got {epochs!r}")
        if epochs < 1:
            raise ValueError(f"fit: argument 'epochs': expected at least 1, got {epochs}")
        if validation_split:
            if validation_data is not None:
                raise ValueError("fit: expected one of validation_split and validation_data")
            (x, y, sample_weight), validation_data = split_off("fit", x, y, sample_weight, validation_split)
        options = {"batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last, "rng": self._data_rng()}
        self._source = Batches("fit", x, y, sample_weight, class_weight, **options)
        self.batches_per_epoch = self._source.known_length()
        self.epochs, self.epoch = epochs, initial_epoch
        self._begin(verbose)
        validation = None if validation_data is None else _validation(validation_data, batch_size)
        self._fit(validation, resume)
        return self.history

    def _begin(self, verbose: str | int) -> None:
        self.history, self.stop_training = History(), False
        if verbose not in ("auto", 0, 1):
            raise ValueError(f"fit: argument 'verbose': expected 'auto', 0 or 1, got {verbose!r}")
        self._progress = next((c for c in self.callbacks if isinstance(c, ProgressBar)), None)
        extra = [ProgressBar()] if verbose and self._progress is None else []
        self._progress = self._progress or (extra[0] if extra else None)
        # Checkpoints see what the other callbacks made of the epoch.
        self._active = sorted([*self.callbacks, *extra], key=lambda c: isinstance(c, ModelCheckpoint))
        for callback in self._active:
            callback.trainer = self
        guard = any(isinstance(c, TerminateOnNaN) for c in self._active)
        self._stepper.configure(guard=guard, keep_output=bool(self.metrics))
        self._stepper._forget()

    def _fit(self, validation: Batches | None, resume: str | os.PathLike[str] | None) -> None:
        self._reset_epoch()
        try:
            self._call("on_train_begin")
            if resume is not None:
                checkpoint.load_checkpoint(resume, self)
            while self.epoch < self.epochs and not self.stop_training:
                self._run_epoch(validation)
            self._call("on_train_end")
        finally:
            if self._progress is not None:
                self._progress.close()

    def _data_rng(self) -> np.random.Generator:
        if self._rng is None:
            if self._seed is None:
                self._seed = int(random.default_generator().integers(0, 2**62).item())
            self._rng = np.random.default_rng(self._seed)
        return self._rng

    # ---- evaluate, predict -------------------------------------------------------------------------------------------

    def evaluate(self, x: Any, y: Any = None, batch_size: int = 32, *, sample_weight: Any = None) -> dict[str, Any]:
        """Return loss and metrics by name, in evaluation mode; the arguments are those of :meth:`fit`."""
        return self._evaluate(Batches("evaluate", x, y, sample_weight, batch_size=batch_size))

    def predict(self, x: Any, batch_size: int | None = None) -> NDArray[Any]:
        """Return the model's output as an ndarray; see :meth:`mlext.nn.Module.predict`."""
        return self.model.predict(x, batch_size)  # type: ignore[no-any-return]


def _validation(data: Any, batch_size: int) -> Batches:
    is_dataset = hasattr(data, "data") and hasattr(data, "target")
    if isinstance(data, tuple) and not is_dataset:
        if len(data) not in (2, 3):
            raise ValueError(
                f"fit: argument 'validation_data': expected (x, y) or (x, y, weight), got {len(data)} items"
            )
        return Batches("fit: validation_data", *data, batch_size=batch_size)
    return Batches("fit: validation_data", data, batch_size=batch_size)
