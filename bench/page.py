"""Write the results page: tables of what bench/run.py measured, and a picture of the square products.

    python bench/run.py gemm linear --json results.json
    python bench/page.py results.json more.json --to docs

Rows in which any peer is faster come in bold. Several files must come from one machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import report

Record = dict[str, Any]
PICTURE = "squares.png"


def load(paths: Iterable[Path]) -> dict[str, Any]:
    """All records of several files, and the machine of the first."""
    found = [json.loads(path.read_text()) for path in paths]
    cpus = {out["machine"]["cpu"] for out in found}
    if len(cpus) != 1:
        raise SystemExit(f"page: the files come from several machines: {', '.join(sorted(cpus))}")
    out = found[0]
    for other in found[1:]:
        out["records"] += other["records"]
        out["versions"] |= other["versions"]
        out["peaks"] |= {threads: out["peaks"].get(threads, peak) for threads, peak in other["peaks"].items()}
    return out


def loses(record: Record) -> bool:
    return any(ratio > 1 for ratio in record["ratio"].values())


def table(records: list[Record], peaks: dict[str, Any], caches: dict[str, int]) -> list[str]:
    labels = report.labels_of(records)
    rows = []
    for record in records:
        name = f"**{record['row']}**" if loses(record) else record["row"]
        took = report.seconds_text(record["median"]["mlext"])
        took += f", {report.rate(record)}" if record.get("tokens") else ""
        cells = [name, took, f"{record['noise']['mlext']:.0%}"]
        cells.append(f"{report.share_of_peak(record, peaks, caches):.0f}")
        rows.append(cells + [report.ratio_text(record, label, "") for label in labels])
    worst = [f"{max(report.ratios(records, label)):.2f}" for label in labels]
    for name, values in (("geometric mean", report.means(records, labels)), ("worst", worst)):
        rows.append([name, "", "", "", *values])
    return report.markdown(["row", "mlext", "noise", "% of peak", *map(report.title, labels)], rows)


def verdict(records: list[Record]) -> str:
    lost = sum(map(loses, records))
    return f"{len(records)} rows; in {lost} of them some peer is faster."


def page(out: dict[str, Any], has_picture: bool) -> str:
    machine = out["machine"]
    used = ", ".join(f"{report.TITLES[name]} {version}" for name, version in out["versions"].items())
    lines = [
        "# Results",
        "",
        f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['compiler']}; {used}.",
        "",
        "Written by `bench/page.py` from what `bench/run.py` measured; [performance.md](performance.md) says how.",
        "Columns of peers are mlext's time over the peer's: below 1 mlext is faster, and rows in bold are lost to",
        "someone. Matrix products are written n x k @ k x m, `W^T` and `x^T` where a factor is a transposed view;",
        "convolutions N x H x W x C -> O, rows x columns of a filter / stride; attentions heads / heads of keys where",
        "fewer, q queries, k keys where not as many, d features of a head.",
    ]
    if has_picture:
        lines += ["", f"![Square products, per cent of peak against size]({PICTURE})"]
    keys = list(dict.fromkeys((record["family"], record["threads"]) for record in out["records"]))
    for family, threads in keys:
        records = [r for r in out["records"] if (r["family"], r["threads"]) == (family, threads)]
        lines += ["", f"## {family}, {threads} thread{'s' * (threads > 1)}", "", verdict(records), ""]
        lines += table(records, out["peaks"][str(threads)], machine["caches"])
    return "\n".join(lines) + "\n"


def squares(records: list[Record], threads: int) -> list[tuple[int, Record]]:
    """(size, record) of the square products without a transposed factor."""
    found = []
    for record in records:
        words = record["row"].split()
        if record["family"] != "gemm" or record["threads"] != threads or len(words) != 4:
            continue
        sizes = set(f"{words[1]}x{words[3]}".split("x"))
        if len(sizes) == 1:
            found.append((int(sizes.pop()), record))
    return sorted(found, key=lambda pair: pair[0])


def draw(out: dict[str, Any], path: Path) -> bool:
    """Per cent of peak against size, a line for each contestant and a panel for each number of threads."""
    threads = [int(t) for t in out["peaks"] if len(squares(out["records"], int(t))) > 2]
    if not threads:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * len(threads), 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, t in zip(figure.subplots(1, len(threads), squeeze=False)[0], threads, strict=True):
        pairs, peak = squares(out["records"], t), out["peaks"][str(t)]["gflops_f32"]
        for label in ["mlext", *report.labels_of([record for _, record in pairs])]:
            shares = [r["flops"] / r["median"].get(label, float("nan")) / 1e7 / peak for _, r in pairs]
            ours = label == "mlext"
            axes.plot(shares, marker=".", label=label if ours else report.title(label), linewidth=2.5 if ours else 1)
        axes.set(xlabel="n of n x n x n, float32", ylabel="% of peak", ylim=(0, 105))
        axes.set_title(f"{t} thread{'s' * (t > 1)}, peak {peak:.0f} GFLOP/s")
        axes.set_xticks(range(len(pairs)), [str(n) for n, _ in pairs])
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", metavar="JSON")
    parser.add_argument("--to", type=Path, default=Path("docs"), metavar="FOLDER")
    options = parser.parse_args()
    out = load(options.results)
    has_picture = draw(out, options.to / PICTURE)
    (options.to / "results.md").write_text(page(out, has_picture))


if __name__ == "__main__":
    main()
