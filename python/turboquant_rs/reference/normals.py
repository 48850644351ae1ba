"""Normals from a constant table: what stands between a seed and a Gaussian matrix (docs/numerics-papers.md section 1).

A normal is a sign and one of 4,096 magnitudes, the means of as many equally likely cells of |N(0, 1)|. No logarithm or
cosine of any libm takes part, so every machine draws the same matrix. ``make_tables`` derives the table and ships it as
``normal_magnitudes.bin`` (little-endian float32, ascending).
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from .rng import stream

#: Cells of |N(0, 1)|, each of probability 1/4,096.
CELLS = 4096
#: Normals a 64-bit word gives, 16 bits each.
PER_WORD = 4

_FILE = Path(__file__).with_name("normal_magnitudes.bin")


def normals(key: int, count: int) -> NDArray[np.float32]:
    """Return normals 0 … count−1 of the stream ``key`` as (count,) float32.

    Normal i is made of bits 16·(i mod 4) … 16·(i mod 4) + 15 of output i div 4: the low 12 choose the magnitude, the
    highest is the sign (1 means negative).

    >>> normals(0, 3)
    array([-1.4586797 ,  1.0251385 , -0.69674575], dtype=float32)
    """
    fields = stream(key, -(-count // PER_WORD)).astype("<u8").view("<u2")[:count]
    magnitudes = magnitude_table()[fields & np.uint16(CELLS - 1)]
    result: NDArray[np.float32] = np.where(fields >> np.uint16(15) == 1, -magnitudes, magnitudes)
    return result


@cache
def magnitude_table() -> NDArray[np.float32]:
    """Return the shipped magnitudes, (4096,) float32, ascending, read-only."""
    table = np.frombuffer(_FILE.read_bytes(), dtype="<f4").astype(np.float32)
    table.setflags(write=False)
    return table


def derived_magnitudes() -> NDArray[np.float32]:
    """Derive the table: the mean of cell k of |N(0, 1)|, between its quantiles k/4096 and (k + 1)/4096.

    Means keep E|s| = √(2/π) exactly, which is what makes the sketch's estimator unbiased for one-hot vectors, too; the
    second moment falls short of 1 by 1.5e-5, the variance within the cells.
    """
    law = NormalDist()
    edges = np.array([0.0] + [law.inv_cdf(0.5 + k / (2 * CELLS)) for k in range(1, CELLS)])
    nodes, weights = np.polynomial.legendre.leggauss(16)
    half = 0.5 * np.diff(edges)[:, None]
    x = edges[:-1, None] + half * (1.0 + nodes)
    mass = weights * np.exp(-0.5 * x * x)
    means = (mass * x).sum(axis=1) / mass.sum(axis=1)
    # The last cell has no end; its mean is the density there over its probability.
    last = 2 * math.exp(-0.5 * float(edges[-1]) ** 2) / math.sqrt(2 * math.pi) * CELLS
    return np.append(means, last).astype(np.float32)
