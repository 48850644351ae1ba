"""Recall at equal bytes: 10@10 and 1@10 on real embeddings and on the sets that break quantizers, beside FAISS and
turbovec.

    python benches/recall.py [--sets glosses mean_dominated …] [--bits 1 2 3 4] [--seeds 3]

"glosses" is the full 100,000 × 384 set where it is in the cache (``turboquant_rs.evaluation.datasets``), else the
sample in the package; the result says which. Exact neighbours by float64 inner products, ties by distance. Our rows
are the mean over seeds; peers have one fixed or one drawn rotation. Peers that are not installed are left out and
named so.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import harness
import numpy as np
from numpy.typing import NDArray
from turboquant_rs import Index, TurboQuant
from turboquant_rs.evaluation import datasets, generators, metrics, neighbors

Rows = NDArray[np.float32]

#: Rows, queries and dimension of the generated sets.
N, QUERIES, DIM = 20_000, 500, 384


def load(name: str) -> tuple[str, Rows, Rows]:
    """Return what a set is, its base and its queries."""
    if name == "glosses":
        folder = datasets.default_cache() / "glosses-minilm-384"
        if (folder / "base.npy").exists():
            full = datasets.glosses_full()
            return "100k glosses, MiniLM", np.asarray(full.base, np.float32), np.asarray(full.queries, np.float32)
        sample = datasets.load_glosses_sample()
        return (
            "5k glosses, MiniLM (sample)",
            np.asarray(sample.base, np.float32),
            np.asarray(sample.queries, np.float32),
        )
    vectors = generators.GENERATORS[name](N, 1000 if name == "sparse" else DIM, QUERIES)
    return name, vectors.base, vectors.queries


def ours(
    base: Rows, queries: Rows, bits: int, scale: Any, refine: Any, seeds: int
) -> list[tuple[NDArray[np.int64], float]]:
    """Return (ids, bytes a vector) of each seed."""
    found = []
    for seed in range(seeds):
        q = TurboQuant(base.shape[1], bits, seed=seed, scale=scale, refine=refine)
        index = Index(codec=q)
        index.add(base)
        # Ids are the reader's: 0, 1, 2 … cost nothing beside the codes and the scale.
        found.append((index.search(queries, 10)[1], float(q.bytes_per_vector())))
    return found


def peers(base: Rows, queries: Rows, bits: int, missing: set[str]) -> dict[str, tuple[NDArray[np.int64], float]]:
    """Return (ids, bytes a vector) of each peer that is installed and has this width."""
    found: dict[str, tuple[NDArray[np.int64], float]] = {}
    dim = base.shape[1]
    try:
        import faiss

        index = faiss.IndexRaBitQ(dim, faiss.METRIC_INNER_PRODUCT, bits)
        rotated = faiss.IndexPreTransform(faiss.RandomRotationMatrix(dim, dim), index)
        rotated.train(base)
        rotated.add(base)
        found["faiss RaBitQ"] = (rotated.search(queries, 10)[1], float(index.code_size))
    except ImportError:
        missing.add("faiss")
    try:
        from turbovec import TurboQuantIndex

        if bits in (2, 3, 4) and dim % 8 == 0:
            turbo = TurboQuantIndex(dim, bits)
            turbo.add(base)
            ids = np.asarray(turbo.search(queries, 10)[1]).astype(np.int64)
            found["turbovec"] = (ids, dim * (4 if bits == 3 else bits) / 8 + 4)
    except ImportError:
        missing.add("turbovec")
    return found


def main() -> None:
    """Run the grid and write benches/results/recall.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=["glosses", *generators.GENERATORS])
    parser.add_argument("--bits", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    missing: set[str] = set()
    cells: list[dict[str, Any]] = []
    for name in options.sets:
        text, base, queries = load(name)
        truth = neighbors.true_neighbors(base, queries, 10)
        for bits in options.bits:
            contestants = {
                "turboquant-rs": ours(base, queries, bits, "unbiased", False, options.seeds),
                "turboquant-rs, refine=16": ours(base, queries, bits, "unbiased", 16, options.seeds),
                "turboquant-rs, paper's norm": ours(base, queries, bits, "paper", False, options.seeds),
            }
            contestants |= {peer: [found] for peer, found in peers(base, queries, bits, missing).items()}
            for what, runs in contestants.items():
                overlaps = [metrics.overlap_at_k(truth, ids) for ids, _ in runs]
                firsts = [metrics.one_at_k(truth, ids) for ids, _ in runs]
                cell = {
                    "set": text,
                    "n": len(base),
                    "dim": base.shape[1],
                    "bits": bits,
                    "what": what,
                    "bytes_per_vector": runs[0][1],
                    "10@10": round(statistics.mean(overlaps), 4),
                    "10@10 by seed": [round(value, 4) for value in overlaps],
                    "1@10": round(statistics.mean(firsts), 4),
                }
                cells.append(cell)
                print(f"{text:28} {bits} bits  {what:28} {runs[0][1]:6.0f} bytes  10@10 {cell['10@10']:.4f}")
    result = {
        "machine": harness.machine(),
        "seeds": options.seeds,
        "cells": cells,
        "peers_not_installed": sorted(missing),
    }
    print("written:", harness.write("recall", result).name, "| not installed:", ", ".join(sorted(missing)) or "none")


if __name__ == "__main__":
    main()
