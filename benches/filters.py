"""What filters and large k cost beside the plain search of the same run, one thread, interleaved.

    python benches/filters.py [--rows 100000] [--dim 384] [--bits 4] [--rounds 15]

One query at a time, and batches of 100. Filters of all ids, of a random hundredth and of a run of a hundredth, made
once; k = 10 and 10,000. Rows are isotropic, where a search by stages leaves the most rows, and of the embedding-like
kind, where it leaves few. Every answer is first held against the unfiltered ranking without the other rows. Numbers are
ratios to k = 10 without a filter, medians over rounds of the ratio within a round, of CPU time.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
from harness import interleave, machine, summary, write
from turboquant_rs import Index
from turboquant_rs.evaluation.generators import GENERATORS

KINDS = ("isotropic", "embedding_like")
BATCHES = (1, 100)
K = 10
#: Searches of one query in a round, so that a round takes long enough to be measured.
REPEATS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 100_000), ("dim", 384), ("bits", 4), ("rounds", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    n, rng = options.rows, np.random.default_rng(0)
    cells = []
    for kind in KINDS:
        x = GENERATORS[kind](n, options.dim, n_queries=max(BATCHES), seed=0)
        index = Index(options.dim, options.bits)
        index.add(x.base)
        masks = {
            "all ids": np.ones(n, bool),
            "random 1 %": rng.random(n) < 0.01,
            "run of 1 %": (np.arange(n) >= n // 2) & (np.arange(n) < n // 2 + n // 100),
        }
        filters = {name: index.filter(mask) for name, mask in masks.items()}
        ranking = index.search(x.queries[:5], n)[1]
        for name, mask in masks.items():
            for query, ranked in zip(x.queries, ranking, strict=False):
                found = index.search(query, K, filter=filters[name])[1]
                assert np.array_equal(found, ranked[mask[ranked]][:K]), name
        ways = {
            "no filter": {},
            **{name: {"filter": made} for name, made in filters.items()},
            "k = 10,000": {"k": 10_000},
        }
        for batch in BATCHES:

            def run(options: dict[str, object], batch: int = batch) -> None:
                for i in range(REPEATS if batch == 1 else 1):
                    queries = x.queries[i * batch % len(x.queries) :][:batch]  # noqa: B023 - called within its turn
                    index.search(queries, **{"k": K, **options}, threads=1)  # type: ignore[arg-type]  # noqa: B023

            contestants = {name: (lambda way=way: run(way)) for name, way in ways.items()}
            times = interleave(contestants, options.rounds)
            calls = batch * (REPEATS if batch == 1 else 1)
            base = [cpu for cpu, _ in times["no filter"]]
            for name, pairs in times.items():
                cpu = [cpu for cpu, _ in pairs]
                ratio = summary([a / b for a, b in zip(cpu, base, strict=True)])
                micros = float(f"{statistics.median(cpu) / calls * 1e6:.4g}")
                cells.append({"rows": kind, "batch": batch, "way": name, "us_a_query": micros, "ratio": ratio})
                print(f"{kind:15} batch {batch:3} {name:12} {micros:9.1f} us/query  {ratio['median']:.3f}", flush=True)
    parameters = {"rows": n, "dim": options.dim, "bits": options.bits, "k": K, "threads": 1, "rounds": options.rounds}
    print(write("filters", {"machine": machine(), **parameters, "cells": cells}))


if __name__ == "__main__":
    main()
