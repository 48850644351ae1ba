"""One query at a time beside turbovec's search in stages and FAISS PQFastScan, one thread each, interleaved.

    python benches/single.py [--rounds 9] [--k 10] [--glosses FOLDER] [--only PART]

Real embeddings (the 100,000 glosses that ``evaluation.build_glosses`` makes), where ours is a plain index and fitted
ones of 4 and 3 bits, with AVX2, too; generated rows with a spectrum like embeddings', of 768 dims and a million of
384; and isotropic rows of 768 dims, the hardest case for a search in stages. Ours runs at several ``deviations``: 3,
the default, to 1. Every time stands beside the recall of the float32 neighbors and the rows that were read in full,
and ours is first held against its own scan of every row. Times are CPU time a query. ``--only`` runs the sets whose
names hold a text, and keeps what the result file says of others.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Read when the libraries load.
os.environ.update(dict.fromkeys(("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
from harness import RESULTS, interleave, machine, summary, write
from numpy.typing import NDArray
from turboquant_rs import Index, SearchStats, TurboQuant, simd
from turboquant_rs.evaluation.generators import embedding_like

Rows = NDArray[np.float32]

BITS = 4
DEVIATIONS = (3.0, 2.0, 1.0)
#: A level of most machines, at which the glosses are searched, too.
LESSER = "avx2"
#: Queries of a round.
QUERIES = 100
#: Rows a fit sees.
SAMPLE = 20_000


#: Rows of most sets, and of the large one, of which FAISS is left out: its training and adding take minutes.
ROWS, MANY = 100_000, 1_000_000


def isotropic() -> tuple[Rows, Rows]:
    """Return rows and queries without any structure."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, 768), dtype=np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x, rng.standard_normal((QUERIES, 768), dtype=np.float32)


def generated(rows: int, dim: int) -> tuple[Rows, Rows]:
    """Return rows and queries with a spectrum like embeddings'."""
    found = embedding_like(rows, dim, QUERIES)
    return found.base, found.queries


def glosses(folder: Path) -> tuple[Rows, Rows]:
    """Return the glosses and their queries."""
    base, queries = (np.load(folder / f"{name}.npy").astype(np.float32) for name in ("base", "queries"))
    return base[:ROWS], queries[:QUERIES]


def sets(folder: Path | None) -> dict[str, tuple[Callable[[], tuple[Rows, Rows]], tuple[int, ...]]]:
    """Return every set by name, with the bits of its fits."""
    found: dict[str, tuple[Callable[[], tuple[Rows, Rows]], tuple[int, ...]]] = {
        "isotropic, 768 dims": (isotropic, ()),
        "like embeddings, 768 dims": (lambda: generated(ROWS, 768), (4, 3)),
        "like embeddings, 384 dims, 1,000,000 rows": (lambda: generated(MANY, 384), ()),
    }
    if folder is not None:
        found["glosses, 384 dims"] = (lambda: glosses(folder), (4, 3))
    return found


def ours(index: Index, queries: Rows, k: int, deviations: float) -> tuple[Callable[[Rows], Any], float]:
    """Return a search of one query, held against the scan of every row, and how many rows it reads in full."""
    stats = SearchStats()
    want = index.search(queries, k, exact=True, deviations=deviations)
    for i, query in enumerate(queries):
        scores, ids = index.search(query, k, stats=stats, deviations=deviations)
        assert np.array_equal(ids, want[1][i]), "stages must find what a full scan finds"
        assert np.array_equal(scores, want[0][i]), "stages must score as a full scan does"
    return lambda query: index.search(query, k, threads=1, deviations=deviations)[1], stats.full_rows / len(queries)


@contextmanager
def forced(level: str | None) -> Iterator[None]:
    """Run what is inside with a level's kernels, or with those that are chosen."""
    chosen = simd.level()
    simd.set_level(level or chosen)
    try:
        yield
    finally:
        simd.set_level(chosen)


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
    if len(x) >= MANY:
        return found
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
    for name, default in (("rounds", 9), ("k", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--glosses", type=Path, help="folder of base.npy and queries.npy")
    parser.add_argument("--only", default="", help="run the sets whose names hold this")
    options = parser.parse_args()
    k, cells = options.k, []
    if options.only and (RESULTS / "single.json").exists():
        cells = json.loads((RESULTS / "single.json").read_text())["cells"]
        cells = [cell for cell in cells if options.only not in cell["rows"]]
    for kind, (make, fits) in sets(options.glosses).items():
        if options.only not in kind:
            continue
        x, queries = make()
        exact = [set(row.tolist()) for row in np.argpartition(-(queries @ x.T), k, axis=1)[:, :k]]
        codecs = {"plain": TurboQuant(x.shape[1], BITS)}
        codecs.update({f"fitted, {bits} bits": TurboQuant.fit(x[:SAMPLE], bits=bits) for bits in fits})
        searches, full = peers(x, k), {}
        for name, codec in codecs.items():
            index = Index(codec=codec)
            index.add(x)
            for deviations in DEVIATIONS:
                what = f"turboquant-rs {name}, deviations {deviations:g}"
                searches[what], full[what] = ours(index, queries, k, deviations)
            if kind.startswith("glosses") and LESSER in simd.available():
                what = f"turboquant-rs {name}, {LESSER}"
                with forced(LESSER):
                    searches[what], full[what] = ours(index, queries, k, DEVIATIONS[0])
        recalls = {
            name: statistics.mean(
                len(truth & set(np.asarray(search(query)).tolist())) / k
                for query, truth in zip(queries, exact, strict=True)
            )
            for name, search in searches.items()
        }

        def run(name: str, queries: Rows = queries, searches: Any = searches) -> None:
            with forced(LESSER if name.endswith(LESSER) else None):
                for query in queries:
                    searches[name](query)

        runs = {name: (lambda name=name, run=run: run(name)) for name in searches}
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
                "rounds": options.rounds,
            }
            cells.append(cell)
            print(
                f"{kind:41} {name:44} recall {cell['recall']:.4f} {cell['us_a_query']['median']:9.1f} us/query  "
                f"{cell['speed_relative_to_turbovec']['median']:.2f} × turbovec's speed",
                flush=True,
            )
    parameters = {"rows": ROWS, "bits": BITS, "k": k, "threads": 1}
    print(write("single", {"machine": machine(), **parameters, "cells": cells}))


if __name__ == "__main__":
    main()
