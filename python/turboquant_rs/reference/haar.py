"""Haar-random orthogonal matrices by Householder reflections, in a written order (docs/numerics-papers.md section 2).

TurboQuant and QJL take the Q of a Gaussian matrix's QR factorisation. The same law without a factorisation: a random
unit vector as the first column, and an independent Haar matrix of one dimension less in its orthogonal complement
(Stewart 1980, SIAM J. Numer. Anal. 17, theorem 3.2), put there by one reflection. Float64, products and sums in this
order, no fused multiply-add: every machine makes the same matrix.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .normals import normals

Array = NDArray[np.float64]


def haar(dim: int, key: int) -> Array:
    """Return a Haar-random orthogonal matrix (dim, dim) float64 from the stream ``key``.

    O(dim³): about 4/3·dim³ multiplications and as many additions. Deterministic to the bit.

    >>> q = haar(5, key=3)
    >>> bool(np.abs(q @ q.T - np.eye(5)).max() < 1e-14)
    True
    """
    # Step j makes the matrix of the last j coordinates; its vector has j normals, and the stream serves the smallest
    # first.
    draws = normals(key, dim * (dim + 1) // 2).astype(np.float64)
    q = np.zeros((dim, dim))
    used = 0
    for j in range(1, dim + 1):
        x = draws[used : used + j]
        used += j
        block = q[dim - j :, dim - j :]
        block[0, 0] = 1.0
        _reflect(block, x)
    return q


def _reflect(block: Array, x: Array) -> None:
    """Multiply ``block`` (j, j), in place, by the symmetric orthogonal matrix that sends e₁ to x/|x|.

    That is −s·(I − 2vvᵀ/|v|²) with s the sign of x₁ and v = x + s·|x|·e₁; the sign makes v's first term a sum of equal
    signs.
    """
    s = -1.0 if x[0] < 0 else 1.0
    squares = x * x
    v = x.copy()
    v[0] = x[0] + s * np.sqrt(_in_order(squares))
    squares[0] = v[0] * v[0]
    tau = 2.0 / _in_order(squares)
    w = _in_order(v[:, None] * block)
    block[:] = -s * (block - (tau * v)[:, None] * w)


def _in_order(terms: Array) -> Array:
    """Sum over the first axis, one term after another: ``sum`` pairs as its build likes."""
    total: Array = terms[0].copy()
    for term in terms[1:]:
        total += term
    return total
