"""PolarQuant's angles: laws, codebooks, and the shipped cosines and sines (docs/numerics-papers.md section 6).

The angle of level 1 is uniform over the circle. From level 2 on an angle is that of two lengths, each the norm of
2^(l−1) independent normals (PolarQuant, arXiv 2502.02617, Lemma 2): its density on [0, π/2] is a power of sin 2ψ, and
it crowds around π/4 as l grows. A codebook minimises the mean squared error of the angle (equation 4 there).

Nothing here runs between a row and its bytes. ``make_tables`` ships cosines and sines as ``polar_angles.bin``:
little-endian float32,

    for level = 1 … 16:  for bits = 1 … 8:
        cos, sin of the 2^(bits−1) − 1 boundaries below π/4, ascending; cos, sin of the 2^(bits−1) centroids below π/4.

The rest mirrors them at π/4, where cosine and sine change places, with a boundary on it. Level 1 is cut into quadrants
first, so its runs are those of one quadrant.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .lloyd_max import REACH, Law, solve_law

MAX_LEVEL, MAX_BITS = 16, 8
#: Floats of one level: Σ over bits of 2·(2^(bits−1) − 1) + 2·2^(bits−1).
_PER_LEVEL = 1004
_FILE = Path(__file__).with_name("polar_angles.bin")

Array = NDArray[np.float64]


class Angles(NamedTuple):
    """A codebook of angles in [0, π/2] by cosine and sine, ascending in the angle. Float32 each."""

    bound_cos: NDArray[np.float32]
    """(2^bits − 1,) of the boundaries."""
    bound_sin: NDArray[np.float32]
    cos: NDArray[np.float32]
    """(2^bits,) of the centroids."""
    sin: NDArray[np.float32]


def angle_law(level: int) -> tuple[Law, float]:
    """Return the law of 2ψ − π/2 at ``level`` ≥ 2 in units of its standard deviation, and that deviation.

    The density of t = 2ψ − π/2 on [−π/2, π/2] is K·cos(t)^n, n = 2^(level−1) − 1.

    >>> round(angle_law(2)[1] / 2, 4), round(angle_law(4)[1] / 2, 4)       # of ψ itself
    (0.3418, 0.1763)
    """
    n = (1 << (level - 1)) - 1
    constant = math.exp(math.lgamma(n / 2 + 1) - math.lgamma((n + 1) / 2)) / math.sqrt(math.pi)

    def density(t: Array) -> Array:
        with np.errstate(under="ignore"):
            value: Array = constant * np.cos(np.minimum(np.abs(t), math.pi / 2)) ** n
        return value

    nodes, weights = np.polynomial.legendre.leggauss(200)
    end = min(math.pi / 2, 2 * REACH / math.sqrt(n + 1))
    t = 0.5 * end * (1 + nodes)
    deviation = math.sqrt(2 * float((0.5 * end * weights * density(t) * t * t).sum()))
    law = Law(
        x=lambda t: t,
        t=lambda x: x,
        weight=lambda x: deviation * density(deviation * x),
        density=lambda x: deviation * density(deviation * x),
        end=math.pi / 2 / deviation,
    )
    return law, deviation


def centroids(level: int, bits: int) -> Array:
    """Return the 2^bits angles of a level's codebook, ascending in (0, π/2); of level 1 those of a quadrant.

    >>> centroids(2, 2).round(4)
    array([0.3098, 0.634 , 0.9368, 1.261 ])
    """
    if level == 1:
        sectors: Array = (np.arange(1 << bits, dtype=np.float64) + 0.5) * (math.pi / 2 / (1 << bits))
        return sectors
    law, deviation = angle_law(level)
    angles: Array = math.pi / 4 + 0.5 * deviation * solve_law(law, bits).levels
    return angles


def angle_distortion(level: int, bits: int) -> float:
    """Return the mean squared error of a level's angle, in radians², at the optimum; level 1 counts all its bits."""
    if level == 1:
        return (2 * math.pi / (1 << bits)) ** 2 / 12
    law, deviation = angle_law(level)
    return solve_law(law, bits).distortion * (0.5 * deviation) ** 2


def angle_table() -> NDArray[np.float32]:
    """Derive what ``polar_angles.bin`` holds."""
    runs: list[Array] = []
    for level in range(1, MAX_LEVEL + 1):
        for bits in range(1, MAX_BITS + 1):
            theta = centroids(level, bits)
            half = 1 << (bits - 1)
            bounds = 0.5 * (theta[: half - 1] + theta[1:half])
            runs += [np.cos(bounds), np.sin(bounds), np.cos(theta[:half]), np.sin(theta[:half])]
    return np.concatenate(runs).astype(np.float32)


@cache
def _table() -> NDArray[np.float32]:
    return np.frombuffer(_FILE.read_bytes(), dtype="<f4").astype(np.float32)


@cache
def angles(level: int, bits: int) -> Angles:
    """Return the shipped codebook of a level; ``bits`` 0 is one centroid at π/4 without boundaries."""
    diagonal = np.array([0.70710678118654752440], np.float32)
    none = np.empty(0, np.float32)
    if bits == 0:
        return Angles(none, none, diagonal, diagonal)
    half = 1 << (bits - 1)
    # The widths before this one take 2·(2^bits' − 1) floats each.
    start = (level - 1) * _PER_LEVEL + 2 * ((1 << bits) - 1 - bits)
    table = _table()[start : start + 2 * ((1 << bits) - 1)]
    bound_cos, bound_sin, cos, sin = np.split(table, [half - 1, 2 * half - 2, 3 * half - 2])
    return Angles(
        np.concatenate([bound_cos, diagonal, bound_sin[::-1]]),
        np.concatenate([bound_sin, diagonal, bound_cos[::-1]]),
        np.concatenate([cos, sin[::-1]]),
        np.concatenate([sin, cos[::-1]]),
    )
