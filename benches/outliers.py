"""What an outlier split is worth: distortion, and recall of inner products, beside plain and fitted codes.

    python benches/outliers.py [--keys FILE.npz] [--out benches/results/outliers.json]

Data: the 5,000 glosses that come with the package, normalised as they are; isotropic rows of which a quarter of the
channels are 4 times larger; with --keys also attention keys, the array K (layers, heads, tokens, dim) of a file, each
head on its own: channels and fits from its first half of tokens, measured on the second. A quarter or half of the
channels are outliers. No times are measured.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import harness
import numpy as np
from numpy.typing import NDArray
from turboquant_rs import TurboQuant, outlier_channels
from turboquant_rs.evaluation import datasets
from turboquant_rs.fit import FitWarning

Rows = NDArray[np.float32]
K, SEEDS = 10, range(5)


class Part:
    """Rows to choose and fit by, rows to measure, and queries."""

    def __init__(self, sample: Rows, rows: Rows, queries: Rows) -> None:
        self.sample, self.rows, self.queries = sample, rows, queries
        exact = queries.astype(np.float64) @ rows.astype(np.float64).T
        self.nearest = np.argsort(-exact, axis=1, kind="stable")[:, :K]


def codecs(part: Part, seed: int) -> dict[str, TurboQuant]:
    """Return the codecs that are compared; fits use scale "mse" as the others do."""
    dim = part.rows.shape[1]
    # A fit that does not pay says so and is a plain codec.
    warnings.simplefilter("ignore", FitWarning)
    quarter, half = (outlier_channels(part.sample, dim // share) for share in (4, 2))
    options: dict[str, Any] = {"scale": "mse", "seed": seed}
    return {
        **{f"plain {bits}": TurboQuant(dim, bits, **options) for bits in (2, 3, 4)},
        **{f"quarter {bits}": TurboQuant(dim, bits, outliers=quarter, **options) for bits in ((3, 2), (4, 3), (4, 2))},
        **{f"half {bits}": TurboQuant(dim, bits, outliers=half, **options) for bits in ((3, 2), (4, 3))},
        "fitted 2.5": TurboQuant.fit(part.sample, 2.5, **options),
        "fitted 3.5": TurboQuant.fit(part.sample, 3.5, **options),
    }


def measure(parts: list[Part]) -> list[dict[str, Any]]:
    """Return for each codec its bits with scales, distortion and overlap of the ten nearest, over parts and seeds."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for part in parts:
        energy = np.sum(part.rows.astype(np.float64) ** 2)
        for seed in SEEDS:
            for name, q in codecs(part, seed).items():
                codes = q.encode(part.rows)
                error = np.sum((part.rows.astype(np.float64) - q.decode(codes)) ** 2)
                ids = np.argsort(-q.score(part.queries, codes), axis=1, kind="stable")[:, :K]
                overlap = np.mean([len(set(a) & set(b)) / K for a, b in zip(ids, part.nearest, strict=True)])
                found.setdefault(name, []).append((codes.bits_per_dim, float(error / energy), float(overlap)))
    rows = []
    for name, values in found.items():
        bits, error, overlap = np.mean(values, axis=0)
        rows.append({"codec": name, "bits_per_dim": bits, "distortion": error, "overlap_10": overlap})
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="What an outlier split is worth.")
    parser.add_argument("--keys", type=Path, help="attention keys and queries: arrays K and Q of an .npz file")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "outliers.json")
    args = parser.parse_args()
    glosses = datasets.load_glosses_sample()
    rng = np.random.default_rng(0)
    larger = np.where(np.arange(128) < 32, 4, 1)
    made, asked = (rng.standard_normal((n, 128)) * larger for n in (8_000, 200))
    sets = {
        "glosses": [Part(glosses.base[:2_500], glosses.base[2_500:], glosses.queries)],
        "larger channels": [Part(*(v.astype(np.float32) for v in (made[:4_000], made[4_000:], asked)))],
    }
    if args.keys is not None:
        arrays = np.load(args.keys)
        keys, queries = arrays["K"].astype(np.float32), arrays["Q"].astype(np.float32)
        each = queries.shape[1] // keys.shape[1]
        half = keys.shape[2] // 2
        sets["keys"] = [
            Part(head[:half], head[half:], queries[i, each * j : each * (j + 1)].reshape(-1, keys.shape[3]))
            for i, layer in enumerate(keys)
            for j, head in enumerate(layer)
        ]
    result: dict[str, Any] = {"machine": harness.machine(), "k": K, "seeds": len(SEEDS), "sets": {}}
    for name, parts in sets.items():
        dim = parts[0].rows.shape[1]
        shares = [
            np.sum(p.rows[:, outlier_channels(p.sample, dim // 4)] ** 2, dtype=float) / np.sum(p.rows**2, dtype=float)
            for p in parts
        ]
        rows = measure(parts)
        result["sets"][name] = {"dim": dim, "outliers": dim // 4, "energy": float(np.mean(shares)), "codecs": rows}
        print(f"{name}: dim {dim}, {dim // 4} channels with {np.mean(shares):.3f} of the energy")
        for row in rows:
            print("  {codec:12} {bits_per_dim:6.3f} {distortion:9.5f} {overlap_10:6.3f}".format(**row))
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
