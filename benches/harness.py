"""Shared by the benchmarks: interleaved rounds, medians with spread, the machine in words, results as JSON.

Machines are shared and their speed drifts, so contestants take turns within a round, and a claim is the median over
rounds of the ratio inside a round. Times are the process's CPU time (one thread is asked of everyone) beside wall time.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Return the processor, its level and the versions in play."""
    from turboquant_rs import simd

    cpu = platform.processor() or "unknown"
    flags: list[str] = []
    info = Path("/proc/cpuinfo")
    if info.exists():
        fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in fields.items()}
        cpu = fields.get("model name", cpu) + f" (family {fields.get('cpu family')}, model {fields.get('model')})"
        flags = [f for f in ("avx2", "avx512f", "avx512_vnni", "amx_int8") if f in fields.get("flags", "").split()]
    return {
        "cpu": cpu,
        "cpu_features": flags,
        "level": simd.level(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("turboquant-rs", "numpy", "turbovec", "rabitqlib", "faiss-cpu")},
    }


def version(name: str) -> str | None:
    """Return an installed package's version, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def interleave(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Run every contestant once a round after one warm-up; return (CPU, wall) seconds by name, one pair a round."""
    for run in contestants.values():
        run()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return times


def summary(values: list[float]) -> dict[str, float]:
    """Return median, least and largest of a list, to four digits."""
    return {name: float(f"{f(values):.4g}") for name, f in (("median", statistics.median), ("min", min), ("max", max))}


def write(name: str, result: dict[str, Any]) -> Path:
    """Write a result as ``results/<name>.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path
