"""One query at a time beside turbovec's search in stages and FAISS PQFastScan, one thread each, interleaved.

    python benches/single.py [--rows 100000] [--rounds 9] [--k 10] [--glosses FOLDER]

Real embeddings (the 100,000 glosses that ``evaluation.build_glosses`` makes), where ours is a plain and a fitted index,
and isotropic rows of 768 dims, the hardest case for a search in stages. Ours runs at several ``deviations``: 3, the
default, to 0. Every time stands beside the recall of the float32 neighbors and the rows that were read in full, and
ours is first held against its own scan of every row. Times are CPU time a query.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Read when the libraries load.
os.environ.update(dict.fromkeys(("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
from harness import interleave, machine, summary, write
from numpy.typing import NDArray
from turboquant_rs import Index, SearchStats, TurboQuant

Rows = NDArray[np.float32]

BITS = 4
DEVIATIONS = (3.0, 2.0, 1.0, 0.0)
#: Queries of a round.
QUERIES = 100
#: Rows a fit sees.
SAMPLE = 20_000


def sets(rows: int, glosses: Path | None) -> dict[str, tuple[Rows, Rows]]:
    """Return rows and queries of every kind."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 768), dtype=np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    found = {"isotropic, 768 dims": (x, rng.standard_normal((QUERIES, 768), dtype=np.float32))}
    if glosses is not None:
        base, queries = (np.load(glosses / f"{name}.npy").astype(np.float32) for name in ("base", "queries"))
        found["glosses, 384 dims"] = (base[:rows], queries[:QUERIES])
    return found


def ours(codec: TurboQuant, x: Rows, queries: Rows, k: int, deviations: float) -> tuple[Callable[[Rows], Any], float]:
    """Return a search of one query, held against the scan of every row, and how many rows it reads in full."""
    index, stats = Index(codec=codec), SearchStats()
    index.add(x)
    want = index.search(queries, k, exact=True, deviations=deviations)
    for i, query in enumerate(queries):
        scores, ids = index.search(query, k, stats=stats, deviations=deviations)
        assert np.array_equal(ids, want[1][i]), "stages must find what a full scan finds"
        assert np.array_equal(scores, want[0][i]), "stages must score as a full scan does"
    return lambda query: index.search(query, k, threads=1, deviations=deviations)[1], stats.full_rows / len(queries)


def peers(x: Rows, k: int) -> dict[str, Callable[[Rows], Any]]:
    """Return the searches of the other libraries that are installed."""
    found: dict[str, Callable[[Rows], Any]] = {}
    try:
        from turbovec import TurboQuantIndex

        staged = TurboQuantIndex(x.shape[1], BITS)
        staged.add(x)
        found["turbovec, staged"] = lambda query: staged.search(query[None], k)[1][0]
    except ImportError:
        pass
    try:
        import faiss

        scan = faiss.IndexPQFastScan(x.shape[1], x.shape[1] * BITS // 4, 4, faiss.METRIC_INNER_PRODUCT)
        scan.train(x[:10_000])
        scan.add(x)
        found["faiss PQFastScan"] = lambda query: scan.search(query[None], k)[1][0]
    except ImportError:
        pass
    return found


def main() -> None:
    """Run every set and write benches/results/single.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 100_000), ("rounds", 9), ("k", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--glosses", type=Path, help="folder of base.npy and queries.npy")
    options = parser.parse_args()
    k, cells = options.k, []
    for kind, (x, queries) in sets(options.rows, options.glosses).items():
        dim = x.shape[1]
        exact = [set(row.tolist()) for row in np.argpartition(-(queries @ x.T), k, axis=1)[:, :k]]
        codecs = {"plain": TurboQuant(dim, BITS)}
        if kind.startswith("glosses"):
            codecs["fitted"] = TurboQuant.fit(x[:SAMPLE], bits=BITS)
        searches, full = peers(x, k), {}
        for name, codec in codecs.items():
            for deviations in DEVIATIONS:
                what = f"turboquant-rs {name}, deviations {deviations:g}"
                searches[what], full[what] = ours(codec, x, queries, k, deviations)
        recalls = {
            name: statistics.mean(
                len(truth & set(np.asarray(search(query)).tolist())) / k
                for query, truth in zip(queries, exact, strict=True)
            )
            for name, search in searches.items()
        }
        runs = {
            name: (lambda search=search, queries=queries: [search(query) for query in queries])
            for name, search in searches.items()
        }
        times = interleave(runs, options.rounds)  # type: ignore[arg-type]
        base = [cpu for cpu, _ in times.get("turbovec, staged", next(iter(times.values())))]
        for name, pairs in times.items():
            cpu = [cpu for cpu, _ in pairs]
            cell = {
                "rows": kind,
                "what": name,
                "recall": round(recalls[name], 4),
                "us_a_query": summary([seconds / len(queries) * 1e6 for seconds in cpu]),
                "speed_relative_to_turbovec": summary([b / c for b, c in zip(base, cpu, strict=True)]),
                "full_rows_a_query": full.get(name),
            }
            cells.append(cell)
            print(
                f"{kind:20} {name:38} recall {cell['recall']:.4f} {cell['us_a_query']['median']:9.1f} us/query  "
                f"{cell['speed_relative_to_turbovec']['median']:.2f} × turbovec's speed",
                flush=True,
            )
    parameters = {"rows": options.rows, "bits": BITS, "k": k, "threads": 1, "rounds": options.rounds}
    print(write("single", {"machine": machine(), **parameters, "cells": cells}))


if __name__ == "__main__":
    main()
