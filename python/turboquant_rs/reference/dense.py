"""Dense products in fixed point: exact, so the same in any order and on any machine (docs/numerics.md section 11).

A row of floats and the rows of a matrix become int16 with L2 norms of about 32,000. By Cauchy–Schwarz the sum of any
of their products is then below 32,200² < 2^31 in magnitude, so int32 holds every partial sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: L2 norm of a row in fixed point, rounding aside.
REACH = 32_000
#: Most that the rounding to int16 can make of that norm at 65,536 values, ½·√65,536 = 128, with room.
NORM_LIMIT = 32_200


def fixed_point(row: NDArray[np.float32], norm: NDArray[np.float32]) -> NDArray[np.int16]:
    """Round rows (n, d) float32 of L2 norms ``norm`` (n,) to int16 rows of norm about 32,000; rows of norm 0 to 0.

    One division a row, one multiply a value, ties to even.

    >>> fixed_point(np.array([[3.0, -4.0]], np.float32), np.array([5.0], np.float32))
    array([[ 19200, -25600]], dtype=int16)
    """
    factor = np.float32(REACH) / np.where(norm == 0, np.float32(1), norm)
    return np.rint(row * factor[:, None]).astype(np.int16)


def fixed_matrix(matrix: NDArray[np.float64]) -> NDArray[np.int16]:
    """Round a matrix whose rows are unit vectors to int16: round-half-even(32,000·v), in float64.

    >>> fixed_matrix(np.array([[0.6, -0.8]]))
    array([[ 19200, -25600]], dtype=int16)
    """
    return np.rint(matrix * float(REACH)).astype(np.int16)


def products(rows: NDArray[np.int16], matrix: NDArray[np.int16]) -> NDArray[np.int32]:
    """Return the inner products (n, k) int32 of ``rows`` (n, d) with the rows of ``matrix`` (k, d), both int16.

    float64 holds every partial sum, so its order is free.

    >>> products(np.array([[3, 4]], np.int16), np.array([[1, 0], [-2, 5]], np.int16))
    array([[ 3, 14]], dtype=int32)
    """
    return (rows.astype(np.float64) @ matrix.astype(np.float64).T).astype(np.int32)
