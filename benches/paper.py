"""The papers' figures and tables made anew: docs/papers/*.png, docs/papers/report.md, benches/results/paper.json.

    make paper              (or: python benches/paper.py [--out docs/papers])

Data: 5,000 real sentence embeddings of 384 dimensions with 200 held-out queries (the glosses that come with the
package), and random unit vectors of as many dimensions. The figures are drawn from the numbers in the JSON file.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import harness
import numpy as np
import paper_report
from numpy.typing import NDArray
from turboquant_rs import QJL, PolarQuant, TurboQuant, TurboQuantProd
from turboquant_rs.evaluation import comparators, datasets
from turboquant_rs.reference.lloyd_max import solve
from turboquant_rs.reference.units import unpack

Rows = NDArray[np.float32]

DIM, BITS = 384, range(1, 9)
#: Seeds that statistics of sketches are averaged over, and pairs at each.
SEEDS, PAIRS = 100, 400
RANKS = (1, 2, 4, 8, 16, 32, 64)


def unit(x: NDArray[Any]) -> Rows:
    """Return rows of norm 1."""
    rows: Rows = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return rows


def distortion(x: Rows, approximation: NDArray[Any]) -> float:
    """Return the mean of |x − x̂|² over rows of norm 1."""
    return float(np.mean(np.sum((x.astype(np.float64) - approximation) ** 2, axis=1)))


def distortions(sets: dict[str, Rows]) -> list[dict[str, Any]]:
    """Distortion by bits: theory, the paper's scale, ours with the least-error scale, refined."""
    found = []
    for bits in BITS:
        row: dict[str, Any] = {
            "bits": bits,
            "shannon": 4.0**-bits,
            "upper_bound": math.sqrt(3) * math.pi / 2 * 4.0**-bits,
        }
        row["theory"] = solve(bits, DIM).distortion
        for name, x in sets.items():
            for label, q in {
                "paper": TurboQuant(DIM, bits, scale="paper"),
                "mse": TurboQuant(DIM, bits, scale="mse"),
                "refined": TurboQuant(DIM, bits, scale="mse", refine=16),
            }.items():
                row[f"{name}_{label}"] = distortion(x, q.decode(q.encode(x)))
        found.append(row)
    return found


def estimators(bits: int, seed: int = 0) -> dict[str, Any]:
    """Return the codecs whose inner products are compared."""
    return {
        "mse": TurboQuant(DIM, bits, scale="paper", seed=seed),
        "unbiased": TurboQuant(DIM, bits, seed=seed),
        "prod, Gaussian S": TurboQuantProd(DIM, bits, seed=seed),
        "prod, orthogonal S": TurboQuantProd(DIM, bits, projection="orthogonal", seed=seed),
    }


def inner_product_errors(base: Rows, queries: Rows) -> dict[str, Any]:
    """Mean and deviation of ⟨q, x̂⟩ − ⟨q, x⟩ over all pairs and over the nearest ten of each query, by bits."""
    exact = queries.astype(np.float64) @ base.T.astype(np.float64)
    near = np.argsort(-exact, axis=1)[:, :10]
    table, histograms = [], {}
    edges = np.linspace(-0.12, 0.12, 97)
    for bits in (1, 2, 3, 4):
        for name, q in estimators(bits).items():
            error = q.score(queries, q.encode(base)) - exact
            of_near = np.take_along_axis(error, near, axis=1)
            table.append(
                {
                    "bits": bits,
                    "name": name,
                    "mean": float(error.mean()),
                    "std": float(error.std()),
                    "near_mean": float(of_near.mean()),
                    "near_std": float(of_near.std()),
                }
            )
            if bits == 2:
                histograms[name] = np.histogram(of_near, edges, density=True)[0].tolist()
    return {"table": table, "edges": edges.tolist(), "histograms": histograms}


def variances(dim: int = 128) -> list[dict[str, Any]]:
    """dim·E(error²) at ⟨q, x⟩ = 0, over many seeds, beside theory."""
    rng = np.random.default_rng(1)
    x = unit(rng.standard_normal((PAIRS, dim)))
    other = rng.standard_normal((PAIRS, dim))
    other -= np.sum(other * x, axis=1, keepdims=True) * x
    queries = unit(other)
    exact = np.sum(x.astype(np.float64) * queries, axis=1)
    found = []
    for bits in (1, 2, 3, 4):
        left = 1.0 if bits == 1 else solve(bits - 1, dim).distortion
        here = solve(bits, dim).distortion
        for name, make, theory in (
            ("prod, Gaussian S", lambda s, b=bits: TurboQuantProd(dim, b, seed=s), math.pi / 2 * left),
            (
                "prod, orthogonal S",
                lambda s, b=bits: TurboQuantProd(dim, b, projection="orthogonal", seed=s),
                (math.pi / 2 - 1) * left,
            ),
            ("unbiased scale", lambda s, b=bits: TurboQuant(dim, b, seed=s), here / (1 - here)),
        ):
            means = []
            for seed in range(SEEDS):
                q = make(seed)
                means.append(np.mean((np.diagonal(q.score(queries, q.encode(x))) - exact) ** 2))
            error = float(np.std(means) / math.sqrt(SEEDS))
            found.append(
                {
                    "bits": bits,
                    "name": name,
                    "measured": dim * float(np.mean(means)),
                    "error": dim * error,
                    "theory": theory,
                }
            )
    return found


def one_at_k(scores: NDArray[Any], exact: NDArray[Any]) -> list[float]:
    """Return how often the true nearest is among the first k, for k in RANKS."""
    best = exact.argmax(axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, : RANKS[-1]]
    return [float(np.mean((order[:, :k] == best[:, None]).any(axis=1))) for k in RANKS]


def recalls(base: Rows, queries: Rows, seeds: int = 3) -> list[dict[str, Any]]:
    """1@k of every method at about 2 and 4 bits, bytes a vector beside it, mean over seeds."""
    exact = queries.astype(np.float64) @ base.T.astype(np.float64)
    found = []
    for bits in (2, 4):
        curves: dict[str, list[list[float]]] = {}
        size: dict[str, float] = {}
        for seed in range(seeds):
            codecs: dict[str, Any] = estimators(bits, seed)
            polar = ((2, 1, 1, 1), "angles (2, 1, 1, 1), 2.4 bits") if bits == 2 else ((4, 2, 2, 2), "paper's setting")
            codecs[f"PolarQuant, {polar[1]}"] = PolarQuant(DIM, 4, polar[0], seed=seed)
            codecs["QJL, orthogonal S, as many bits"] = QJL(DIM, DIM * bits, projection="orthogonal", seed=seed)
            for name, q in codecs.items():
                curves.setdefault(name, []).append(one_at_k(q.score(queries, q.encode(base)), exact))
                size[name] = q.bytes_per_vector()
            y, r = comparators.rotated(base, seed), comparators.rotated(queries, seed)
            for name, approximation in (
                ("EDEN", comparators.eden(y, bits)),
                ("Extended RaBitQ", comparators.rabitq(y, bits)),
            ):
                curves.setdefault(name, []).append(one_at_k(r @ approximation.T, exact))
                size[name] = DIM * bits / 8 + 4
        for name, values in product_quantizer(base, queries, bits, exact).items():
            curves[name], size[name] = [values], DIM * bits / 8
        found += [
            {"bits": bits, "name": name, "bytes": size[name], "recall": np.mean(v, axis=0).tolist()}
            for name, v in curves.items()
        ]
    return found


def product_quantizer(base: Rows, queries: Rows, bits: int, exact: NDArray[Any]) -> dict[str, list[float]]:
    """FAISS's PQ at as many bits, trained on the base as in the paper; nothing where FAISS is not installed."""
    try:
        import faiss
    except ImportError:
        return {}
    pq = faiss.ProductQuantizer(DIM, DIM * bits // 8, 8)
    pq.train(base)
    decoded = pq.decode(pq.compute_codes(base))
    return {"PQ (FAISS, trained on the base)": one_at_k(queries @ decoded.T, exact)}


def polar_rows(x: Rows) -> list[dict[str, Any]]:
    """PolarQuant's settings, and TurboQuant beside them: bits a coordinate in all, distortion."""
    found = []
    settings = [(4, (4, 2, 2, 2)), (4, (4, 3, 2, 2)), (7, (4, 3, 3, 3, 3, 3, 3)), (7, (5, 4, 4, 3, 3, 3, 3))]
    for levels, bits in settings:
        q = PolarQuant(DIM, levels, bits)
        codes = q.encode(x)
        found.append(
            {"name": f"PolarQuant{bits}", "rate": codes.bits_per_dim, "distortion": distortion(x, q.decode(codes))}
        )
    for bits in (3, 4):
        plain = TurboQuant(DIM, bits, scale="mse")
        codes_of = plain.encode(x)
        error = distortion(x, plain.decode(codes_of))
        found.append({"name": f"TurboQuant, {bits} bits", "rate": codes_of.bits_per_dim, "distortion": error})
    return found


def entropies(x: Rows) -> list[dict[str, Any]]:
    """Entropy of the codes, measured and by the cells' masses, and of a uniform quantiser with the same error."""
    found = []
    for bits in BITS:
        codes = unpack(TurboQuant(DIM, bits).encode(x).packed, DIM, bits, bits)
        share = np.bincount(codes.ravel(), minlength=1 << bits) / codes.size
        masses = solve(bits).masses
        found.append(
            {
                "bits": bits,
                "measured": float(-np.sum(share[share > 0] * np.log2(share[share > 0]))),
                "theory": float(-np.sum(masses * np.log2(masses))),
                "uniform": uniform_entropy(solve(bits).distortion),
            }
        )
    return found


def uniform_entropy(target: float) -> float:
    """Return the entropy of a normal's uniform quantiser that decodes to cell means with squared error ``target``."""
    grid = np.linspace(-9, 9, 720_001)
    f = np.exp(-0.5 * grid * grid) / math.sqrt(2 * math.pi) * (grid[1] - grid[0])

    def at(step: float) -> tuple[float, float]:
        cell = np.rint(grid / step).astype(int)
        cell -= cell.min()
        p = np.bincount(cell, f)
        means = np.bincount(cell, f * grid) / np.maximum(p, 1e-300)
        inside = p[p > 0]
        return 1 - float(np.sum(p * means**2)), float(-np.sum(inside * np.log2(inside)))

    low, high = 0.01, 4.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if at(middle)[0] < target else (low, middle)
    return at(low)[1]


def encode_times(base: Rows, rounds: int = 5) -> dict[str, float]:
    """Vectors encoded a second on one thread, 4 bits, medians of interleaved rounds."""
    x = base[:2000]
    codecs: dict[str, Any] = {**estimators(4), "PolarQuant": PolarQuant(DIM)}
    codecs["prod, hadamard S"] = TurboQuantProd(DIM, 4, projection="hadamard")
    runs = {name: (lambda q=q: q.encode(x, threads=1)) for name, q in codecs.items() if name != "mse"}
    times = harness.interleave(runs, rounds)
    return {name: len(x) / float(np.median([cpu for cpu, _ in pairs])) for name, pairs in times.items()}


def main() -> None:
    """Measure, write the JSON, draw, write the report."""
    parser = argparse.ArgumentParser(description="Make the papers' figures and tables anew.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "papers")
    parser.add_argument("--redraw", action="store_true", help="draw and write from the JSON of the last run")
    arguments = parser.parse_args()
    path = harness.RESULTS / "paper.json"
    if not arguments.redraw:
        sample = datasets.load_glosses_sample()
        base, queries = unit(sample.base), unit(sample.queries)
        isotropic = unit(np.random.default_rng(0).standard_normal((5000, DIM)))
        results = {
            "machine": harness.machine(),
            "ranks": RANKS,
            "distortion": distortions({"random": isotropic, "glosses": base}),
            "inner_products": inner_product_errors(base, queries),
            "variances": variances(),
            "recall": recalls(base, queries),
            "polar": polar_rows(isotropic),
            "entropy": entropies(base),
            "encode": encode_times(base),
        }
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    arguments.out.mkdir(parents=True, exist_ok=True)
    paper_report.write(json.loads(path.read_text(encoding="utf-8")), arguments.out)


if __name__ == "__main__":
    main()
