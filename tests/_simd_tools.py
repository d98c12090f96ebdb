"""What the tests of csrc/simd share: calling one operation of one level, guarded memory, values."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np

from mlext import _C

Array = np.ndarray[Any, Any]

LEVELS: list[str] = _C.levels()
TYPES = [np.float32, np.float64]
LANES = {"portable": 16, "avx2": 32, "avx512": 64, "avx512_vnni": 64, "avx512_bf16": 64}  # bytes of one vector


def lanes_of(level: str, dtype: Any) -> int:
    return LANES[level] // np.dtype(dtype).itemsize


def run(level: str, op: str, *operands: Array, dtype: Any = None) -> Array:
    out = np.empty(len(operands[0]), dtype or operands[0].dtype)
    _C._simd(level, op, out, *operands)
    return out


def same_bits(got: Array, expected: Array) -> bool:
    """Equal to the bit, any NaN being as good as another."""
    integer = {2: np.uint16, 4: np.uint32, 8: np.uint64}[got.itemsize]
    equal = got.view(integer) == expected.astype(got.dtype).view(integer)
    return bool((equal | (np.isnan(got) & np.isnan(expected))).all())


class GuardedPage:
    """A page of memory, or more of them, between two that may not be touched."""

    def __init__(self, pages: int = 1) -> None:
        self.size = pages * mmap.PAGESIZE
        self.memory = mmap.mmap(-1, self.size + 2 * mmap.PAGESIZE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.protect(0)

    def open(self) -> None:
        """What the allocator needs before the memory goes back to it."""
        self.protect(mmap.PROT_READ | mmap.PROT_WRITE)

    def protect(self, mode: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        for guard in (self.address, self.address + mmap.PAGESIZE + self.size):
            if libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(mmap.PAGESIZE), mode) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")

    def begin(self, values: Array) -> Array:
        """A copy of the values whose first byte is the first one after a guard page."""
        return self._copy(values, mmap.PAGESIZE)

    def end(self, values: Array) -> Array:
        """A copy of the values whose last byte is the last one before a guard page."""
        return self._copy(values, mmap.PAGESIZE + self.size - values.nbytes)

    def _copy(self, values: Array, start: int) -> Array:
        assert values.nbytes <= self.size
        view = np.frombuffer(self.memory, values.dtype, values.size, start).reshape(values.shape)
        view[...] = values
        return view


def special_values(dtype: Any) -> Array:
    info = np.finfo(dtype)
    one = [
        0.0,
        0.25,
        0.5,
        0.75,
        1.0,
        1.5,
        2.0,
        2.5,
        3.5,
        7.0,
        1e5 + 0.5,
        2.0**22 + 0.5,
        2.0**23 + 1,
    ]
    edge = [
        info.tiny,
        info.smallest_subnormal,
        info.max,
        np.inf,
        np.nan,
        1 - info.epsneg,
        1 + info.eps,
    ]
    with np.errstate(over="ignore"):
        positive = np.array(one + [float(e) for e in edge]).astype(dtype)
    return np.concatenate([positive, -positive])


def as_int(x: Array) -> Array:
    return x.view(np.int32 if x.itemsize == 4 else np.int64)


def from_int(i: Array) -> Array:
    return i.view(np.float32 if i.itemsize == 4 else np.float64)
