"""The tape: what an op leaves behind so that gradients can flow back through it.

An op that computed ``out`` from ``inputs`` calls :func:`record` with one function per input, each taking the gradient
of
``out`` to the gradient of that input. ``backward`` visits nodes in reverse order of creation, which is a topological
order, holds gradients only between a node and its parents, and drops what a node saved as soon as it has run.
"""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from mlext import _C

if TYPE_CHECKING:
    from mlext.tensor import Tensor

Backward = Callable[[Any], Any]
Hook = Callable[["Tensor"], "Tensor | None"]

_sequence = itertools.count()


class Node:
    """One recorded op: its parents, one backward function per parent, and the values those functions use."""

    __slots__ = ("backward", "hooks", "op", "parents", "saved", "sequence", "versions")

    def __init__(
        self,
        op: str,
        parents: tuple[Node | Tensor | None, ...],
        backward: tuple[Backward, ...],
        saved: tuple[Any, ...],
        versions: tuple[int | None, ...],
    ) -> None:
        self.op = op
        self.parents = parents
        self.backward = backward
        self.saved = saved
        self.versions = versions
        self.hooks: list[Hook] | None = None
        self.sequence = next(_sequence)

    def refuse(self) -> None:
        """Say why this node cannot run: its values changed, or it ran before."""
        if not self.backward:
            raise RuntimeError(
                f"backward: the graph through {self.op} was already used and freed; run the forward pass again"
            )
        raise RuntimeError(
            f"backward: a value that {self.op} saved for its gradient was changed in place after it was used; change a "
            "copy, or run backward() first"
        )

    def release(self) -> None:
        """Let go of everything: a node runs once."""
        self.parents = self.backward = self.saved = self.versions = ()


def record(
    out: Tensor,
    op: str,
    inputs: tuple[Any, ...],
    backward: tuple[Backward, ...],
    saved: tuple[Any, ...] = (),
) -> Tensor:
    """Put ``out = op(*inputs)`` on the tape and return it.

    ``backward[i]`` maps the gradient of ``out`` to the gradient of ``inputs[i]`` and is called only if that input
    wants one. It may return None: nothing flows, but the node of that input runs, with None if nothing else reaches it.
    :func:`aside` uses this for ops with several results. ``saved`` lists the tensors the functions use, so that an
    in-place change of one is noticed.
    """
    # A backward function that uses `out` must not keep the node alive through it.
    if saved and _C.is_among(out, saved):
        out = _C.alias(out)
    out._node = Node(op, _C.parents(inputs), backward, saved, _C.versions(saved))
    out.requires_grad = True
    return out


@functools.cache
def _tensor() -> Callable[[Any], Any]:
    from mlext.tensor import tensor

    return tensor


def keep(x: Any) -> Any:
    """Return what the tape may hold on to: Tensors as they are, a copy of an ndarray, whose owner may change it."""
    if not isinstance(x, np.ndarray):
        return x
    if x.dtype.kind in "iu" and x.dtype.itemsize > 1:
        x = x.astype(np.int64)  # labels and indices come in every integer type
    return _tensor()(x)


def jointly(count: int, backward: Callable[[Any], Sequence[Any]]) -> tuple[Backward, ...]:
    """One function per input out of a backward that gives all ``count`` gradients at once."""
    cache: list[Any] = []

    def pick(i: int) -> Backward:
        def one(g: Any) -> Any:
            if not cache or cache[0] is not g:
                cache[:] = [g, backward(g)]
            return cache[1][i]

        return one

    return tuple([pick(i) for i in range(count)])


def aside(value: Tensor, op: str, main: Tensor, left: dict[Any, Any], name: Any) -> Tensor:
    """Put a further result of the op that made ``main`` on the tape and return it.

    Its gradient does not flow: it waits in ``left[name]`` for the node of ``main``, which runs after this one.
    """

    def backward(g: Any) -> None:
        left[name] = g

    # What `main` saved may have the value among it, and must not keep this node alive.
    return record(_C.alias(value), op, (main,), (backward,))


def record_parts(outs: Sequence[Any], op: str, x: Any, backward: Callable[[list[Any]], Any]) -> list[Any]:
    """Put several results of one input on the tape, whose gradients come back together.

    ``backward`` takes a list of the gradients of ``outs``, None for those that nothing came of.
    """
    left: dict[Any, Any] = {}
    whole = record(_C.alias(x), op, (x,), (lambda _: backward([left.get(i) for i in range(len(outs))]),))
    return [aside(out, op, whole, left, i) for i, out in enumerate(outs)]


def run_backward(root: Tensor, gradient: Tensor, sink: Callable[[Tensor, Tensor], None]) -> None:
    """Send ``gradient`` back from ``root``; ``sink(leaf, gradient)`` receives what reaches each leaf."""
    if root._node is None:
        sink(root, gradient)
        return
    pending: dict[int, tuple[Node, Tensor | None]] = {root._node.sequence: (root._node, gradient)}
    heap = [-root._node.sequence]
    while heap:
        node, g = pending.pop(-heapq.heappop(heap))
        try:
            _step(node, g, pending, heap, sink)
        except Exception as error:
            error.add_note(f"while running the backward of {node.op}")
            raise


def _step(
    node: Node,
    g: Tensor | None,
    pending: dict[int, tuple[Node, Tensor | None]],
    heap: list[int],
    sink: Callable[[Tensor, Tensor], None],
) -> None:
    if not node.backward or _C.versions(node.saved) != node.versions:
        node.refuse()
    for hook in node.hooks or ():
        g = g if g is None else _run_hook(hook, g)
    for parent, backward in zip(node.parents, node.backward, strict=True):
        if parent is None:
            continue
        flow = backward(g)
        if not isinstance(parent, Node):
            if flow is not None:
                sink(parent, flow)
        elif parent.sequence in pending:
            before = pending[parent.sequence][1]
            if flow is not None:
                pending[parent.sequence] = (parent, flow if before is None else _C.add(before, flow))
        else:
            pending[parent.sequence] = (parent, flow)
            heapq.heappush(heap, -parent.sequence)
    node.release()


def _run_hook(hook: Hook, g: Tensor) -> Tensor:
    changed = hook(g)
    if changed is None:
        return g
    if not isinstance(changed, _C.Array) or changed.shape != g.shape or changed.dtype != g.dtype:
        raise ValueError(
            f"backward: hook {getattr(hook, '__name__', hook)!r}: expected None or a {g.dtype} Tensor of shape "
            f"{g.shape}, got {changed!r}"
        )
    return changed


# ---- leaves ----------------------------------------------------------------------------------------------------------


class GradLog:
    """During a capture: which leaves' gradients the function found, and which it left."""

    def __init__(self) -> None:
        self.before: dict[int, tuple[Tensor, Tensor | None]] = {}
        self.after: dict[int, Tensor] = {}

    def read(self, leaf: Tensor) -> None:
        """Note what the gradient was when it was first asked for."""
        if id(leaf) not in self.after and id(leaf) not in self.before:
            self.before[id(leaf)] = (leaf, leaf.grad)

    def write(self, leaf: Tensor) -> None:
        """Note that the function set the gradient."""
        self.after[id(leaf)] = leaf


grad_log: GradLog | None = None


def read_grad(leaf: Tensor) -> Tensor | None:
    """Return the gradient of a leaf; readers of ``.grad`` inside the library ask here, so that captures see it."""
    if grad_log is not None:
        grad_log.read(leaf)
    return leaf.grad


def write_grad(leaf: Tensor, gradient: Tensor | None) -> None:
    """Set the gradient of a leaf."""
    leaf.grad = gradient
    if grad_log is not None:
        grad_log.write(leaf)


def accumulate(leaf: Tensor, gradient: Tensor) -> None:
    """Add ``gradient`` to ``leaf.grad``."""
    for hook in leaf._hooks or ():
        gradient = _run_hook(hook, gradient)
    if gradient.shape != leaf.shape:
        raise ValueError(f"backward: expected a gradient of shape {leaf.shape}, got {gradient.shape}")
    before = read_grad(leaf)
    if before is None:
        # A Tensor of its own for each leaf, so that owns_alone can tell; and never a broadcast view, so that it can
        # be added to.
        write_grad(leaf, _C.dense(gradient))
    elif _C.owns_alone(before):
        _C.add_(before, gradient)
    else:
        write_grad(leaf, _C.add(before, gradient))


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside: results do not require gradients.

    Examples
    --------
    >>> import mlext as ml
    >>> x = ml.tensor([1.0, 2.0], requires_grad=True)
    >>> with ml.no_grad():
    ...     (x * 2).requires_grad
    False
    """
    before = _C.set_grad_enabled(False)
    try:
        yield
    finally:
        _C.set_grad_enabled(before)
