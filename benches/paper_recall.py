"""What ``paper.py`` measures of search and of speed: 1@k of every method at about the same size, and encoding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import harness
import numpy as np
from numpy.typing import NDArray
from paper_errors import BLOCK, Data, estimators
from turboquant_rs import QJL, PolarQuant, TurboQuant, TurboQuantProd
from turboquant_rs.evaluation import comparators

RANKS = (1, 2, 4, 8, 16, 32, 64)
FITTED, PQ = "fitted", "PQ (FAISS)"


def ranks(score: Callable[[slice], NDArray[Any]], best: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place that each query's true nearest takes by ``score`` of blocks of queries, 0 first; ties by id."""
    places = []
    for first in range(0, len(best), BLOCK):
        block = slice(first, first + BLOCK)
        scores, ids = score(block), best[block]
        own = np.take_along_axis(scores, ids[:, None], axis=1)
        before = np.arange(scores.shape[1]) < ids[:, None]
        places.append(np.sum((scores > own) | ((scores == own) & before), axis=1))
    return np.concatenate(places)


def nearest(data: Data) -> NDArray[np.int64]:
    """Return the true nearest of each query, by inner products in float64 of the likely ones."""
    found = []
    for first in range(0, len(data.queries), BLOCK):
        queries = data.queries[first : first + BLOCK]
        likely = np.argpartition(-(queries @ data.base.T), 10, axis=1)[:, :10]
        rows = data.base[likely].astype(np.float64)
        exact = np.einsum("nd,nkd->nk", queries.astype(np.float64), rows)
        found.append(np.take_along_axis(likely, exact.argmax(axis=1)[:, None], axis=1)[:, 0])
    return np.concatenate(found)


def codecs(data: Data, bits: int, seed: int) -> dict[str, Any]:
    """Return the library's codecs of about ``bits`` bits a coordinate."""
    polar = (4, 2, 2, 2) if bits == 4 else (2, 1, 1, 1)
    fitted = TurboQuant.fit(data.base if data.train is None else data.train, bits=bits, seed=seed)
    return {
        **estimators(data.dim, bits, seed),
        FITTED: fitted,
        f"PolarQuant{polar}".replace(" ", ""): PolarQuant(data.dim, 4, polar, seed=seed),
        "QJL, orthogonal S": QJL(data.dim, data.dim * bits, projection="orthogonal", seed=seed),
    }


def recalls(data: Data, bits: int) -> list[dict[str, Any]]:
    """1@k of every method at about ``bits`` bits a coordinate, bytes a vector beside it, mean over seeds."""
    best = nearest(data)
    places: dict[str, list[NDArray[np.int64]]] = {}
    size: dict[str, float] = {}

    def take(name: str, nbytes: float, score: Callable[[slice], NDArray[Any]]) -> None:
        places.setdefault(name, []).append(ranks(score, best))
        size[name] = nbytes

    for seed in range(data.seeds):
        for name, q in codecs(data, bits, seed).items():
            codes = q.encode(data.base)
            if isinstance(q, PolarQuant):  # its score is this product in another order of sums
                decoded = q.decode(codes).T
                take(name, q.bytes_per_vector(), lambda block, d=decoded: data.queries[block] @ d)
            else:
                take(name, q.bytes_per_vector(), lambda block, q=q, c=codes: q.score(data.queries[block], c))
        y = comparators.rotated(data.base, seed)
        r = comparators.rotated(data.queries, seed).astype(np.float32)
        for name, approximate in (("EDEN", comparators.eden), ("Extended RaBitQ", comparators.rabitq)):
            decoded = approximate(y, bits).astype(np.float32).T
            take(name, data.dim * bits / 8 + 4, lambda block, d=decoded, r=r: r[block] @ d)
    pq = product_quantizer(data, bits)
    if pq is not None:
        decoded = pq.decode(pq.compute_codes(data.base)).T
        take(PQ, data.dim * bits / 8, lambda block: data.queries[block] @ decoded)
    return [
        {
            "name": name,
            "bytes": size[name],
            "recall": [float(np.mean(np.concatenate(found) < k)) for k in RANKS],
        }
        for name, found in places.items()
    ]


def product_quantizer(data: Data, bits: int) -> Any:
    """Return FAISS's PQ at as many bits, trained on the base as in the paper; None where FAISS is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    pq = faiss.ProductQuantizer(data.dim, data.dim * bits // 8, 8)
    pq.train(data.base)
    return pq


def encode_times(data: Data, rounds: int = 5) -> dict[str, float]:
    """Vectors encoded a second on one thread, 4 bits, medians of interleaved rounds."""
    x = data.base[:2000]
    sets = {
        "unbiased": TurboQuant(data.dim, 4),
        "unbiased, refine=16": TurboQuant(data.dim, 4, refine=16),
        FITTED: TurboQuant.fit(data.base if data.train is None else data.train, bits=4),
        "prod, Gaussian S": TurboQuantProd(data.dim, 4),
        "prod, orthogonal S": TurboQuantProd(data.dim, 4, projection="orthogonal"),
        "prod, hadamard S": TurboQuantProd(data.dim, 4, projection="hadamard"),
        "PolarQuant(4,2,2,2)": PolarQuant(data.dim),
        "QJL, orthogonal S": QJL(data.dim, 4 * data.dim, projection="orthogonal"),
    }
    runs: dict[str, Callable[[], object]] = {n: (lambda q=q: q.encode(x, threads=1)) for n, q in sets.items()}
    pq = product_quantizer(data, 4)
    if pq is not None:
        runs[PQ] = lambda: pq.compute_codes(x)
    times = harness.interleave(runs, rounds)
    return {name: len(x) / float(np.median([cpu for cpu, _ in pairs])) for name, pairs in times.items()}
