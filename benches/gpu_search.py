"""Searches of an index on this machine's card, beside brute force in float16 by cuBLAS and the bandwidth of a copy.

    make bench-gpu            # or: python benches/gpu_search.py [--rows 1000000] [--dim 1536] [--rounds 20]

Contestants take turns within a round; queries and results are on the card, times are wall times of calls that wait,
the median of rounds after a warm-up. Brute force is one float16 product of all rows and CuPy's argpartition; where the
packages are there, FAISS's flat index on the GPU and cuVS's brute force, too. Up to 7 bits a uniform grid with a search
for its step (gpu_grid.py) is encoded and searched beside ours: TurboQuant's paper has such quantizers fail on GPUs.
Before anything is timed, ids and scores are compared with the CPU's search. Ceilings are of the same run: codes read
once, at the speed of a copy, and int8 products at the speed of cuBLAS, with nothing read from them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import gpu
import harness
import numpy as np
from gpu_grid import Grid, Products, products_of
from turboquant_rs import Index
from turboquant_rs.gpu.runtime import missing_device

BITS = (1, 2, 4, 8)
BATCHES = (1, 8, 64, 1_000, 4_000)
K = 10
#: Queries and rows of the product whose speed bounds a batch, rows that are encoded at a time, and queries of recall.
CEILING, ENCODED, JUDGED = (4_096, 65_536), 100_000, 200


def walls(cp: Any, contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return wall seconds by name, one a round, after a warm-up; every call is waited for."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 2):
        for name, run in contestants.items():
            cp.cuda.Device().synchronize()
            start = time.perf_counter()
            run()
            cp.cuda.Device().synchronize()
            if turn > 1:
                found[name].append(time.perf_counter() - start)
    return found


def brute_force(cp: Any, rows: Any, queries: Any) -> Any:
    """Return the K nearest by float16 products, as many queries at a time as 1 GiB of products allows."""
    best = []
    step = max(1, (1 << 29) // len(rows))
    for first in range(0, len(queries), step):
        products = queries[first : first + step] @ rows.T
        top = cp.argpartition(-products, K, axis=1)[:, :K]
        order = cp.argsort(-cp.take_along_axis(products, top, axis=1), axis=1)
        best.append(cp.take_along_axis(top, order, axis=1))
    return cp.concatenate(best)


def others(cp: Any, rows: Any) -> dict[str, Callable[[Any], object]]:
    """Return searches of other libraries that are installed, by name; they get float32 queries on the card."""
    found: dict[str, Callable[[Any], object]] = {}
    try:
        faiss = import_module("faiss")
        index = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), rows.shape[1])
        index.add(cp.asnumpy(rows).astype(np.float32))
        found["faiss_gpu_flat"] = lambda queries: index.search(cp.asnumpy(queries), K)
    except (ImportError, AttributeError) as error:
        print(f"without FAISS on the GPU: {error}", file=sys.stderr)
    try:
        brute = import_module("cuvs.neighbors.brute_force")
        built = brute.build(rows.astype(cp.float32), metric="inner_product")
        found["cuvs_brute_force"] = lambda queries: brute.search(built, queries, K)
    except ImportError as error:
        print(f"without cuVS: {error}", file=sys.stderr)
    return found


def ceiling(cp: Any, products: Products, dim: int, rounds: int) -> dict[str, float]:
    """Return products of int8 that cuBLAS adds a second, in one call of a size that suits it."""
    nq, n = CEILING
    a, b = (cp.asarray(np.random.default_rng(0).integers(-127, 128, (some, dim), np.int8)) for some in (nq, n))
    return gpu.rate(nq * n * dim, gpu.seconds(cp, lambda: products(a, b), rounds))


def overlap(cp: Any, found: Any, rows: Any, queries: Any) -> float:
    """Return which share of the K nearest by float32 products is among those found, (nq, K)."""
    step = max(1, (1 << 28) // len(rows))
    shares = []
    for first in range(0, len(found), step):
        products = queries[first : first + step] @ rows.T
        true = cp.argpartition(-products, K, axis=1)[:, :K]
        same = (found[first : first + step, :, None] == true[:, None, :]).any(axis=2)
        shares += [float(share) for share in same.mean(axis=1).get()]
    return round(float(np.mean(shares)), 4)


def beside_grid(
    cp: Any, index: Index, placed: Index, x: Any, queries: Any, products: Products | None, rounds: int
) -> tuple[dict[str, Any], Callable[[Any], object] | None]:
    """Return how fast the grid and ours encode and what they find, and a search of the grid's codes if there is one."""
    codec, bits, some = index.codec, int(index.codec.bits), x[:ENCODED]
    encoders: dict[str, Callable[[], object]] = {"turboquant": lambda: codec.encode(some)}
    found = {"turboquant": placed.search(queries[:JUDGED], K)[1]}
    search: Callable[[Any], object] | None = None
    if bits < 8:
        grid = Grid(cp, codec.dim, bits)
        encoders["grid_with_search"] = lambda: grid.encode(some)
        if products is not None:
            codes, scales = grid.encode(x)
            search = lambda queries: grid.search(products, codes, scales, queries, K)  # noqa: E731
            found["grid_with_search"] = search(queries[:JUDGED])
    rates = {name: gpu.rate(len(some), times) for name, times in walls(cp, encoders, rounds).items()}
    recalls = {name: overlap(cp, ids, x, queries[:JUDGED]) for name, ids in found.items()}
    return {"bits": bits, "rows_per_s": rates, "overlap_of_10": recalls}, search


def check(index: Index, placed: Index, queries: Any) -> None:
    """Compare a search on the card with the CPU's."""
    for some in (queries[:1].get(), queries[:20].get()):
        for want, got in zip(index.search(some, K), placed.search(some, K), strict=True):
            if not np.array_equal(want, got):
                raise SystemExit(f"{placed!r}: the card and the CPU differ; nothing is timed before they agree")


def main(argv: list[str] | None = None) -> None:
    """Measure and write ``results/gpu_search.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=1536)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args(argv)
    reason = missing_device()
    if reason is not None:
        raise SystemExit(f"this benchmark runs on a GPU: {reason}")
    import cupy as cp

    rng = cp.random.default_rng(0)
    x = rng.standard_normal((arguments.rows, arguments.dim), dtype=cp.float32)
    queries = rng.standard_normal((max(BATCHES), arguments.dim), dtype=cp.float32)
    copied = gpu.seconds(cp, lambda: x.copy(), arguments.rounds)
    copy = gpu.rate(2 * x.nbytes, copied)
    result: dict[str, Any] = {
        "device": gpu.device(cp),
        "machine": harness.machine(),
        "rows": arguments.rows,
        "dim": arguments.dim,
        "k": K,
        "rounds": arguments.rounds,
        "copy_bytes_per_s": copy,
        "encodings": [],
        "searches": [],
    }
    products = products_of(cp)
    top = None if products is None else ceiling(cp, products, arguments.dim, arguments.rounds)
    result["int8_products_per_s"] = top
    halves = x.astype(cp.float16)
    rivals = others(cp, halves)
    for bits in BITS:
        index = Index(arguments.dim, bits=bits)
        for first in range(0, arguments.rows, ENCODED):
            index.add_codes(index.codec.encode(x[first : first + ENCODED]).to("cpu"))
        placed = index.to("cuda")
        check(index, placed, queries)
        entry, gridded = beside_grid(cp, index, placed, x, queries, products, arguments.rounds)
        result["encodings"].append(entry)
        for nq in BATCHES:
            some = queries[:nq]
            contestants: dict[str, Callable[[], object]] = {
                "turboquant": lambda placed=placed, some=some: placed.search(some, K),  # type: ignore[misc]
                "cublas_float16": lambda some=some: brute_force(cp, halves, some.astype(cp.float16)),  # type: ignore[misc]
                **{name: lambda run=run, some=some: run(some) for name, run in rivals.items()},  # type: ignore[misc]
            }
            if gridded is not None:
                contestants["grid_with_search"] = lambda run=gridded, some=some: run(some)  # type: ignore[misc]
            times = walls(cp, contestants, arguments.rounds)
            ratios = [b / a for a, b in zip(times["turboquant"], times["cublas_float16"], strict=True)]
            entry = {
                "bits": bits,
                "queries": nq,
                "queries_per_s": {name: gpu.rate(nq, found) for name, found in times.items()},
                "over_cublas_float16": harness.summary(ratios),
                "codes_read_once_queries_per_s": nq * copy["median"] / index.info()["bytes"]["codes"],
                "int8_products_queries_per_s": None if top is None else top["median"] / x.size,
            }
            result["searches"].append(entry)
            print(f"{bits} bits, {nq} queries: {entry['queries_per_s']['turboquant']}", file=sys.stderr)
        del placed
    print(harness.write("gpu_search", result))


if __name__ == "__main__":
    main()
