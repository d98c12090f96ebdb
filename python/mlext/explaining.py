"""How a kernel would go about its work, as data: for people who time kernels and ask why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlext import _C
from mlext.dtypes import DTypeLike, float64
from mlext.profiling import machine_peak


@dataclass(frozen=True)
class GemmPlan:
    """What :func:`explain_gemm` found. ``print`` it, or read the fields.

    Attributes
    ----------
    m, n, k, batch, dtype : int, int, int, int, str
        The product that was asked about.
    level, threads : str, int
        The ISA level, and how many threads take part.
    kernel : str
        ``"compact"`` (all of it in L2), ``"tile"`` (blocked and packed), ``"dot"`` (dot products along k) or ``"gemv"``
        (one row).
    transposed : bool
        Whether the transposed product is computed; what follows then describes that one.
    tile : tuple of int
        Rows and columns of one call of the micro-kernel.
    block_k, chunk_rows : int
        Steps of k that are summed in registers in one go; rows whose ``a`` stays in L2 meanwhile (0: all).
    packs_a, packs_b, keeps_b : bool
        Whether a factor is copied into the order that the kernel reads; whether the copy of a Tensor ``b`` is kept for
        the next product.
    tasks : int
        Parts that threads take.
    seconds : float
        Predicted time: multiply-adds at this machine's measured peak, lanes that a partial vector leaves idle
        included, or memory at its measured rate, whichever is longer.
    bound : str
        Which of the two it is: ``"arithmetic"`` or ``"memory"``.
    reasons : tuple of str
        Why, a sentence for each choice.
    """

    m: int
    n: int
    k: int
    batch: int
    dtype: str
    level: str
    threads: int
    kernel: str
    transposed: bool
    tile: tuple[int, int]
    block_k: int
    chunk_rows: int
    packs_a: bool
    packs_b: bool
    keeps_b: bool
    tasks: int
    seconds: float
    bound: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        """Return a table of the fields and the reasons."""
        packs = [name for name, on in (("a", self.packs_a), ("b", self.packs_b)) if on]
        rate = 2e-9 * self.batch * self.m * self.n * self.k / self.seconds
        unit = "GOP/s" if self.dtype in ("int8", "uint8") else "GFLOP/s"
        batch = f"{self.batch} times " if self.batch > 1 else ""
        rows = [
            ("product", f"{batch}{self.m} x {self.k} by {self.k} x {self.n}, {self.dtype}"),
            ("kernel", f"{self.kernel}, {self.level}" + (", transposed" if self.transposed else "")),
            ("tile", f"{self.tile[0]} x {self.tile[1]}, {self.block_k} steps of k"),
            ("packed", (" and ".join(packs) or "nothing") + (", b kept for the next" if self.keeps_b else "")),
            ("threads", f"{self.threads}, {self.tasks} tasks"),
            ("predicted", f"{self.seconds * 1e6:.3g} us, {rate:.0f} {unit}, bound by {self.bound}"),
        ]
        table = [f"{name:<11}{value}" for name, value in rows]
        return "\n".join(table + [f"- {reason}" for reason in self.reasons])


def explain_gemm(
    m: int,
    n: int,
    k: int,
    dtype: DTypeLike = "float32",
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    batch: int = 1,
) -> GemmPlan:
    """Return how the product of an (m, k) and a (k, n) matrix would be computed, and why.

    Parameters
    ----------
    m, n, k : int
        Rows of the result, its columns, and the length of the sums; at least 1.
    dtype : dtype, optional
        Of both factors and the result, floating; or uint8 or int8, of ``a`` in
        :func:`mlext.functional.matmul_integer`.
    transpose_a, transpose_b : bool, optional
        Whether a factor is the transpose of a row-major matrix. ``linear`` has ``transpose_b``.
    batch : int, optional
        How many such products there are in one call.

    Returns
    -------
    GemmPlan
        The kernel, its tile, what is packed, the threads, a predicted time and the reasons. At the first call the
        machine is measured, which takes a tenth of a second.

    Raises
    ------
    TypeError
        If there is no product of ``dtype``, or a size is not an integer.
    ValueError
        If a size is below 1.

    Examples
    --------
    >>> import mlext as ml
    >>> plan = ml.explain_gemm(32, 128, 784, transpose_b=True)
    >>> plan.kernel, plan.packs_b, plan.keeps_b
    ('tile', True, True)
    >>> ml.explain_gemm(1, 128, 784, transpose_b=True).kernel
    'dot'
    """
    sizes = {"m": m, "n": n, "k": k, "batch": batch}
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
            raise TypeError(f"explain_gemm: argument '{name}': expected an int, got {type(size).__name__}")
        if size < 1:
            raise ValueError(f"explain_gemm: argument '{name}': expected at least 1, got {size}")
    found: dict[str, Any] = _C.explain_gemm(m, n, k, dtype, transpose_a, transpose_b, batch)
    seconds, bound = _predict(m, n, k, batch, found)
    found |= {"dtype": found["dtype"].name, "reasons": tuple(found["reasons"])}
    del found["waste"], found["by_pairs"]
    return GemmPlan(m, n, k, batch, level=_C.get_isa(), seconds=seconds, bound=bound, **found)


def _predict(m: int, n: int, k: int, batch: int, found: dict[str, Any]) -> tuple[float, str]:
    """Seconds, and what they are spent on, by the machine's measured peaks."""
    peak = machine_peak()
    share = found["threads"] / _C.get_num_threads()
    size = found["dtype"].itemsize
    of_bytes = size == 1
    kind = "gops_i8" if of_bytes else "gflops_bf16" if found["by_pairs"] else "gflops"
    rate = peak[kind] * share * (0.5 if found["dtype"] == float64 else 1.0)
    arithmetic = 2e-9 * batch * m * n * k * found["waste"] / rate
    computed = size if of_bytes or found["by_pairs"] else max(size, 4)  # other halves are widened
    moved = batch * (size * (m * k + k * n) + (4 if of_bytes else size) * m * n)
    if found["packs_a"]:
        moved += 2 * computed * batch * m * k
    if found["packs_b"] and not found["keeps_b"] and found["kernel"] != "compact":
        moved += 2 * computed * batch * k * n
    memory = 1e-9 * moved / (peak["gbytes"] * share)
    return max((arithmetic, "arithmetic"), (memory, "memory"))
