"""Batch search speed beside turbovec and FAISS, one thread each, interleaved, recall and correctness beside every time.

    python benches/search.py [--dims 768 1536] [--bits 4 2] [--rows 100000] [--queries 1000] [--k 10] [--rounds 7]

Every contestant is a process of its own, since some switches are read once a process: turbovec's search in stages can
only be turned off so, and FAISS's instruction set only forced so. Processes take turns; only one of them works at a
time. Rows are isotropic, the hardest case for a search in stages; exact neighbours are float32 inner products, and our
ids are held against the reference's ranking of the same codes. The machine's own ceilings come from
``ceilings.c`` in the same run, if there is a C compiler. Peers: ``pip install turbovec==1.1.2 faiss-cpu``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ONE_THREAD = dict.fromkeys(("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

#: Queries whose ids are held against the reference, which is NumPy and slow.
CHECKED = 20

Rows = NDArray[np.float32]
Search = Callable[[Rows, int], tuple[NDArray[Any], NDArray[Any]]]

#: Contestants that are no level of ours: what to run, and the environment that forces it.
PEERS = {
    "turbovec, staged": ("turbovec", {}),
    "turbovec, every row": ("turbovec", {"TURBOVEC_2BIT_PLANES": "0", "TURBOVEC_4BIT_PLANES": "0"}),
    "turbovec, every row, no VNNI": (
        "turbovec",
        {"TURBOVEC_2BIT_PLANES": "0", "TURBOVEC_4BIT_PLANES": "0", "TURBOVEC_NO_VNNI": "1"}
        | {"TURBOVEC_NO_VECTOR_MAJOR": "1"},
    ),
    "faiss PQFastScan": ("faiss", {}),
    "faiss PQFastScan, AVX2": ("faiss", {"FAISS_SIMD_LEVEL": "AVX2"}),
}


def vectors(rows: int, dim: int, seed: int) -> Rows:
    """Return unit rows without a preferred direction."""
    x = np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x


def build(kind: str, x: Rows, bits: int) -> Search:
    """Return a search over an index of the rows."""
    dim = x.shape[1]
    if kind == "ours":
        from turboquant_rs import Index

        index = Index(dim, bits)
        index.add(x)
        return lambda queries, k: index.search(queries, k, threads=1)
    if kind == "turbovec":
        from turbovec import TurboQuantIndex

        peer = TurboQuantIndex(dim, bits)
        peer.add(x)
        return lambda queries, k: peer.search(queries, k)
    import faiss

    # Equal bytes: 4 bits a coordinate, or for 2 bits one code of 4 bits for two coordinates.
    scan = faiss.IndexPQFastScan(dim, dim * bits // 4, 4, faiss.METRIC_INNER_PRODUCT)
    scan.train(x[:10_000])
    scan.add(x)
    return lambda queries, k: scan.search(queries, k)


def work(options: argparse.Namespace) -> None:
    """Be a contestant: build, answer once, then search at every line of input and say how long it took."""
    kind = options.worker
    queries = vectors(options.queries, options.dim, 1)
    try:
        search = build(kind, vectors(options.rows, options.dim, 0), options.bit)
    except ImportError:
        print(json.dumps({"missing": True}), flush=True)
        return
    scores, ids = search(queries, options.k)
    version = None
    if kind == "ours":
        from turboquant_rs import simd

        version = simd.level()
    print(json.dumps({"ids": np.asarray(ids).tolist(), "level": version, "scores": len(scores)}), flush=True)
    for _ in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        search(queries, options.k)
        print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]), flush=True)


class Contestant:
    """A process that searches when it is told to."""

    def __init__(
        self, kind: str, environment: dict[str, str], options: argparse.Namespace, dim: int, bits: int
    ) -> None:
        command = [sys.executable, __file__, "--worker", kind, "--dim", str(dim), "--bit", str(bits)]
        for name in ("rows", "queries", "k"):
            command += [f"--{name}", str(getattr(options, name))]
        pipe, every = subprocess.PIPE, {**os.environ, **ONE_THREAD, **environment}
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=every)
        self.first = self.answer()
        self.times: list[list[float]] = []

    def answer(self) -> Any:
        """Return the next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a contestant ended: {self.process.args}")
        return json.loads(line)

    def run(self) -> None:
        """Search once."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.times.append(self.answer())

    def end(self) -> None:
        """Let it go."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def truths(options: argparse.Namespace, dim: int, bits: int) -> tuple[list[set[int]], list[list[int]]]:
    """Return the exact neighbours of all queries, and for some the top k of the reference's scores of the codes."""
    from turboquant_rs import TurboQuant, reference
    from turboquant_rs.reference.scan import score
    from turboquant_rs.reference.staged import clamp, has_first_stage, row_bounds, upper

    x, queries = vectors(options.rows, dim, 0), vectors(options.queries, dim, 1)
    exact = []
    for block in np.array_split(queries, max(1, len(queries) // 100)):
        found = np.argpartition(-(block @ x.T), options.k, axis=1)[:, : options.k]
        exact += [set(row.tolist()) for row in found]
    plain = reference.TurboQuant(dim, bits)
    codes = TurboQuant(dim, bits).encode(x)
    best: list[list[tuple[float, int]]] = [[] for _ in range(CHECKED)]
    for start in range(0, len(x), 10_000):
        # The reference reads its own codes from bytes: the two are the same format.
        part = reference.Codes.from_bytes(codes[start : start + 10_000].to_bytes())
        found = score(plain, queries[:CHECKED], part)
        if has_first_stage(plain):
            found = clamp(found, upper(plain, queries[:CHECKED], part, row_bounds(plain, part)))
        for i, scores in enumerate(found):
            top = np.argsort(-scores, kind="stable")[: options.k]
            best[i] += [(-float(scores[row]), start + int(row)) for row in top]
    ranked = [[row for _, row in sorted(pairs)[: options.k]] for pairs in best]
    return exact, ranked


def ceilings() -> dict[str, float] | None:
    """Compile and run ceilings.c: this core's peaks, in the same minute as the searches."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or os.uname().machine != "x86_64":
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "ceilings"
        source = Path(__file__).parent / "ceilings.c"
        subprocess.run([compiler, "-O2", "-o", program, source], check=True)
        return dict(json.loads(subprocess.run([program], check=True, capture_output=True, text=True).stdout))


def cell(options: argparse.Namespace, dim: int, bits: int) -> dict[str, Any]:
    """Run all contestants of one dimension and width."""
    import harness
    from turboquant_rs import simd

    exact, ranked = truths(options, dim, bits)
    levels = [level for level in simd.available() if level != "scalar"]
    chosen = {f"turboquant-rs {level}": ("ours", {"TURBOQUANT_SIMD": level}) for level in levels} | PEERS
    running: dict[str, Contestant] = {}
    for name, (kind, environment) in chosen.items():
        contestant = Contestant(kind, environment, options, dim, bits)
        if "missing" in contestant.first:
            contestant.end()
            continue
        running[name] = contestant
    before = ceilings()
    for _ in range(options.rounds):
        for contestant in running.values():
            contestant.run()
    rows = []
    best = f"turboquant-rs {levels[-1]}"
    for name, contestant in running.items():
        contestant.end()
        ids = contestant.first["ids"]
        hits = [len(truth & set(found)) / options.k for truth, found in zip(exact, ids, strict=True)]
        same = [found == wanted for found, wanted in zip(ids, ranked, strict=False)]
        pairs = options.rows * options.queries
        cpu = [c for c, _ in contestant.times]
        ratios = [c / b for c, (b, _) in zip(cpu, running[best].times, strict=True)]
        row = {
            "what": name,
            "recall": round(statistics.mean(hits), 4),
            "ids_equal_reference": all(same) if name.startswith("turboquant-rs") else None,
            "ns_per_row_and_query": harness.summary([c / pairs * 1e9 for c in cpu]),
            "wall_ms_per_query": harness.summary([w / options.queries * 1e3 for _, w in contestant.times]),
            "cpu_time_relative_to_ours": harness.summary(ratios),
            "products_per_ns": harness.summary([pairs * dim / c / 1e9 for c in cpu]),
        }
        assert row["ids_equal_reference"] is not False, f"{name} must find the reference's ids"
        rows.append(row)
        print(
            f"dim {dim:5} bits {bits} {name:30} {row['ns_per_row_and_query']['median']:8.3f} ns/row/query "
            f"{row['products_per_ns']['median']:7.1f} G products/s  recall {row['recall']:.3f} "
            f"{row['cpu_time_relative_to_ours']['median']:6.2f} × our time",
            flush=True,
        )
    missing = sorted(set(chosen) - set(running))
    return {"dim": dim, "bits": bits, "ceilings": before, "not_installed": missing, "contestants": rows}


def main() -> None:
    """Run the grid and write benches/results/search.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[768, 1536])
    parser.add_argument("--bits", type=int, nargs="+", default=[4, 2])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--dim", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--bit", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    import harness

    settings = {name: getattr(options, name) for name in ("rows", "queries", "k", "rounds")}
    result = {"machine": harness.machine(), **settings, "threads": 1, "cells": []}
    for dim in options.dims:
        for bits in options.bits:
            result["cells"].append(cell(options, dim, bits))
    print("written:", harness.write("search", result).name)


if __name__ == "__main__":
    main()
