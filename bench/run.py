"""Time mlext against other libraries, row by row.

    python bench/run.py gemm elementwise --quick
    python bench/run.py dense --threads 1 2 --json dense.json
    python bench/run.py --readme

Every result is checked against a float64 reference before it is timed. One thread: the contestants
take turns in one process, but for those whose own threads go on for a while after a call, on the same
clock: they have a process with mlext in it again. Several threads: one contestant per process, processes alternating,
because two spinning thread pools in one process ruin each other's timings. Contestants on top of a
BLAS run twice where the CPU is not Intel's: as they come, and told to use AVX-512, which they do not
choose there by themselves; the second run is a process of its own, with mlext in it again as the
measure.
Ratios are mlext's time over the peer's: below 1 mlext is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import importing
import machine
import peers
import report
import timing
from ops import OPS
from rows import FAMILIES, HERE, rows_of

FORCED_SUFFIX = " avx512"
READING = ("sum", "mean", "max", "var", "argmax", "cross_entropy")
POOLED = ("jax", "keras", "torch_compile")  # their threads go on after a call
POOLED_MLEXT = "mlext beside pools"
ON_NUMPY = ("numpy", "sklearn")  # whose threads are those of NumPy's BLAS
ROUNDS = 3  # processes per contestant with several threads, by default


# ---- the child: one process that times some contestants ------------------------------------------


def child(options: argparse.Namespace) -> None:
    """Time the contestants named by --contestant and print the samples as JSON."""
    threads = options.threads[0]
    contestants = {}
    for name in options.contestant.split(","):
        contestants[name] = peers.load(name)
        contestants[name].setup(threads)
    found = {}
    for name, row in rows_of(options.family[0], options):
        calls = {}
        inputs = OPS[row["op"]].make(row, np.random.default_rng(0))
        for contestant, module in contestants.items():
            call = checked_call(module, row, inputs, f"{contestant}: {name}")
            if call is not None:
                calls[contestant] = call
        found[name] = timing.interleaved(
            calls,
            timing.clock_for(threads),
            samples=9 if options.quick else 25,
            sample_seconds=1e-3 if options.quick else 2e-3,
            budget=0.5 if options.quick else 1.0,
        )
    print(json.dumps(found))


def checked_call(module: Any, row: dict[str, Any], inputs: dict[str, Any], what: str) -> timing.Call | None:
    """The call to be timed, None if the contestant lacks the op; AssertionError if it is wrong."""
    build = module.build(row["op"])
    if build is None:
        return None
    try:
        built = build(inputs)
    except (KeyError, NotImplementedError):
        return None
    if built is None:
        return None
    call, read, *steps = built if isinstance(built, tuple) else (built, lambda result: result)
    result = [float(read(call())) for _ in range(*steps or [3])] if row["op"].startswith("train") else read(call())
    try:
        OPS[row["op"]].check(result, inputs)
    except AssertionError as error:
        raise AssertionError(f"{what}: wrong result: {error}") from None
    return call


# ---- the parent: processes, environments, merging ------------------------------------------------


def environment(contestants: list[str], threads: int, forced: bool, preload: str | None) -> dict[str, str]:
    env = dict(os.environ)
    for name in ("OMP", "OPENBLAS", "MKL", "MLEXT"):
        env[f"{name}_NUM_THREADS"] = str(threads)
    if not set(contestants) & set(ON_NUMPY):
        env["OPENBLAS_NUM_THREADS"] = "1"  # its threads, woken by a check, would spin beside what is timed next
    env["NPROC"] = str(threads)  # the size of JAX's pool
    if threads == 1:
        env["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    if forced:
        for settings in peers.FORCED.values():
            env |= settings
        if preload:
            env["LD_PRELOAD"] = preload
    return env


def mkl_preload(folder: str) -> str | None:
    """Build the library that makes MKL treat this CPU as Intel's; None without a C compiler."""
    source, library = Path(folder, "intel.c"), Path(folder, "libintel.so")
    source.write_text("int mkl_serv_intel_cpu_true(void) { return 1; }\n")
    try:
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return str(library)


def run_child(family: str, threads: int, names: list[str], env: dict[str, str], options: Any) -> dict[str, Any]:
    command = [
        sys.executable,
        str(HERE / "run.py"),
        family,
        "--threads",
        str(threads),
        "--contestant",
        ",".join(names),
    ]
    command += ["--only", options.only]
    command += [flag for flag, on in (("--quick", options.quick), ("--readme", options.readme)) if on]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"bench: {family}: the process for {', '.join(names)} ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def processes(threads: int, names: list[str], rounds: int) -> list[tuple[list[str], bool]]:
    """(contestants, forced) of each process to run, in order."""
    forced = [name for name in names if name in peers.FORCED and machine.cpu_vendor() != "GenuineIntel"]
    if threads == 1:
        pooled = [name for name in names if name in POOLED]
        alone = [([name for name in names if name not in POOLED], False)]
        return alone + [(["mlext", *more], on) for more, on in ((pooled, False), (forced, True)) if more]
    each = [([name], False) for name in names] + [([name], True) for name in forced]
    return each * rounds


def measure(family: str, threads: int, names: list[str], options: Any, preload: str | None) -> list[dict[str, Any]]:
    """One record per row: samples of each contestant, and the ratios."""
    samples: dict[str, dict[str, list[float]]] = {}
    idle: set[str] = set()  # contestants that have none of the family's ops
    for contestants, forced in processes(threads, names, options.rounds):
        if idle.issuperset(contestants):
            continue
        env = environment(contestants, threads, forced, preload)
        children = run_child(family, threads, contestants, env, options)
        idle |= set(contestants).difference(*children.values())
        suffix = FORCED_SUFFIX if forced else ""
        for row, found in children.items():
            for name, values in found.items():
                label = beside(contestants[-1] + suffix) if name == "mlext" else name + suffix
                samples.setdefault(row, {}).setdefault(label, []).extend(values)
    known = dict(rows_of(family, options))
    return [record(family, name, threads, known[name], found) for name, found in samples.items()]


def beside(label: str) -> str:
    """What mlext is called in the process that it shares with this contestant."""
    if label.endswith(FORCED_SUFFIX):
        return "mlext" + FORCED_SUFFIX
    return POOLED_MLEXT if label in POOLED else "mlext"


def record(
    family: str, name: str, threads: int, row: dict[str, Any], samples: dict[str, list[float]]
) -> dict[str, Any]:
    op = OPS[row["op"]]
    flops, bytes_ = op.work(row)
    medians = {label: timing.median(values) for label, values in samples.items()}
    ratios = {}
    for label, value in medians.items():
        if not label.startswith("mlext"):
            ratios[label] = medians.get(beside(label), medians["mlext"]) / value
    return {
        "family": family,
        "row": name,
        "threads": threads,
        "flops": flops,
        "peak": getattr(op, "peak", "gflops_f32"),
        "bytes": bytes_,
        "tokens": op.tokens(row) if hasattr(op, "tokens") else 0,
        "footprint": op.footprint(row) if hasattr(op, "footprint") else bytes_,
        "reads_only": op.reads_only(row) if hasattr(op, "reads_only") else row["op"] in READING,
        "readme": bool(row.get("readme")),
        "median": medians,
        "noise": {label: timing.noise(values) for label, values in samples.items()},
        "ratio": ratios,
    }


def versions(names: list[str]) -> dict[str, str]:
    from importlib import metadata

    aliases = {"sklearn": "scikit-learn", "torch_compile": "torch", "torch_channels_last": "torch"}
    packages = {name: aliases.get(name, name) for name in names if name != "mlext"}
    return {name: metadata.version(package) for name, package in packages.items()}


def parent(options: argparse.Namespace) -> None:
    names = []
    for name in peers.NAMES:
        if options.peers and name not in ("mlext", *options.peers):
            continue
        lacks = peers.missing(name)
        if lacks:
            print(f"{name}: left out, not installed: {', '.join(lacks)}")
        else:
            names.append(name)
    families = list(FAMILIES) if options.readme else options.family
    out: dict[str, Any] = {
        "machine": machine.describe(),
        "versions": versions(names),
        "peaks": {},
        "records": [],
    }
    report.print_machine(out)
    with tempfile.TemporaryDirectory() as folder:
        preload = mkl_preload(folder)
        for threads in [1] if options.readme else options.threads:
            out["peaks"][str(threads)] = machine.peaks(threads)
            for family in families:
                if family == "import":
                    out["import"] = importing.measure(20)
                    print(importing.text(out["import"]))
                    continue
                records = measure(family, threads, names, options, preload)
                out["records"] += records
                report.print_family(records, out["peaks"][str(threads)], out["machine"]["caches"])
    if options.json:
        options.json.write_text(json.dumps(out, indent=1) + "\n")
    if options.readme:
        report.write_readme(HERE.parent / "README.md", out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", nargs="*", choices=[[], *FAMILIES], metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument("--quick", action="store_true", help="fewer rows and samples")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], metavar="N")
    parser.add_argument(
        "--peers", nargs="+", choices=peers.NAMES, help="these contestants beside mlext; by default all"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="processes each with several threads")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write everything, for bench/compare.py")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose names have this in them")
    parser.add_argument("--readme", action="store_true", help="measure README.md's rows and rewrite its table")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.family and not options.readme:
        parser.error("name a family: " + ", ".join(FAMILIES))
    child(options) if options.contestant else parent(options)


if __name__ == "__main__":
    main()
