"""One step of training: forward, backward, update; compiled where the model can be captured."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mlext import _C, compiling, nn, optim
from mlext import functional as F
from mlext.autograd import read_grad, write_grad
from mlext.tensor import Tensor, zeros_like
from mlext.training.batches import Batch
from mlext.training.checkpoint import generators
from mlext.training.options import Options
from mlext.training.precision import lowered

__all__ = ["Stepper"]

_COMPILE_ERROR = re.compile(r"(^|: )compile: ")


class Stepper:
    """Runs batches through a model and its optimizer.

    A step is one compiled call. It is two, and the update waits for the check between them, when gradients are guarded
    against NaN or scaled. With accumulation, batches add their gradient to accumulators, weighted by their samples, and
    every k-th is followed by an update with the mean: the step a batch of all their samples would make.

    The first call of each function is captured under a snapshot of everything it may change. If the capture is
    refused, the snapshot is put back before the batch runs eagerly: no step is applied twice.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[..., Any],
        optimizer: optim.Optimizer,
        options: Options,
        say: Callable[[str], None],
    ) -> None:
        self.model, self.loss, self.optimizer, self.options, self.say = model, loss, optimizer, options, say
        self.guard = False
        self.keep_output = False
        self.params = [p for group in optimizer.param_groups for p in group.params]
        self.scaler = optim.LossScaler() if options.mixed == "float16" else None
        self.sums = [zeros_like(p) for p in self.params] if options.accumulation > 1 else []
        self.drawn: dict[str, list[int]] = {}  # random states before the last guarded batch
        self.pending = 0  # batches in the accumulators
        self.samples = 0
        self.uses_closure = isinstance(optimizer, optim.LBFGS)
        if self.uses_closure and (options.accumulation > 1 or self.scaler):
            raise ValueError("Trainer: LBFGS works on whole batches: no gradient_accumulation, no float16")
        self.compiling = bool(options.compile) and not self.uses_closure
        self._compiled: dict[Any, Callable[..., Any]] = {}
        self._trusted: set[Any] = set()

    def configure(self, *, guard: bool, keep_output: bool) -> None:
        """Set whether updates wait for a check for NaN, and whether predictions are returned."""
        if (guard, keep_output) != (self.guard, self.keep_output):
            self._compiled.clear()
            self._trusted.clear()
        self.guard, self.keep_output = guard, keep_output

    # ---- what the training loop calls --------------------------------------------------------------------------------

    def train(self, batch: Batch, last: bool) -> tuple[float, Any]:
        """Run one batch; return its loss and, if kept, the prediction. ``last``: the epoch ends here."""
        args = (batch.target, batch.weight, *batch.inputs)
        if self.uses_closure:
            return self._with_closure(args)
        if self.guard:
            self.drawn = {name: g.get_state() for name, g in generators(self.model).items()}
        if not (self.guard or self.scaler or self.sums):
            loss, out = self._run("fused", self._fused, args)
            return loss.item(), out
        loss, out, norm = self._run("backward", self._backward, args)
        value: float = loss.item()
        if self.guard and not (np.isfinite(value) and (norm is None or np.isfinite(norm.item()))):
            self._forget()
            raise FloatingPointError("loss or gradient is not finite")
        self.pending += 1
        self.samples += batch.rows
        if last or self.pending == self.options.accumulation:
            self._finish()
        return value, out

    def train_group(self, batches: Sequence[Batch]) -> list[tuple[float, Any]]:
        """Run several batches of one shape in one call."""
        if self.guard or self.uses_closure or not self.compiling:
            return [self.train(batch, True) for batch in batches]
        width = 2 + len(batches[0].inputs)
        flat = [value for b in batches for value in (b.target, b.weight, *b.inputs)]

        def run_all(*args: Any) -> list[Any]:
            return [self._fused(*args[i : i + width]) for i in range(0, len(args), width)]

        found = self._run(("group", len(batches), width), run_all, flat)
        return [(loss.item(), out) for loss, out in found]

    def evaluate(self, batch: Batch) -> tuple[float, Any]:
        """Return loss and prediction; the caller has set evaluation mode."""
        loss, out = self._run("evaluate", self._forward, (batch.target, batch.weight, *batch.inputs))
        return loss.item(), out

    def flush(self) -> None:
        """Update with what an epoch of unknown length left in the accumulators."""
        if self.pending:
            self._finish()

    def state_dict(self) -> dict[str, Any]:
        """Return accumulators and loss scale."""
        scaler = None if self.scaler is None else self.scaler.state_dict()
        return {"pending": self.pending, "samples": self.samples, "sums": list(self.sums), "scaler": scaler}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.pending, self.samples = int(state["pending"]), int(state["samples"])
        for own, value in zip(self.sums, state["sums"], strict=True):
            _C.copy_(own, value)
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])

    # ---- the parts, each a function that can be captured -------------------------------------------------------------

    def _forward(self, target: Any, weight: Any, *inputs: Any) -> tuple[Any, Any]:
        out = lowered(self.model, inputs, self.options.mixed) if self.options.mixed else self.model(*inputs)
        loss = self.loss(out, target) if weight is None else self.loss(out, target, sample_weight=weight)
        if not isinstance(loss, Tensor) or loss.size != 1:
            got = f"shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
            raise TypeError(
                f"Trainer: argument 'loss': expected a function that returns a Tensor of one element, got {got}"
            )
        return loss, out

    def _backward(self, target: Any, weight: Any, *inputs: Any) -> tuple[Any, Any, Any]:
        loss, out = self._forward(target, weight, *inputs)
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        grads = [g for p in self.params if (g := read_grad(p)) is not None]
        norm = _C.global_norm(grads) if self.guard and self.scaler is None and grads else None
        if self.sums:
            rows = len(inputs[0])
            for own, p in zip(self.sums, self.params, strict=True):
                if (grad := read_grad(p)) is not None:
                    _C.add_scaled_([own], [grad], float(rows))
            self.optimizer.zero_grad()
        return loss, out if self.keep_output else None, norm

    def _update(self) -> None:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if self.options.l1 or self.options.l2:
            optim.add_penalty(self.params, self.options.l1, self.options.l2)
        if self.options.clip_norm is not None:
            optim.clip_grad_norm(self.params, self.options.clip_norm)
        if self.options.clip_value is not None:
            optim.clip_grad_value(self.params, self.options.clip_value)
        if self.scaler is not None:
            self.scaler.step(self.optimizer)
        else:
            self.optimizer.step()
        self.optimizer.zero_grad()

    def _update_from_sums(self, scale: Any) -> None:
        for p, own in zip(self.params, self.sums, strict=True):
            if p.requires_grad:
                write_grad(p, F.mul(own, F.astype(scale, own.dtype)))
            _C.copy_(own, 0.0)
        self._update()

    def _fused(self, target: Any, weight: Any, *inputs: Any) -> tuple[Any, Any]:
        loss, out, _ = self._backward(target, weight, *inputs)
        self._update()
        return loss, out

    def _finish(self) -> None:
        if self.sums:
            self._run("sums", self._update_from_sums, (np.array([1.0 / self.samples]),))
        else:
            self._run("update", self._update, ())
        if self.scaler is not None:
            self.scaler.update()
        self.pending = self.samples = 0

    def _forget(self) -> None:
        """Leave no gradient of a step that is not made."""
        self.optimizer.zero_grad()
        for own in self.sums:
            _C.copy_(own, 0.0)
        self.pending = self.samples = 0

    def _with_closure(self, args: tuple[Any, ...]) -> tuple[float, Any]:
        found: list[Any] = []

        def closure() -> Any:
            self.optimizer.zero_grad()
            loss, out, _ = self._backward(*args)
            found.append(out)
            return loss

        loss = self.optimizer.step(closure)
        self.optimizer.zero_grad()
        return float(loss.item()), found[0]

    # ---- compiled or not ---------------------------------------------------------------------------------------------

    def _run(self, key: Any, fn: Callable[..., Any], args: Sequence[Any]) -> Any:
        if not self.compiling:
            return fn(*args)
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = compiling.compile(fn)
        if key in self._trusted:
            return self._replay(key, fn, compiled, args)
        saved = self._snapshot()
        try:
            result = compiled(*args)
        except RuntimeError as error:
            if not _COMPILE_ERROR.search(str(error)):
                raise
            self._restore(saved)
            if self.options.compile is True:
                raise
            self._fall_back(error)
            return fn(*args)
        self._trusted.add(key)
        return result

    def _replay(self, key: Any, fn: Callable[..., Any], compiled: Callable[..., Any], args: Sequence[Any]) -> Any:
        """Call what was captured before; it may meet a new shape."""
        try:
            return compiled(*args)
        except RuntimeError as error:
            # Too many shapes: refused before anything ran.
            if self.options.compile is True or f"captured {compiling.MAX_CAPTURES} times" not in str(error):
                raise
            self._fall_back(error)
            return fn(*args)

    def _fall_back(self, error: RuntimeError) -> None:
        self.compiling = False
        self._compiled.clear()
        self.say(f"training uncompiled: {error}")

    def _snapshot(self) -> Any:
        """Copies of everything a step changes."""
        tensors = [*self.model.state_dict().values(), *self.sums]
        tensors += [g.state for g in generators(self.model).values()]
        grads = [(p, read_grad(p)) for p in self.params]
        return [(t, copy.copy(t)) for t in tensors], self.optimizer.state_dict(), grads

    def _restore(self, saved: Any) -> None:
        for own, value in saved[0]:
            _C.copy_(own, value)
        self.optimizer.load_state_dict(saved[1])
        for p, grad in saved[2]:
            write_grad(p, grad)
        if self.scaler is not None:
            self.scaler._unscaled.clear()
            self.optimizer._found = None
