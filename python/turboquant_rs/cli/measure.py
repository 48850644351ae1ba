"""What the demo measures: size, distortion, recall and speed of one codec on the sample."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..codec import TurboQuant
from ..index import Index

if TYPE_CHECKING:
    from ..evaluation.datasets import Glosses
    from ..evaluation.neighbors import Truth

K = 10
RUNS = 7


@dataclass(frozen=True)
class Measured:
    """One row of the demo's table; rates are medians of `RUNS` runs after one that warms up."""

    bits: int
    bytes_per_vector: float
    compression_float32: float
    distortion: float
    theory_distortion: float
    overlap_at_10: float
    one_at_10: float
    vectors_per_second: float
    queries_per_second: float


def measure(glosses: Glosses, truth: Truth, bits: int, seed: int, threads: int) -> tuple[Measured, Index]:
    """Encode the sample, search it, and compare with the truth; also return the index."""
    from ..evaluation.metrics import bytes_per_vector, distortion, one_at_k, overlap_at_k, theory_distortion

    base, queries = glosses.base, glosses.queries
    dim = base.shape[1]
    codec = TurboQuant(dim, bits, seed=seed)
    codes = codec.encode(base, threads=threads)
    index = Index(codec=codec)
    index.add_codes(codes)
    _, ids = index.search(queries, K, threads=threads)
    # Theory speaks of the paper's scale. The codes are the same; the default scale gives up some distortion for
    # unbiased scores.
    paper = TurboQuant(dim, bits, seed=seed, scale="paper")
    return Measured(
        bits=bits,
        bytes_per_vector=bytes_per_vector(codes),
        compression_float32=4 * dim / bytes_per_vector(codes),
        distortion=distortion(base, paper.decode(paper.encode(base, threads=threads), threads=threads)),
        theory_distortion=theory_distortion(bits, dim),
        overlap_at_10=overlap_at_k(truth, ids, K),
        one_at_10=one_at_k(truth, ids, K),
        vectors_per_second=len(base) / median_seconds(lambda: codec.encode(base, threads=threads)),
        queries_per_second=len(queries) / median_seconds(lambda: index.search(queries, K, threads=threads)),
    ), index


def median_seconds(work: Callable[[], object]) -> float:
    """Median time of `RUNS` runs, after one that warms up."""
    work()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def brute_force(base: NDArray[np.float32], queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Nearest rows of all queries by inner product with NumPy in float32, nearest first."""
    scores = queries @ base.T
    near = np.argpartition(scores, -k, axis=1)[:, -k:]
    order = np.argsort(-np.take_along_axis(scores, near, axis=1), axis=1)
    return np.take_along_axis(near, order, axis=1)


def brute_force_rate(threads: int) -> float:
    """Queries a second of `brute_force` on the sample.

    Measured in a process of its own, because a BLAS takes its number of threads from the environment when it is loaded.
    """
    count = {
        name: str(threads)
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    }
    command = [sys.executable, "-m", "turboquant_rs.cli.measure"]
    done = subprocess.run(command, env=os.environ | count, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _print_brute_force_rate() -> None:
    from turboquant_rs.evaluation.datasets import load_glosses_sample

    glosses = load_glosses_sample()
    print(len(glosses.queries) / median_seconds(lambda: brute_force(glosses.base, glosses.queries, K)))


if __name__ == "__main__":
    _print_brute_force_rate()
