"""This machine: CPU, caches, and the peaks that benchmarks are measured against.

    python bench/machine.py [--json OUT]

Peaks are measured, not computed from a data sheet: independent fused multiply-adds in registers,
and reads and copies of a working set that fits in L1, L2, L3, or none of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

KIB = 1024
CPU0 = Path("/sys/devices/system/cpu/cpu0/cache")
DEFAULT_CACHES = {"L1": 32 * KIB, "L2": 1024 * KIB, "L3": 32 * 1024 * KIB}


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def cpu_vendor() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    return next((v for v in ("GenuineIntel", "AuthenticAMD") if v in text), "unknown")


def caches() -> dict[str, int]:
    """Bytes of the data caches that one core sees."""
    found = dict(DEFAULT_CACHES)
    for entry in CPU0.glob("index*"):
        if (entry / "type").read_text().strip() == "Instruction":
            continue
        size = (entry / "size").read_text().strip()
        level = "L" + (entry / "level").read_text().strip()
        found[level] = int(size.removesuffix("K")) * KIB
    return found


def working_sets() -> dict[str, int]:
    """Bytes of a working set that sits well inside each level, and of one far beyond the last."""
    size = caches()
    sets = {name: size[name] // 2 for name in ("L1", "L2", "L3")}
    # Shared caches are shared with whatever else runs: stay near the private ones.
    sets["L3"] = min(sets["L3"], 4 * size["L2"])
    sets["DRAM"] = min(8 * size["L3"], 512 << 20)
    return sets


def best(measure: Any, size: int) -> dict[str, float]:
    """The best of a few measurements: a peak is what the machine does when left alone."""
    runs = [measure(size) for _ in range(4)]
    return {name: max(run[name] for run in runs) for name in runs[0]}


def peaks(threads: int, isa: str | None = None) -> dict[str, Any]:
    """Peaks of one ISA level (default: the one in use) with so many threads."""
    from mlext import _C

    before = _C.get_num_threads(), _C.get_isa()
    try:
        _C.set_num_threads(threads)
        if isa is not None:
            _C.set_isa(isa)
        memory = {name: best(_C.measure_machine, size) for name, size in working_sets().items()}
        return {
            "isa": _C.get_isa(),
            "threads": threads,
            "gflops_f32": max(m["gflops_f32"] for m in memory.values()),
            "gflops_f64": max(m["gflops_f64"] for m in memory.values()),
            "gflops_bf16": max(m["gflops_bf16"] for m in memory.values()),
            "gops_i8": max(m["gops_i8"] for m in memory.values()),
            "read_gbytes": {name: m["read_gbytes"] for name, m in memory.items()},
            "copy_gbytes": {name: m["copy_gbytes"] for name, m in memory.items()},
        }
    finally:
        _C.set_num_threads(before[0])
        _C.set_isa(before[1])


def describe() -> dict[str, Any]:
    import mlext
    from mlext import _C

    everything = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": cpu_model(),
        "vendor": cpu_vendor(),
        "cpus": everything,
        "system": f"{platform.system()} {platform.machine()}",
        "caches": caches(),
        "load": os.getloadavg()[0],
        "mlext": mlext.__version__,
        "compiler": _C.compiler,
        "levels": list(_C.levels()),
    }


def measure() -> dict[str, Any]:
    """Describe the machine and measure every level, with one thread and with all."""
    found = describe()
    threads = sorted({1, found["cpus"]})
    found["peaks"] = [peaks(n, isa) for n in threads for isa in found["levels"]]
    return found


def table(machine: dict[str, Any]) -> str:
    size = ", ".join(f"{name} {bytes_ // KIB} KiB" for name, bytes_ in machine["caches"].items())
    lines = [f"{machine['cpu']}, {machine['cpus']} CPUs; {size}; load {machine['load']:.1f}", ""]
    head = ["isa", "threads", "f32 GF/s", "f64 GF/s"]
    head += [f"{kind} {name}" for kind in ("read", "copy") for name in working_sets()]
    lines.append(" ".join(f"{h:>11}" for h in head))
    for row in machine["peaks"]:
        cells = [row["isa"], row["threads"], f"{row['gflops_f32']:.1f}", f"{row['gflops_f64']:.1f}"]
        cells += [f"{rate:.1f}" for kind in ("read", "copy") for rate in row[f"{kind}_gbytes"].values()]
        lines.append(" ".join(f"{c!s:>11}" for c in cells))
    return "\n".join([*lines, "", "read and copy in GB/s (a copy counts bytes read and bytes written)"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="OUT")
    options = parser.parse_args()
    machine = measure()
    print(table(machine))
    if options.json:
        options.json.write_text(json.dumps(machine, indent=1) + "\n")


if __name__ == "__main__":
    main()
