"""Row preparation: an exact power of two out of every row, and its norm (docs/numerics.md section 2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .sums import tree_sum

#: Smallest normal float32; rows and scales below it are zero, so flush-to-zero modes change nothing.
TINY = np.float32(2.0**-126)
#: Coordinates below this share of the row's leading power of two become 0: no later product is subnormal.
CUTOFF = np.float32(2.0**-40)


class Prepared(NamedTuple):
    """Rows with their leading power of two taken out: x = row · 2**exponent."""

    row: NDArray[np.float32]
    """(n, dim), largest magnitude of each row in [1, 2), or a row of zeros."""
    exponent: NDArray[np.int32]
    """(n,), 0 for zero rows."""


def prepare(x: NDArray[np.float32]) -> Prepared:
    """Take the leading power of two out of every row of ``x`` (n, dim) float32, exactly.

    >>> prepare(np.array([[3.0, -0.5]], np.float32))
    Prepared(row=array([[ 1.5 , -0.25]], dtype=float32), exponent=array([1], dtype=int32))
    """
    magnitude = x.view(np.uint32) & np.uint32(0x7FFFFFFF)
    top = magnitude.max(axis=1)
    zero = top < 0x00800000
    exponent = np.where(zero, 0, (top >> np.uint32(23)).astype(np.int32) - 127).astype(np.int32)
    row = np.ldexp(x, -exponent[:, None])
    row = np.where((np.abs(row) >= CUTOFF) & ~zero[:, None], row, np.float32(0))
    return Prepared(row, exponent)


def norm(row: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the L2 norm of prepared rows, (n,) float32, without their powers of two."""
    return np.sqrt(tree_sum(row * row))


def times_power(value: NDArray[np.float32], exponent: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return value · 2**exponent; a result below 2**−126 is 0 and one beyond float32 is inf."""
    with np.errstate(over="ignore", under="ignore"):
        result = np.ldexp(value, exponent)
    return np.where(np.abs(result) < TINY, np.float32(0), result)
