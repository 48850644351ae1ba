"""What ``paper.py`` measures of errors: distortion, inner products, variances, PolarQuant's rate, entropy."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from turboquant_rs import PolarQuant, TurboQuant, TurboQuantProd
from turboquant_rs.evaluation import comparators, entropy
from turboquant_rs.reference.lloyd_max import solve
from turboquant_rs.reference.units import unpack

Rows = NDArray[np.float32]

BITS = range(1, 9)
#: Seeds that statistics of sketches are averaged over, and pairs at each.
SEEDS, PAIRS = 100, 400
#: Queries whose products with all rows are held at a time.
BLOCK = 100
#: Half the width of the histogram of errors, by bits.
REACH = {1: 0.36, 2: 0.15, 3: 0.08, 4: 0.04}
#: Edges of the inner products that errors are grouped by, at 2 bits.
SIZES = np.linspace(-0.1, 0.9, 11)


class Data(NamedTuple):
    """Rows of norm 1: base, queries, rows for fitting (None: the base itself), random rows; seeds to average over."""

    base: Rows
    queries: Rows
    train: Rows | None
    random: Rows
    seeds: int

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        return self.base.shape[1]

    def sizes(self) -> dict[str, int]:
        """Return what identifies the data in the JSON file."""
        train = 0 if self.train is None else len(self.train)
        return {
            "base": len(self.base),
            "queries": len(self.queries),
            "train": train,
            "random": len(self.random),
            "dim": self.dim,
            "seeds": self.seeds,
        }


def unit(x: NDArray[Any]) -> Rows:
    """Return rows of norm 1."""
    rows: Rows = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return rows


def distortion(x: Rows, approximation: NDArray[Any]) -> float:
    """Return the mean of |x − x̂|² over rows of norm 1."""
    parts = range(0, len(x), 10_000)
    return sum(
        float(np.sum((x[i : i + 10_000].astype(np.float64) - approximation[i : i + 10_000]) ** 2)) for i in parts
    ) / len(x)


def distortions(data: Data) -> list[dict[str, Any]]:
    """Distortion by bits: theory, the paper's scale, ours with the least-error scale, refined."""
    found = []
    for bits in BITS:
        row: dict[str, Any] = {
            "bits": bits,
            "shannon": 4.0**-bits,
            "upper_bound": math.sqrt(3) * math.pi / 2 * 4.0**-bits,
        }
        row["theory"] = solve(bits, data.dim).distortion
        for name, x in {"random": data.random, "glosses": data.base}.items():
            for label, q in {
                "paper": TurboQuant(data.dim, bits, scale="paper"),
                "mse": TurboQuant(data.dim, bits, scale="mse"),
                "refined": TurboQuant(data.dim, bits, scale="mse", refine=16),
            }.items():
                row[f"{name}_{label}"] = distortion(x, q.decode(q.encode(x)))
        found.append(row)
    return found


def estimators(dim: int, bits: int, seed: int = 0) -> dict[str, Any]:
    """Return the codecs whose inner products are compared."""
    return {
        "mse": TurboQuant(dim, bits, scale="paper", seed=seed),
        "unbiased": TurboQuant(dim, bits, seed=seed),
        "prod, Gaussian S": TurboQuantProd(dim, bits, seed=seed),
        "prod, orthogonal S": TurboQuantProd(dim, bits, projection="orthogonal", seed=seed),
    }


class Moments:
    """Count, mean and deviation of what is added in blocks; by group, if groups are given."""

    def __init__(self, groups: int = 1) -> None:
        self.count, self.total, self.squares = np.zeros(groups), np.zeros(groups), np.zeros(groups)

    def add(self, values: NDArray[Any], group: NDArray[Any] | None = None) -> None:
        """Take values in, each in its group."""
        flat = values.astype(np.float64).ravel()
        which = np.zeros(flat.size, np.int64) if group is None else group.ravel()
        size = len(self.count)
        self.count += np.bincount(which, minlength=size)
        self.total += np.bincount(which, flat, size)
        self.squares += np.bincount(which, flat * flat, size)

    def mean(self) -> NDArray[np.float64]:
        """Return the mean of every group, 0 for an empty one."""
        mean: NDArray[np.float64] = self.total / np.maximum(self.count, 1)
        return mean

    def std(self) -> NDArray[np.float64]:
        """Return the standard deviation of every group."""
        deviation: NDArray[np.float64] = np.sqrt(
            np.maximum(self.squares / np.maximum(self.count, 1) - self.mean() ** 2, 0)
        )
        return deviation


def inner_product_errors(data: Data) -> dict[str, Any]:
    """⟨q, x̂⟩ − ⟨q, x⟩ over all pairs, over the nearest ten of each query, and at 2 bits by the size of ⟨q, x⟩."""
    table, histograms, by_size = [], {}, {}
    blocks = [slice(i, i + BLOCK) for i in range(0, len(data.queries), BLOCK)]
    transposed = data.base.T.astype(np.float32)
    exact = [data.queries[block] @ transposed for block in blocks]
    near = [np.argpartition(-values, 10, axis=1)[:, :10] for values in exact]
    for bits in (1, 2, 3, 4):
        edges = np.linspace(-REACH[bits], REACH[bits], 81)
        heights = {}
        for name, q in estimators(data.dim, bits).items():
            codes = q.encode(data.base)
            pairs, sizes, of_near = Moments(), Moments(len(SIZES) + 1), []
            for block, values, ids in zip(blocks, exact, near, strict=True):
                error = q.score(data.queries[block], codes) - values
                pairs.add(error)
                of_near.append(np.take_along_axis(error, ids, axis=1))
                if bits == 2:
                    sizes.add(error, np.digitize(values, SIZES))
            errors = np.concatenate(of_near)
            table.append(
                {
                    "bits": bits,
                    "name": name,
                    "mean": float(pairs.mean()[0]),
                    "std": float(pairs.std()[0]),
                    "near_mean": float(errors.mean()),
                    "near_std": float(errors.std()),
                }
            )
            heights[name] = np.histogram(errors, edges, density=True)[0].tolist()
            if bits == 2:
                by_size[name] = {
                    "count": sizes.count[1:-1].tolist(),
                    "mean": sizes.mean()[1:-1].tolist(),
                    "std": sizes.std()[1:-1].tolist(),
                }
        histograms[str(bits)] = {"edges": edges.tolist(), "heights": heights}
    return {"table": table, "histograms": histograms, "sizes": SIZES.tolist(), "by_size": by_size}


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


def polar_rows(data: Data) -> list[dict[str, Any]]:
    """PolarQuant's settings, and TurboQuant beside them: bits a coordinate in all, distortion."""
    found = []
    settings = [(4, (4, 2, 2, 2)), (4, (4, 3, 2, 2)), (7, (4, 3, 3, 3, 3, 3, 3)), (7, (5, 4, 4, 3, 3, 3, 3))]
    codecs: dict[str, Any] = {f"PolarQuant{bits}": PolarQuant(data.dim, levels, bits) for levels, bits in settings}
    codecs |= {f"TurboQuant, {bits} bits": TurboQuant(data.dim, bits, scale="mse") for bits in (3, 4)}
    for name, q in codecs.items():
        row = {"name": name, "rate": 8 * q.bytes_per_vector() / data.dim}
        for key, x in {"random": data.random, "glosses": data.base}.items():
            row[key] = distortion(x, q.decode(q.encode(x)))
        found.append(row)
    return found


def entropies(data: Data) -> list[dict[str, Any]]:
    """Entropy of the codes by theory and measured, Huffman's length, and a uniform quantiser in their place."""
    found = []
    rows = data.base[:20_000]
    y = comparators.rotated(rows) * math.sqrt(data.dim)
    for bits in BITS:
        codes = unpack(TurboQuant(data.dim, bits).encode(rows).packed, data.dim, bits, bits)
        best = solve(bits)
        same = entropy.of_error(best.distortion)
        measured, error = entropy.measured(y, same)
        found.append(
            {
                "bits": bits,
                "distortion": best.distortion,
                "theory": entropy.entropy(best.masses),
                "measured": entropy.entropy(np.bincount(codes.ravel(), minlength=1 << bits)),
                "huffman": entropy.huffman(best.masses),
                "uniform": same.entropy,
                "uniform_measured": measured,
                "uniform_error": error,
                "same_rate": entropy.of_entropy(bits).distortion,
            }
        )
    return found
