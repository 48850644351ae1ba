"""Each kernel alone beside what the core can do at most, measured in one run: ``results/kernels.json`` and a table.

    make bench            # or: python benches/kernels.py [--rounds 3]

``benches/rust/roofline.rs`` times the kernels, ``ceilings.c`` the core. Operations are products of the integer
kernels and products and sums of the others; bytes are those that a kernel must read and write. A kernel is held
against the ceiling that it is nearest to.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from statistics import median
from typing import Any

import harness
from search import ceilings

ROOT = Path(__file__).parents[1]
BENCH = ["cargo", "bench", "--quiet", "--locked", "--package", "turboquant-rs-core", "--bench", "roofline"]
#: What bounds a kernel's operations, by level; the other kernels are held against reading their cache alone.
PEAKS = {
    ("int8 product", "avx2"): "vpmaddwd_ymm_products_per_ns",
    ("int8 product", "avx512vnni"): "vpdpbusd_zmm_products_per_ns",
    ("block transform", "avx2"): "vaddps_ymm_sums_per_ns",
    ("block transform", "avx512"): "vaddps_zmm_sums_per_ns",
}
#: Kernels whose data are in the second-level cache; that of the others is in the first.
SECOND = {"first stage, sign planes", "panel decoding"}


def run(rounds: int) -> dict[str, Any]:
    """Measure kernels and ceilings in turn; return medians and spreads."""
    peaks: list[dict[str, float]] = []
    seconds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for _ in range(rounds):
        peaks.append(ceilings() or {})
        output = subprocess.run(BENCH, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for line in output.splitlines():
            found = json.loads(line)
            seconds.setdefault((found["kernel"], found["level"]), []).append(found)
    tops = {name: max(peak[name] for peak in peaks) for name in peaks[0]}
    rows = []
    for (kernel, level), found in seconds.items():
        operations, size = found[0]["operations"], found[0]["bytes"]
        row: dict[str, Any] = {
            "kernel": kernel,
            "level": level,
            "seconds": harness.summary([f["seconds"] for f in found]),
        }
        time = median(f["seconds"] for f in found)
        row |= {"operations_per_ns": operations / time / 1e9, "gb_per_s": size / time / 1e9}
        name = PEAKS.get((kernel, level)) or ("read_l2_gb_per_s" if kernel in SECOND else "read_l1_gb_per_s")
        if top := tops.get(name):
            rate = row["operations_per_ns"] if (kernel, level) in PEAKS else row["gb_per_s"]
            row |= {"ceiling": name, "share_of_ceiling": rate / top}
        rows.append({key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in row.items()})
    return {"machine": harness.machine(), "rounds": rounds, "ceilings": tops, "kernels": rows}


def table(result: dict[str, Any]) -> str:
    """Return the rows of the levels that matter as docs/kernels.md has them."""
    lines = ["| kernel | level | operations a ns | GB/s | share of |", "|---|---|---|---|---|"]
    for row in result["kernels"]:
        if row["level"] in ("avx2", "avx512", "avx512vnni") and not (
            row["level"] == "avx512vnni" and row["kernel"] != "int8 product"
        ):
            share = f"{row['share_of_ceiling']:.2f} {row['ceiling']}" if "ceiling" in row else ""
            rate = f"{row['operations_per_ns']:.3g}" if row["operations_per_ns"] else ""
            lines.append(f"| {row['kernel']} | {row['level']} | {rate} | {row['gb_per_s']:.3g} | {share} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table and write benches/results/kernels.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    result = run(parser.parse_args().rounds)
    print(table(result))
    print(json.dumps(result["ceilings"]))
    print("written:", harness.write("kernels", result).name)


if __name__ == "__main__":
    main()
