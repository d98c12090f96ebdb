"""What `import mlext` costs beyond `import numpy`: fresh processes, the two in turn.

Processor time, which a busy machine does not change. Bytecode is compiled once, before, as pip does.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

SCRIPT = "from time import process_time as t; a = t(); import {}; print(t() - a)"


def seconds(package: str, env: dict[str, str]) -> float:
    command = [sys.executable, "-c", SCRIPT.format(package)]
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure(samples: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        seconds("numpy", env), seconds("mlext", env)
        pairs = [(seconds("numpy", env), seconds("mlext", env)) for _ in range(samples)]
    numpy, mlext = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
    return {"numpy_ms": numpy, "mlext_ms": mlext, "difference_ms": mlext - numpy}


def text(found: dict[str, float]) -> str:
    return (
        f"\nimport: numpy {found['numpy_ms']:.1f} ms, mlext {found['mlext_ms']:.1f} ms: "
        f"{found['difference_ms']:+.1f} ms (medians)"
    )
