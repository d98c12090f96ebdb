"""The loop over epochs and batches, and its state: where training stands."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlext import nn, optim
from mlext.data.rng import get_state, set_state
from mlext.tensor import Tensor
from mlext.training.batches import Batch, Batches
from mlext.training.callbacks import Callback
from mlext.training.diagnose import explain
from mlext.training.history import History
from mlext.training.loggers import ProgressBar
from mlext.training.options import Options
from mlext.training.step import Stepper

__all__ = ["Loop"]


class Loop:
    """What :class:`mlext.training.Trainer` runs."""

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[..., Any],
        optimizer: optim.Optimizer,
        metrics: list[Any],
        callbacks: Sequence[Callback],
        options: Options,
    ) -> None:
        self.model, self.optimizer, self.metrics = model, optimizer, metrics
        self.callbacks = list(callbacks)
        self._active: list[Callback] = []
        self._group = options.group
        self._stepper = Stepper(model, loss, optimizer, options, self._say)
        self._rng: np.random.Generator | None = None
        self._progress: ProgressBar | None = None
        self._source: Batches | None = None
        self._resumed: Mapping[str, Any] | None = None
        self.history = History()
        self.stop_training = False
        self.epochs = self.epoch = self.batches = 0
        self.batches_per_epoch: int | None = None
        self._total = self._count = 0.0

    def _run_epoch(self, validation: Batches | None) -> None:
        epoch = self.epoch
        self._call("on_epoch_begin", epoch)
        self.model.train()
        self._train_batches()
        logs = {"loss": self.mean_loss, **{metric.name: metric.result() for metric in self.metrics}}
        self._reset_epoch()
        if validation is not None:
            logs |= {f"val_{name}": value for name, value in self._evaluate(validation).items()}
        self.history.append(epoch, logs)
        self.epoch = epoch + 1
        self._call("on_epoch_end", epoch, logs)

    def _train_batches(self) -> None:
        batch: Batch | None = None
        begins, ends = self._overridden("on_batch_begin"), self._overridden("on_batch_end")
        try:
            for group in self._groups():
                batch = group[-1]
                for hook in begins:
                    hook(self.batches)
                if len(group) == 1:
                    found = [self._stepper.train(batch, self.batches + 1 == self.batches_per_epoch)]
                else:
                    found = self._stepper.train_group(group)
                for done, (value, out) in zip(group, found, strict=True):
                    self._count_batch(done, value, out)
                for hook in ends:
                    hook(self.batches - 1, {"loss": found[-1][0]})
                if self.stop_training:
                    break
            self._stepper.flush()
            if self._count == 0:
                raise ValueError("fit: the data gave no batches" + ("; an iterator runs once" if self.epoch else ""))
        except Exception as error:
            self._explain(error, batch)
            error.add_note(f"in epoch {self.epoch + 1}, step {self.batches + 1}")
            raise

    def _groups(self) -> Iterator[list[Batch]]:
        """Batches one by one, or as many as a call executes if they have one shape."""
        group: list[Batch] = []
        for batch in self._unseen():
            if self._group == 1:
                yield [batch]
                continue
            if group and _shapes(batch) != _shapes(group[0]):
                yield from ([one] for one in group)
                group = []
            group.append(batch)
            if len(group) == self._group:
                yield group
                group = []
        yield from ([one] for one in group)

    def _unseen(self) -> Iterator[Batch]:
        """The rest of the epoch: loaders with a state know it, others are read up to there."""
        assert self._source is not None
        skip = self.batches if self._resumed is not None and self._resumed["data"] is None else 0
        self._resumed = None
        for position, batch in enumerate(self._source):
            if position >= skip:
                yield batch

    def _count_batch(self, batch: Batch, value: float, out: Any) -> None:
        if not math.isfinite(value) and math.isfinite(self._total):
            warnings.warn(
                f"the loss is {value} in epoch {self.epoch + 1}, step {self.batches + 1}; the callback TerminateOnNaN "
                "stops there and tells why",
                RuntimeWarning,
                stacklevel=5,
            )
        self.batches += 1
        self._total += value * batch.rows
        self._count += batch.rows
        for metric in self.metrics:
            metric.update(_as_array(out), _as_array(batch.target))

    def _explain(self, error: Exception, batch: Batch | None) -> None:
        if self._stepper.guard and type(error) is FloatingPointError and batch is not None:
            error.args = (f"epoch {self.epoch + 1}, step {self.batches + 1}: {explain(self._stepper, batch)}",)

    @property
    def mean_loss(self) -> float:
        """Mean loss of the epoch's samples so far."""
        return self._total / self._count if self._count else math.nan

    def _reset_epoch(self) -> None:
        self.batches = 0
        self._total = self._count = 0.0
        for metric in self.metrics:
            metric.reset()

    def _call(self, hook: str, *args: Any) -> None:
        for callback in self._active:
            getattr(callback, hook)(*args)

    def _overridden(self, hook: str) -> list[Callable[..., Any]]:
        return [
            getattr(c, hook)
            for c in self._active
            if hook in vars(c) or getattr(type(c), hook) is not getattr(Callback, hook)
        ]

    def _say(self, text: str) -> None:
        if self._progress is not None:
            self._progress.message(text)

    def _evaluate(self, source: Batches) -> dict[str, Any]:
        total, count = 0.0, 0
        found = [copy.copy(metric) for metric in self.metrics]
        for metric in found:
            metric.reset()
        with self.model.evaluating():
            for batch in source:
                value, out = self._stepper.evaluate(batch)
                total, count = total + value * batch.rows, count + batch.rows
                for metric in found:
                    metric.update(_as_array(out), _as_array(batch.target))
        if count == 0:
            raise ValueError("evaluate: the data gave no batches")
        return {"loss": total / count, **{metric.name: metric.result() for metric in found}}

    # ---- checkpoints -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return where training stands, without model, optimizer and random generators: for checkpoints."""
        source: Any = None if self._source is None else self._source.source
        return {
            "data": source.state_dict() if hasattr(source, "state_dict") else None,
            "rng": None if self._rng is None else get_state(self._rng),
            "progress": [self.epoch, self.batches, self._total, self._count, self.stop_training],
            "history": self.history.state_dict(),
            "metrics": [[m.name, _metric_state(m)] for m in self.metrics],
            "callbacks": [[type(c).__name__, c.state_dict()] for c in self.callbacks],
            "step": self._stepper.state_dict(),
        }

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Raise ValueError unless ``state`` is that of a trainer like this one."""
        for what, own in (
            ("metrics", [m.name for m in self.metrics]),
            ("callbacks", [type(c).__name__ for c in self.callbacks]),
        ):
            saved = [name for name, _ in state[what]]
            if saved != own:
                raise ValueError(f"load_checkpoint: expected a checkpoint with the {what} {own}, got {saved}")
        if len(state["step"]["sums"]) != len(self._stepper.sums):
            raise ValueError("load_checkpoint: expected a checkpoint with the same gradient_accumulation")
        if self._source is not None and hasattr(self._source.source, "load_state_dict") and state["data"] is None:
            raise ValueError("load_checkpoint: the checkpoint is of other data: it has no state of a loader")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        if self._source is not None and state["data"] is not None:
            self._source.source.load_state_dict(state["data"])
        elif self._rng is not None and state["rng"] is not None:
            set_state(self._rng, state["rng"])
        self.epoch, self.batches, self._total, self._count, self.stop_training = state["progress"]
        self.history.load_state_dict(state["history"])
        for metric, (_, saved) in zip(self.metrics, state["metrics"], strict=True):
            vars(metric).update(saved)
        for callback, (_, saved) in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(saved)
        self._stepper.load_state_dict(state["step"])
        self._resumed = state


def _metric_state(metric: Any) -> dict[str, Any]:
    kinds = (bool, int, float, np.ndarray, np.number)
    return {name: value for name, value in vars(metric).items() if isinstance(value, kinds)}


def _shapes(batch: Batch) -> list[tuple[int, ...] | None]:
    return [getattr(value, "shape", None) for value in (batch.target, batch.weight, *batch.inputs)]


def _as_array(value: Any) -> NDArray[Any]:
    return value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
