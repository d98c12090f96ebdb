"""What `import mlext` costs beyond `import numpy`, in fresh processes that import the one and then the other.

Processor time of the importing thread, which neither a busy machine nor the thread pool of NumPy's BLAS changes.
Bytecode is compiled once, before, as pip does.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

SCRIPT = "from time import thread_time as t; a = t(); import numpy; b = t(); import mlext; print(b - a, t() - b)"


def seconds(env: dict[str, str]) -> list[float]:
    """Of NumPy, and of mlext after it."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def measure(samples: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        seconds(env)
        runs = [seconds(env) for _ in range(samples)]
    numpy, mlext = (1e3 * statistics.median(column) for column in zip(*runs, strict=True))
    return {"numpy_ms": numpy, "difference_ms": mlext}


def text(found: dict[str, float]) -> str:
    return f"\nimport: numpy {found['numpy_ms']:.1f} ms, mlext {found['difference_ms']:+.1f} ms (medians)"
