"""Encoding speed beside turbovec, RaBitQ (rabitqlib, fast_quantization) and FAISS, one thread each, in one run.

    make bench            # or: python benches/encode.py [--dims 384 1024] [--bits 4] [--rows 20000] [--rounds 7]

Peers that are not installed are left out and named so in the result: ``pip install turbovec==1.1.2 rabitqlib==0.7.1
faiss-cpu``. What is timed is what a user calls to turn float32 rows into that library's compressed form, training and
rotation set-up apart.
"""

from __future__ import annotations

import argparse
import os

# One thread for everyone; read by the libraries at import.
for variable in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

from collections.abc import Callable  # noqa: E402

import harness  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from turboquant_rs import TurboQuant, reference, simd  # noqa: E402

Contestant = Callable[[], object]


def ours(x: NDArray[np.float32], bits: int) -> dict[str, Contestant]:
    """Encode at every level of this machine, plain, and refined at the best."""
    dim = x.shape[1]
    q, refined = TurboQuant(dim, bits), TurboQuant(dim, bits, refine=16)
    want = reference.TurboQuant(dim, bits).encode(x[:64])
    found: dict[str, Contestant] = {}

    def at(level: str, codec: TurboQuant) -> Contestant:
        def run() -> object:
            before = simd.level()
            simd.set_level(level)
            try:
                return codec.encode(x, threads=1)
            finally:
                simd.set_level(before)

        return run

    for level in simd.available():
        found[f"turboquant-rs {level}"] = at(level, q)
    best = simd.available()[-1]
    codes = q.encode(x[:64])
    assert np.array_equal(codes.packed, want.packed), "codes must equal the reference before they are timed"
    assert np.array_equal(codes.scales, want.scales), "scales must equal the reference before they are timed"
    if bits > 1:
        found[f"turboquant-rs {best}, refine=16"] = at(best, refined)
    return found


def turbovec(x: NDArray[np.float32], bits: int) -> dict[str, Contestant]:
    """Turbovec's add; it has 2 to 4 bits."""
    if bits not in (2, 3, 4):
        return {}
    from turbovec import TurboQuantIndex

    check = TurboQuantIndex(x.shape[1], bits)
    check.add(x[:1000])
    assert (check.search(x[:50], 1)[1][:, 0] == np.arange(50)).mean() > 0.9, "turbovec must find stored rows"

    def run() -> object:
        index = TurboQuantIndex(x.shape[1], bits)
        index.add(x)
        return index

    return {"turbovec": run}


def rabitqlib(x: NDArray[np.float32], bits: int) -> dict[str, Contestant]:
    """One cluster, so that the time is rotation and quantisation."""
    from rabitqlib import IvfIndex

    centre, clusters = x.mean(axis=0, keepdims=True), np.zeros(len(x), np.uint32)

    def build(rows: NDArray[np.float32]) -> IvfIndex:
        index = IvfIndex(x.shape[1], len(rows), 1, bits, metric="ip")
        index.build(rows, centre, clusters[: len(rows)], num_threads=1, fast_quantization=True)
        return index

    found = np.asarray(build(x[:1000]).search(x[:50], 1, 1)[0])
    if found.dtype.kind == "f":
        found = np.asarray(build(x[:1000]).search(x[:50], 1, 1)[1])
    assert (found[:, 0] == np.arange(50)).mean() > 0.5, "rabitqlib must find stored rows"
    return {"rabitqlib fast_quantization": lambda: build(x)}


def faiss(x: NDArray[np.float32], bits: int) -> dict[str, Contestant]:
    """RaBitQ behind a random rotation (its quantiser alone, and with the rotation), and the scalar quantiser."""
    import faiss as library

    dim = x.shape[1]
    found: dict[str, Contestant] = {}
    rabitq = library.IndexPreTransform(
        library.RandomRotationMatrix(dim, dim), library.IndexRaBitQ(dim, library.METRIC_INNER_PRODUCT, bits)
    )
    indexes = {"faiss RandomRotation + RaBitQ": rabitq}
    kinds = {4: library.ScalarQuantizer.QT_4bit, 6: library.ScalarQuantizer.QT_6bit, 8: library.ScalarQuantizer.QT_8bit}
    if bits in kinds:
        indexes[f"faiss SQ{bits}"] = library.IndexScalarQuantizer(dim, kinds[bits], library.METRIC_INNER_PRODUCT)
    for name, index in indexes.items():
        index.train(x)

        def run(index: library.Index = index) -> object:
            index.reset()
            index.add(x)
            return index

        run()
        assert (index.search(x[:50], 1)[1][:, 0] == np.arange(50)).mean() > 0.5, f"{name} must find stored rows"
        found[name] = run
    return found


def main() -> None:
    """Run the grid and write benches/results/encode.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[384, 768, 1024])
    parser.add_argument("--bits", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    best = f"turboquant-rs {simd.available()[-1]}"
    result = {"machine": harness.machine(), "rows": options.rows, "rounds": options.rounds, "threads": 1, "cells": []}
    missing = set()
    for dim in options.dims:
        x = np.random.default_rng(0).standard_normal((options.rows, dim), dtype=np.float32)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        for bits in options.bits:
            contestants = ours(x, bits)
            for peer in (turbovec, rabitqlib, faiss):
                try:
                    contestants |= peer(x, bits)
                except ImportError:
                    missing.add(peer.__name__)
            times = harness.interleave(contestants, options.rounds)
            for name, pairs in times.items():
                cpu = [c for c, _ in pairs]
                ratios = [c / b for c, (b, _) in zip(cpu, times[best], strict=True)]
                cell = {
                    "dim": dim,
                    "bits": bits,
                    "what": name,
                    "rows_per_cpu_second": harness.summary([options.rows / c for c in cpu]),
                    "rows_per_second": harness.summary([options.rows / w for _, w in pairs]),
                    "cpu_time_relative_to_ours": harness.summary(ratios),
                }
                result["cells"].append(cell)
                rate, ratio = cell["rows_per_cpu_second"]["median"], cell["cpu_time_relative_to_ours"]["median"]
                print(f"dim {dim:5} bits {bits}  {name:40} {rate:12,.0f} rows/CPU s   {ratio:6.2f} × our time")
    result["peers_not_installed"] = sorted(missing)
    print("written:", harness.write("encode", result).name, "| not installed:", ", ".join(sorted(missing)) or "none")


if __name__ == "__main__":
    main()
