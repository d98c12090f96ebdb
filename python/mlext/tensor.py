"""Tensor: an array with a gradient.

The memory, its geometry and the fields ``grad``, ``requires_grad`` and ``_node`` are the C++ class ``_C.Array``; this
class adds what users call. Its operators are the functions of :mod:`mlext.functional`, attached there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mlext import _C, autograd, dtypes

if TYPE_CHECKING:
    import numpy.typing as npt

ArrayLike: TypeAlias = "Tensor | npt.NDArray[Any]"
Operand: TypeAlias = "Tensor | npt.NDArray[Any] | float"


class Tensor(_C.Array):
    """A strided array that can record how it was computed.

    Parameters
    ----------
    data : Tensor or ndarray
        Shared, not copied. :func:`mlext.tensor` copies, and takes numbers and nested lists too.
    requires_grad : bool, optional
        Whether ``backward()`` should leave a gradient in ``grad``.

    Examples
    --------
    >>> import mlext as ml
    >>> x = ml.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([2., 4., 6.])
    """

    __slots__ = ()
    # NumPy leaves operators between an ndarray and a Tensor to the Tensor.
    __array_ufunc__ = None

    def __init__(self, data: ArrayLike, requires_grad: bool = False) -> None:
        if requires_grad:
            self.requires_grad = True

    # ---- the tape ----------------------------------------------------------------------------------------------------

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op made this tensor."""
        return self._node is None

    def backward(self, gradient: ArrayLike | None = None) -> None:
        """Add the gradient of this tensor with respect to every leaf to that leaf's ``grad``.

        Parameters
        ----------
        gradient : Tensor or ndarray, optional
            Gradient of the final result with respect to this tensor; 1 for a tensor of one element.

        Raises
        ------
        RuntimeError
            If nothing requires a gradient, if the graph was used before, or if a saved value was changed in place.
        ValueError
            If ``gradient`` is missing for more than one element, or has another shape.
        """
        autograd.run_backward(self, self._seed(gradient), autograd.accumulate)

    def _seed(self, gradient: ArrayLike | None) -> Tensor:
        if not self.requires_grad:
            raise RuntimeError(
                "backward: this tensor does not require a gradient; was it computed under no_grad(), from tensors "
                "without requires_grad=True, or detached?"
            )
        if gradient is None:
            if self.size != 1:
                raise ValueError(
                    f"backward: argument 'gradient': expected a Tensor of shape {self.shape}, got none; only a single "
                    "element has a default (use .mean() or .sum() first)"
                )
            one: Tensor = _C.full_like(_C.alias(self), 1.0)
            return one
        if gradient.shape != self.shape:
            raise ValueError(f"backward: argument 'gradient': expected shape {self.shape}, got {gradient.shape}")
        return gradient if isinstance(gradient, Tensor) else Tensor(gradient)

    def detach(self) -> Tensor:
        """Return a tensor over the same memory that is off the tape."""
        return _C.alias(self)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set ``requires_grad`` and return the tensor itself."""
        self.requires_grad = requires_grad
        return self

    def register_hook(self, hook: autograd.Hook) -> Callable[[], None]:
        """Call ``hook(gradient)`` when the gradient of this tensor is known; a Tensor it returns replaces the gradient.

        Returns
        -------
        callable
            Removes the hook again.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: this tensor does not require a gradient")
        if self._node is not None:
            hooks = self._node.hooks = self._node.hooks or []
        else:
            hooks = self._hooks = self._hooks or []
        hooks.append(hook)
        return lambda: hooks.remove(hook)

    # ---- to and from Python ------------------------------------------------------------------------------------------

    def item(self) -> Any:
        """Return the only element as a Python number."""
        if self.size != 1:
            raise ValueError(f"item: expected a tensor of one element, got shape {self.shape}")
        return self.numpy().item()

    def tolist(self) -> Any:
        """Return nested lists of Python numbers."""
        return self.numpy().tolist()

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"cannot convert {self.dtype} to {dtype} without a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **options: Any) -> Any:
        """Export the memory to another library (DLPack), by way of NumPy's exporter."""
        return self.numpy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.is_floating:
            raise TypeError(f"only an integer tensor can be an index, got {self.dtype}")
        return int(self.item())

    def __bool__(self) -> bool:
        _C.refuse_read("bool()")
        if self.size != 1:
            raise ValueError(f"the truth value of a tensor of shape {self.shape} is ambiguous; use .any() or .all()")
        return bool(self.item())

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a tensor without dimensions")
        return self.shape[0]

    def __repr__(self) -> str:
        if _C.is_capturing():
            return f"Tensor(<{self.dtype} {self.shape}>)"
        body = np.array2string(self.numpy(), separator=", ", prefix="Tensor(")
        extra = "" if self.dtype is dtypes.float32 else f", dtype={self.dtype.name}"
        if self.requires_grad:
            extra += ", requires_grad=True" if self._node is None else f", op={self._node.op}"
        return f"Tensor({body}{extra})"

    def __hash__(self) -> int:
        return id(self)

    def __copy__(self) -> Tensor:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError("copy: only leaf tensors can be copied; use .detach() first")
        copy = type(self)(_C.cast(_C.alias(self), self.dtype), self.requires_grad)
        memo[id(self)] = copy
        return copy

    def __reduce__(self) -> Any:
        return _rebuild, (self.detach().numpy(), self.dtype.name, self.requires_grad)

    if TYPE_CHECKING:
        # Attached by mlext.functional.
        def __add__(self, other: Operand) -> Tensor: ...
        def __radd__(self, other: Operand) -> Tensor: ...
        def __sub__(self, other: Operand) -> Tensor: ...
        def __rsub__(self, other: Operand) -> Tensor: ...
        def __mul__(self, other: Operand) -> Tensor: ...
        def __rmul__(self, other: Operand) -> Tensor: ...
        def __truediv__(self, other: Operand) -> Tensor: ...
        def __rtruediv__(self, other: Operand) -> Tensor: ...
        def __pow__(self, other: Operand) -> Tensor: ...
        def __rpow__(self, other: Operand) -> Tensor: ...
        def __matmul__(self, other: ArrayLike) -> Tensor: ...
        def __rmatmul__(self, other: ArrayLike) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __eq__(self, other: Operand) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: Operand) -> Tensor: ...  # type: ignore[override]
        def __lt__(self, other: Operand) -> Tensor: ...  # type: ignore[misc]
        def __le__(self, other: Operand) -> Tensor: ...  # type: ignore[misc]
        def __gt__(self, other: Operand) -> Tensor: ...  # type: ignore[misc]
        def __ge__(self, other: Operand) -> Tensor: ...  # type: ignore[misc]
        def __and__(self, other: Operand) -> Tensor: ...
        def __or__(self, other: Operand) -> Tensor: ...
        def __xor__(self, other: Operand) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __iadd__(self, other: Operand) -> Tensor: ...
        def __isub__(self, other: Operand) -> Tensor: ...
        def __imul__(self, other: Operand) -> Tensor: ...
        def __itruediv__(self, other: Operand) -> Tensor: ...
        def __getitem__(self, key: Any) -> Tensor: ...
        def __setitem__(self, key: Any, value: Operand) -> None: ...
        def abs(self) -> Tensor: ...
        def exp(self) -> Tensor: ...
        def log(self) -> Tensor: ...
        def sqrt(self) -> Tensor: ...
        def square(self) -> Tensor: ...
        def sin(self) -> Tensor: ...
        def cos(self) -> Tensor: ...
        def tanh(self) -> Tensor: ...
        def sigmoid(self) -> Tensor: ...
        def relu(self) -> Tensor: ...
        def clip(self, low: float, high: float) -> Tensor: ...
        def softmax(self, axis: int = -1) -> Tensor: ...
        def log_softmax(self, axis: int = -1) -> Tensor: ...
        def matmul(self, other: ArrayLike) -> Tensor: ...
        def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def var(self, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor: ...
        def std(self, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor: ...
        def norm(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor: ...
        def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor: ...
        def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def cumsum(self, axis: int) -> Tensor: ...
        def reshape(self, *shape: Any) -> Tensor: ...
        def permute(self, *axes: Any) -> Tensor: ...
        def transpose(self, axis1: int = -2, axis2: int = -1) -> Tensor: ...
        def squeeze(self, axis: Axis = None) -> Tensor: ...
        def expand_dims(self, axis: int | tuple[int, ...]) -> Tensor: ...
        def broadcast_to(self, shape: tuple[int, ...]) -> Tensor: ...
        def flatten(self, start_axis: int = 0) -> Tensor: ...
        def astype(self, dtype: dtypes.DTypeLike) -> Tensor: ...
        @property
        def T(self) -> Tensor: ...  # noqa: N802


Axis: TypeAlias = "int | tuple[int, ...] | None"


class Parameter(Tensor):
    """A tensor that a module owns and an optimizer changes: it requires a gradient unless told otherwise."""

    __slots__ = ()

    def __init__(self, data: ArrayLike, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)


def _rebuild(array: npt.NDArray[Any], dtype: str, requires_grad: bool) -> Tensor:
    return tensor(array, dtype=dtype, requires_grad=requires_grad)


def tensor(data: object, dtype: dtypes.DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Make a tensor from a copy of ``data``.

    Parameters
    ----------
    data : Tensor, ndarray, number, or nested sequence of numbers
        Python floats become float32, ints int64, bools bool; arrays keep their dtype.
    dtype : dtype, optional
        Element type of the result.
    requires_grad : bool, optional
        Whether ``backward()`` should leave a gradient in ``grad``.

    Raises
    ------
    TypeError
        If ``data`` is ragged, or holds something other than numbers.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.tensor([[1, 2], [3, 4]], dtype="float32").shape
    (2, 2)
    """
    source = data if isinstance(data, (Tensor, np.ndarray)) else _from_python(data)
    if isinstance(source, Tensor):
        source = source.detach()
    elif _C.is_capturing():
        raise RuntimeError(
            "compile: tensor() makes a constant inside the compiled function; a replay would not see a new value. Make "
            "it outside, or pass the array as an argument"
        )
    else:
        source = Tensor(source)
    made: Tensor = _C.cast(source, source.dtype if dtype is None else dtype)
    if requires_grad:
        made.requires_grad = True
    return made


def _from_python(data: object) -> npt.NDArray[Any]:
    if data is None or isinstance(data, (str, bytes)):
        raise TypeError(f"tensor: argument 'data': expected numbers, got {type(data).__name__}")
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise TypeError(f"tensor: argument 'data': expected a rectangular nest of numbers ({error})") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"tensor: argument 'data': expected numbers, got {type(data).__name__} of {array.dtype}")
    if array.dtype == np.float64 and not hasattr(data, "dtype"):
        return array.astype(np.float32)
    return array


def from_numpy(array: npt.NDArray[Any]) -> Tensor:
    """Return a tensor over the memory of ``array``, not copied: a change of one is seen in the other."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: argument 'array': expected an ndarray, got {type(array).__name__}")
    return Tensor(array)


def from_dlpack(source: Any) -> Tensor:
    """Return a tensor over the memory of another library's CPU array (DLPack), not copied."""
    return Tensor(np.from_dlpack(source))


_SHAPE_ERROR = "{op}: argument 'shape': expected an int or a tuple of ints, got {got}"


def as_shape(op: str, shape: Sequence[Any]) -> tuple[int, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` both mean the shape (2, 3)."""
    items = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    try:
        return tuple([int(n.__index__()) for n in items])
    except AttributeError:
        raise TypeError(_SHAPE_ERROR.format(op=op, got=shape)) from None


def zeros(*shape: Any, dtype: dtypes.DTypeLike = dtypes.float32) -> Tensor:
    """Return a tensor of zeros."""
    return _C.full(as_shape("zeros", shape), 0.0, dtype)


def ones(*shape: Any, dtype: dtypes.DTypeLike = dtypes.float32) -> Tensor:
    """Return a tensor of ones."""
    return _C.full(as_shape("ones", shape), 1.0, dtype)


def full(shape: Any, value: float, dtype: dtypes.DTypeLike = dtypes.float32) -> Tensor:
    """Return a tensor filled with ``value``."""
    return _C.full(as_shape("full", (shape,)), value, dtype)


def zeros_like(x: ArrayLike) -> Tensor:
    """Return a tensor of zeros with the shape and dtype of ``x``."""
    return Tensor(_C.full_like(x, 0.0))


def ones_like(x: ArrayLike) -> Tensor:
    """Return a tensor of ones with the shape and dtype of ``x``."""
    return Tensor(_C.full_like(x, 1.0))


_C.register_types(Tensor, dtypes.ALL)
