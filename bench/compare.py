"""What changed between two runs beyond their noise.

    python bench/compare.py before.json after.json

Exits with 1 if a row became slower. Compare only runs of one machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import report


def load(path: Path) -> tuple[dict[str, Any], dict[tuple[Any, ...], dict[str, Any]]]:
    data = json.loads(path.read_text())
    return data, {(r["family"], r["row"], r["threads"]): r for r in data["records"]}


def margin(before: dict[str, Any], after: dict[str, Any]) -> float:
    """A change below this is noise: three deviations of both runs, and never less than 3 %."""
    return max(0.03, 3 * (before["noise"]["mlext"] + after["noise"]["mlext"]))


def changes(before: dict[Any, Any], after: dict[Any, Any]) -> list[tuple[float, str]]:
    """(new time over old, text) of every row of both that changed, the worst first."""
    found = []
    for key in before.keys() & after.keys():
        old, new = before[key]["median"]["mlext"], after[key]["median"]["mlext"]
        ratio, noise = new / old, margin(before[key], after[key])
        if ratio > 1 + noise or ratio < 1 / (1 + noise):
            what = f"{key[0]}: {key[1]}, {key[2]} thread{'s' * (key[2] > 1)}"
            times = f"{report.seconds_text(old)} -> {report.seconds_text(new)}"
            found.append((ratio, f"{ratio:6.2f}x  {what}: {times} (noise {noise:.0%})"))
    return sorted(found, reverse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args()
    (data, before), (other, after) = load(options.before), load(options.after)
    if data["machine"]["cpu"] != other["machine"]["cpu"]:
        print(f"different machines: {data['machine']['cpu']} and {other['machine']['cpu']}")
    found = changes(before, after)
    print(f"{len(before.keys() & after.keys())} rows in both, {len(found)} changed beyond noise (time after / before)")
    for _, text in found:
        print(text)
    for name, only in (
        ("before", before.keys() - after.keys()),
        ("after", after.keys() - before.keys()),
    ):
        if only:
            print(f"only in {name}: {len(only)} rows")
    sys.exit(any(ratio > 1 for ratio, _ in found))


if __name__ == "__main__":
    main()
