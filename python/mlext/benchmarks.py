"""A quick look at the speed of this installation: ``mlext bench``.

Contestants run in turns in one process and the fastest time of each counts, since on a shared machine noise only
adds. The repository's ``bench/`` measures thoroughly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import mlext
from mlext import functional as F
from mlext import nn, optim

__all__ = ["run"]

Contestants = dict[str, Callable[[], Any]]


def run(threads: int | None = None, seconds: float = 0.5) -> Iterator[str]:
    """Yield the lines of a table: times, and how many times as long NumPy and PyTorch take.

    Parameters
    ----------
    threads : int, optional
        For mlext and PyTorch; NumPy's BLAS keeps its own number.
    seconds : float
        Measuring time per contestant and row.

    Raises
    ------
    ValueError
        If `seconds` is not positive.
    """
    if not seconds > 0:
        raise ValueError(f"bench: argument 'seconds': expected more than 0, got {seconds}")
    if threads is not None:
        mlext.set_num_threads(threads)
    torch = _torch(mlext.get_num_threads())
    yield f"mlext {mlext.__version__}, {mlext.get_isa()}, {mlext.get_num_threads()} threads; NumPy {np.__version__}" + (
        f"; PyTorch {torch.__version__}" if torch else "; PyTorch is not installed"
    )
    yield f"{'':<34}{'mlext':>12}{'numpy':>12}{'ratio':>8}{'torch':>12}{'ratio':>8}"
    for name, contestants in _rows(torch):
        best = _measure(contestants, seconds)
        cells = [f"{name:<34}", _time(best["mlext"])]
        for peer in ("numpy", "torch"):
            found = best.get(peer)
            cells.append(" " * 20 if found is None else f"{_time(found)}{found / best['mlext']:>7.2f}x")
        yield "".join(cells).rstrip()


def _torch(threads: int) -> Any:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(threads)
    return torch


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:>9.2f} us"
    return f"{seconds * 1e3:>9.2f} ms"


def _measure(contestants: Contestants, seconds: float) -> dict[str, float]:
    """Best time of one call of each."""
    counts = {}
    for name, fn in contestants.items():
        fn()
        began = time.perf_counter()
        fn()
        # Rounds of about a millisecond: the clock's own time does not show.
        counts[name] = max(1, int(1e-3 / max(time.perf_counter() - began, 1e-7)))
    best = dict.fromkeys(contestants, float("inf"))
    end = time.perf_counter() + seconds * len(contestants)
    while time.perf_counter() < end:
        for name, fn in contestants.items():
            began = time.perf_counter()
            for _ in range(counts[name]):
                fn()
            best[name] = min(best[name], (time.perf_counter() - began) / counts[name])
    return best


def _rows(torch: Any) -> Iterator[tuple[str, Contestants]]:
    rng = np.random.default_rng(0)
    for size in (8, 64, 512):
        a, b = rng.standard_normal((2, size, size), np.float32)
        found: Contestants = {"mlext": lambda a=a, b=b: F.matmul(a, b), "numpy": lambda a=a, b=b: a @ b}  # type: ignore[misc]
        if torch:
            ta, tb = torch.from_numpy(a), torch.from_numpy(b)
            found["torch"] = lambda ta=ta, tb=tb: ta @ tb  # type: ignore[misc]
        yield f"matmul {size} x {size} x {size}", found
    x = rng.standard_normal((1 << 20,), np.float32)
    found = {"mlext": lambda: F.exp(x), "numpy": lambda: np.exp(x)}
    if torch:
        tx = torch.from_numpy(x)
        found["torch"] = lambda: torch.exp(tx)
    yield "exp of 1,048,576", found
    rows = rng.standard_normal((512, 1000), np.float32)
    found = {"mlext": lambda: F.softmax(rows), "numpy": lambda: _softmax(rows)}
    if torch:
        trows = torch.from_numpy(rows)
        found["torch"] = lambda: torch.softmax(trows, -1)
    yield "softmax 512 x 1000", found
    yield from _steps(torch, rng)


def _softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _steps(torch: Any, rng: np.random.Generator) -> Iterator[tuple[str, Contestants]]:
    """Training steps, NumPy batch in: compiled against PyTorch eager."""
    for sizes, batch in (((2, 10, 1), 4), ((784, 128, 10), 32)):
        x = rng.standard_normal((batch, sizes[0]), np.float32)
        y = rng.standard_normal((batch, sizes[2]), np.float32)
        found = {"mlext": _mlext_step(sizes, x, y)}
        if torch:
            found["torch"] = _torch_step(torch, sizes, x, y)
        yield f"training step {'-'.join(map(str, sizes))}, batch {batch}", found


def _mlext_step(sizes: tuple[int, int, int], x: Any, y: Any) -> Callable[[], Any]:
    model = nn.Sequential(nn.Linear(sizes[0], sizes[1], rng=0), nn.ReLU(), nn.Linear(sizes[1], sizes[2], rng=1))
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    @mlext.compile
    def step(x: Any, y: Any) -> Any:
        loss = mlext.losses.mse(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return lambda: step(x, y)


def _torch_step(torch: Any, sizes: tuple[int, int, int], x: Any, y: Any) -> Callable[[], Any]:
    layers = torch.nn.Linear(sizes[0], sizes[1]), torch.nn.ReLU(), torch.nn.Linear(sizes[1], sizes[2])
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> Any:
        loss = torch.nn.functional.mse_loss(model(torch.from_numpy(x)), torch.from_numpy(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step
