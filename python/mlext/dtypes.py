"""Element types.

``mlext.float32`` and its siblings are instances of :class:`DType`. Wherever a dtype is an argument, NumPy dtypes and
types (``np.float32``, ``np.dtype("f4")``) and names (``"float32"``) are accepted too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mlext import _C

if TYPE_CHECKING:
    import numpy.typing as npt


class DType:
    """An element type: its name and its size in bytes.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.float32.itemsize, ml.float32 == np.float32
    (4, True)
    """

    __slots__ = ("_numpy", "is_floating", "itemsize", "name")

    def __init__(self, name: str, itemsize: int) -> None:
        self.name = name
        self.itemsize = itemsize
        #: Whether values are fractions: float32, float64, bfloat16, float16.
        self.is_floating = "float" in name
        self._numpy: np.dtype[Any] = np.dtype({"bool_": "bool", "bfloat16": "float32"}.get(name, name))

    def __repr__(self) -> str:
        return f"mlext.{self.name}"

    def numpy(self) -> np.dtype[Any]:
        """Return NumPy's dtype; bfloat16, which NumPy lacks, gives float32."""
        return self._numpy

    def __eq__(self, other: object) -> bool:
        # Write the DType on the left: NumPy's dtypes take ten times as long to find out that they are not equal.
        if self is other:
            return True
        if isinstance(other, DType) or self.name == "bfloat16":
            return False
        try:
            return self._numpy == (other if isinstance(other, np.dtype) else np.dtype(other))  # type: ignore[call-overload]
        except TypeError:
            return False

    def __hash__(self) -> int:
        return hash(self.name)


ALL: list[DType] = [DType(name, size) for name, size in zip(_C.dtype_names, _C.dtype_sizes, strict=True)]
float32: DType
float64: DType
bfloat16: DType
float16: DType
int8: DType
uint8: DType
int32: DType
int64: DType
bool_: DType
float32, float64, bfloat16, float16, int8, uint8, int32, int64, bool_ = ALL

DTypeLike: TypeAlias = "DType | npt.DTypeLike"
