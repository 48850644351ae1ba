"""How much of a coordinate's variance a code leaves as error: the exact distortion of the Gaussian tables."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

#: Widest code of a coordinate.
MOST_BITS = 8
#: Fitted segments take the Gaussian tables at any length; this dimension asks for them.
_GAUSSIAN_DIM = 65_536


@cache
def distortion(bits: int) -> float:
    """Return the mean squared error of a standard normal coordinate in ``bits`` bits, 0 to 8; 1 for no bits.

    The integral over each cell in closed form, at the tables and boundaries that codes are made with.

    >>> [round(distortion(bits), 4) for bits in range(5)]
    [1.0, 0.3634, 0.1175, 0.0345, 0.0095]
    """
    # Importing the package does not load the reference; the first fit does.
    from ..reference.codebook import boundaries, levels

    if bits == 0:
        return 1.0
    table = levels(bits, bits, _GAUSSIAN_DIM)
    edges = [-math.inf, *(float(edge) for edge in boundaries(table)), math.inf]
    error = 1.0
    for level, low, high in zip((float(c) for c in table), edges, edges[1:], strict=False):
        mass = 0.5 * (math.erf(high / math.sqrt(2.0)) - math.erf(low / math.sqrt(2.0)))
        error += level * level * mass - 2.0 * level * (_density(low) - _density(high))
    return error


@cache
def distortions() -> NDArray[np.float64]:
    """Return the distortion of 0, 1, … 8 bits, (9,) float64, read-only; convex: every further bit buys less."""
    table = np.array([distortion(bits) for bits in range(MOST_BITS + 1)])
    table.setflags(write=False)
    return table


def _density(x: float) -> float:
    return math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
