"""The summation tree: the one order of every float32 sum that reaches bytes or scores (docs/numerics.md section 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LANES = 64


def tree_sum(terms: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum the last axis of ``terms`` (…, m) float32 by 64 strided partial sums, then by halving.

    NumPy's own ``sum`` pairs terms in an order that depends on its build, so the order is spelled out.

    >>> tree_sum(np.ones((2, 100), np.float32))
    array([100., 100.], dtype=float32)
    """
    m = terms.shape[-1]
    blocks = -(-m // LANES)
    padded = np.zeros((*terms.shape[:-1], blocks * LANES), np.float32)
    padded[..., :m] = terms
    strided = padded.reshape(*terms.shape[:-1], blocks, LANES)
    lanes = np.zeros((*terms.shape[:-1], LANES), np.float32)
    for block in range(blocks):
        lanes = lanes + strided[..., block, :]
    width = LANES
    while width > 1:
        width //= 2
        lanes = lanes[..., :width] + lanes[..., width:]
    total: NDArray[np.float32] = lanes[..., 0]
    return total
