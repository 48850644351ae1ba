"""Where `reference.trial_ranges` has its constants from.

A class is half an octave of the dimension, h = ⌊2·log2 dim⌋; its first dimension stands for it. Random unit vectors
are swept for their best scales t (`evaluation.sweep`), and the range of the class is the p- and (1 − p)-quantile of
t: p = 1 % up to 4 bits, 2 % above. Below 64 dimensions t has far outliers (all of a few coordinates can be at the
outermost level), so p is, on each side, the one of 0.5, 1, 2, 4, 8 and 12 % with which 16 trials keep most of the
exact gain. From 64 dimensions on neighbouring classes are smoothed with weights 1/4, 1/2, 1/4: at large dims only
300 rows stand for a class.

    python -m turboquant_rs.evaluation.trial_ranges --bits 4      # prints the table's row, minutes a width

The table was made with 2,000,000 coordinates a class at 2 to 4 bits (the default), 800,000 at 5 and 6, 400,000 at 7 and
8. A run with these repeats 2 to 7 bits to the digit, and 8 bits to 0.003: its levels were less converged then.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from .sweep import kept_share, sweep

Levels = Callable[[int, int], npt.ArrayLike]

CLASSES = 33  # dim 1 … 65,536
_TAILS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.12)
_BLOCK = 1 << 22  # coordinates of one block of rows


def first_dim(dim_class: int) -> int:
    """Smallest dim of a class: the smallest with dim² ≥ 2^class.

    >>> [first_dim(h) for h in (0, 1, 2, 14, 15, 32)]
    [1, 2, 2, 128, 182, 65536]
    """
    root = math.isqrt(1 << dim_class)
    return root if root * root == 1 << dim_class else root + 1


def unit_rows(n: int, dim: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """Uniform directions of norm √dim; float64, shape (n, dim).

    >>> np.round(np.linalg.norm(unit_rows(2, 16), axis=1), 6).tolist()
    [4.0, 4.0]
    """
    g = np.random.default_rng([seed, dim]).standard_normal((n, dim))
    return np.asarray(g / np.linalg.norm(g, axis=1, keepdims=True) * math.sqrt(dim))


def derive(bits: int, dim: int, levels: Levels, *, coordinates: int = 2_000_000, seed: int = 0) -> tuple[float, float]:
    """Range (lo, hi) of the trial scales for rows of `dim` coordinates.

    Parameters
    ----------
    bits : int, 2 to 8
    dim : int
    levels : callable
        (bits, dim) → ascending levels at unit variance.
    coordinates : int
        Size of the simulation; at least 300 and at most 20,000 rows are drawn.
    seed : int

    Returns
    -------
    (float, float)

    Examples
    --------
    >>> lo, hi = derive(2, 64, lambda bits, dim: [-1.5104, -0.4528, 0.4528, 1.5104], coordinates=20_000)
    >>> 0.6 < lo < 0.85 and 1.1 < hi < 1.4
    True
    """
    if dim == 1:
        return 1.0, 1.0  # the code is a sign at the outermost level: every scale gives cosine 1
    table = levels(bits, dim)
    n = min(20_000, max(300, coordinates // dim))
    # All best scales lie far inside these windows; they spare the sweep most breakpoints.
    window = (0.0, math.inf) if dim < 64 else (0.4, 2.5) if dim < 512 else (0.6, 1.7) if dim < 4096 else (0.75, 1.4)
    found = [sweep(y, table, window) for y in _blocks(n, dim, seed)]
    t = np.concatenate([r.t for r in found])
    if dim >= 64:
        p = 0.01 if bits <= 4 else 0.02
        return float(np.quantile(t, p)), float(np.quantile(t, 1.0 - p))
    best = np.concatenate([r.cosine for r in found])
    y = np.concatenate(list(_blocks(n, dim, seed)))
    y, best = y[:4000], best[:4000]

    def share(pair: tuple[float, float]) -> float:
        return kept_share(y, table, np.concatenate([[1.0], np.linspace(*pair, 15)]), best)

    t = np.clip(t, 0.25, 4.0)  # at 2 and 3 dimensions the best interval may be unbounded
    ranges = [(float(np.quantile(t, a)), float(np.quantile(t, 1.0 - b))) for a, b in itertools.product(_TAILS, _TAILS)]
    return max(ranges, key=share)


def derive_row(bits: int, levels: Levels, *, coordinates: int = 2_000_000, seed: int = 0) -> list[tuple[float, float]]:
    """The 33 ranges of one width, smoothed, with 3 decimals."""
    raw = [derive(bits, first_dim(h), levels, coordinates=coordinates, seed=seed) for h in range(CLASSES)]
    raw[1] = raw[0]  # class 1 is empty: no dim has 2 ≤ dim² < 4 but 1
    start = 12  # dim 64
    out = list(raw)
    for h in range(start + 1, CLASSES - 1):
        lo, hi = ((raw[h - 1][i] + 2.0 * raw[h][i] + raw[h + 1][i]) / 4.0 for i in (0, 1))
        out[h] = lo, hi
    return [(round(lo, 3), round(hi, 3)) for lo, hi in out]


def _blocks(n: int, dim: int, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    step = max(1, _BLOCK // dim)
    for i, start in enumerate(range(0, n, step)):
        yield unit_rows(min(step, n - start), dim, seed * 1000 + i)


def main() -> None:
    """Print rows of the table."""
    from turboquant_rs.reference import codebook

    parser = argparse.ArgumentParser(description="Derive the constants of trial_ranges.py.")
    parser.add_argument("--bits", type=int, nargs="+", default=list(range(2, 9)))
    parser.add_argument("--coordinates", type=int, default=2_000_000)
    args = parser.parse_args()
    for bits in args.bits:
        row = derive_row(bits, lambda b, d: codebook.levels(b, b, d), coordinates=args.coordinates)
        print(f"    {bits}: (", ", ".join(f"({lo}, {hi})" for lo, hi in row), "),", sep="", flush=True)


if __name__ == "__main__":
    main()
