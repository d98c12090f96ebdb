"""Results as text: a table per family, and the table of README.md."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import timing

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
TITLES = {
    "numpy": "NumPy",
    "torch": "PyTorch",
    "torch_channels_last": "torch, channels last",
    "torch_compile": "torch.compile",
    "jax": "JAX",
    "keras": "Keras on JAX",
    "onnxruntime": "ONNX Runtime",
    "blis": "BLIS",
    "sklearn": "scikit-learn",
}


def seconds_text(value: float) -> str:
    for unit, scale in (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3)):
        if value < 1000 * scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value:.3g} s"


def ratio_text(record: dict[str, Any], label: str, absent: str) -> str:
    ratio = record["ratio"].get(label)
    return absent if ratio is None else f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.3f}"


def print_machine(out: dict[str, Any]) -> None:
    machine = out["machine"]
    print(f"{machine['cpu']}, {machine['cpus']} CPUs, load {machine['load']:.1f}, {machine['compiler']}")
    print(", ".join(f"{name} {version}" for name, version in out["versions"].items()))
    if machine["vendor"] == "GenuineIntel":
        print("Intel: libraries choose AVX-512 by themselves; there is no column of forced ones")


def rate(record: dict[str, Any]) -> str:
    median = record["median"]["mlext"]
    if record.get("tokens"):
        return f"{record['tokens'] / median:.0f} tokens/s"
    if record["flops"] and not record["reads_only"]:
        return f"{record['flops'] / median / 1e9:.1f} GF/s"
    return f"{record['bytes'] / median / 1e9:.1f} GB/s"


def share_of_peak(record: dict[str, Any], peaks: dict[str, Any], caches: dict[str, int]) -> float:
    """Per cent of the measured peak that bounds the row: FLOPs, or bytes where its arrays live."""
    median = record["median"]["mlext"]
    level = next((name for name in ("L1", "L2", "L3") if record["footprint"] <= caches[name]), "DRAM")
    memory = peaks["read_gbytes" if record["reads_only"] else "copy_gbytes"][level]
    shares = (
        record["flops"] / median / 1e9 / peaks[record["peak"]],
        record["bytes"] / median / 1e9 / memory,
    )
    return 100 * max(shares)


def labels_of(records: list[dict[str, Any]]) -> list[str]:
    found = dict.fromkeys(label for record in records for label in record["ratio"])
    return sorted(found, key=lambda label: (list(TITLES).index(label.split()[0]), label))


def print_family(records: list[dict[str, Any]], peaks: dict[str, Any], caches: dict[str, int]) -> None:
    if not records:
        return
    labels = labels_of(records)
    threads = records[0]["threads"]
    print(
        f"\n{records[0]['family']}, {threads} thread{'s' * (threads > 1)}, {peaks['isa']}; "
        "ratios: mlext's time over the peer's"
    )
    width = max(len(record["row"]) for record in records)
    print(
        f"{'row':<{width}} {'median':>9} {'noise':>6} {'rate':>12} {'% peak':>7} "
        + " ".join(f"{label:>13}" for label in labels)
    )
    for record in records:
        cells = [ratio_text(record, label, "-") for label in labels]
        print(
            f"{record['row']:<{width}} {seconds_text(record['median']['mlext']):>9} "
            f"{record['noise']['mlext']:>6.1%} "
            f"{rate(record):>12} {share_of_peak(record, peaks, caches):>7.1f} "
            + " ".join(f"{cell:>13}" for cell in cells)
        )
    for label in labels:
        print(summary(records, label))
    sys.stdout.flush()


def ratios(records: list[dict[str, Any]], label: str) -> list[float]:
    """Of the records that have one."""
    return [record["ratio"][label] for record in records if label in record["ratio"]]


def summary(records: list[dict[str, Any]], label: str) -> str:
    found = ratios(records, label)
    worst = next(record for record in records if record["ratio"].get(label) == max(found))
    return f"  {label}: geometric mean {timing.geometric_mean(found):.2f}, worst {max(found):.2f} ({worst['row']})"


# ---- Markdown ------------------------------------------------------------------------------------

README_PEERS = ("numpy", "torch", "jax", "onnxruntime")


def title(label: str) -> str:
    name, _, forced = label.partition(" ")
    return TITLES[name] + (", AVX-512 forced" if forced else "")


def markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table."""
    return [f"|{'|'.join(row)}|" for row in (head, ["---"] * len(head), *rows)]


def means(records: list[dict[str, Any]], labels: list[str]) -> list[str]:
    return [f"{timing.geometric_mean(ratios(records, label)):.2f}" for label in labels]


def readme_table(out: dict[str, Any]) -> str:
    records = [record for record in out["records"] if record["readme"]]
    labels = [label for label in labels_of(records) if label.split()[0] in README_PEERS]
    rows = []
    for record in records:
        cells = [ratio_text(record, label, "") for label in labels]
        rows.append([record["row"], seconds_text(record["median"]["mlext"]), *cells])
    rows.append(["geometric mean", "", *means(records, labels)])
    used = ", ".join(f"{TITLES[n]} {v}" for n, v in out["versions"].items() if n in README_PEERS)
    where = f"{out['machine']['cpu']}; {used}"
    note = f"Columns: mlext's time over the peer's, below 1 is faster. {where}."
    return "\n".join([*markdown(["one thread, float32", "mlext", *map(title, labels)], rows), "", note])


def write_readme(path: Path, out: dict[str, Any]) -> None:
    before, rest = path.read_text().split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n{readme_table(out)}\n{END}{after}")
    print(f"wrote the table of {path.name}")
