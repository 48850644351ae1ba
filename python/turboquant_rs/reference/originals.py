"""Exact scores of rows as an index keeps them: what :meth:`turboquant_rs.Index.search` returns with ``rescore``.

Everything is float64 (docs/numerics.md section 14): products of float32 numbers are exact there, sums follow the one
summation tree, and no value comes near the limits, so every machine gets the same result; it is rounded once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .rows import TINY
from .sums import LANES


def widened(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return float32 values in float64, those below 2**−126 as 0."""
    return np.where((x.view(np.uint32) & np.uint32(0x7FFFFFFF)) < 0x00800000, 0.0, x.astype(np.float64))


def kept(x: NDArray[np.float32], keep: str) -> NDArray[np.float64]:
    """Return what ``keep`` makes of rows (n, dim) float32, as values that float64 holds exactly.

    >>> kept(np.array([[1, 2049]], np.float32), "float16")
    array([[1.000e+00, 2.048e+03]])
    """
    values = widened(x)
    if keep == "float32":
        return values
    if keep == "float16":
        with np.errstate(over="ignore"):
            result = values.astype(np.float32).astype(np.float16).astype(np.float32)
        if np.isinf(result).any():
            raise ValueError("x must fit float16")
        return widened(result)
    if keep == "bfloat16":
        bits = values.astype(np.float32).view(np.uint32)
        # To the nearest of 16 bits, ties to even.
        result = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)
        if np.isinf(result).any():
            raise ValueError("x must fit bfloat16")
        return widened(result)
    top = np.abs(values).max(axis=1, initial=0)
    scale = (top / 127).astype(np.float32)
    scale = np.where(scale < TINY, np.float32(0), scale)
    inverse = np.where(scale == 0, 0.0, 127 / np.where(top == 0, 1.0, top))
    steps: NDArray[np.float64] = np.rint(values * inverse[:, None])
    return steps * scale.astype(np.float64)[:, None]


def tree_sum64(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the last axis of ``terms`` (…, m) float64 by the tree of :func:`.sums.tree_sum`.

    >>> tree_sum64(np.ones((2, 100)))
    array([100., 100.])
    """
    m = terms.shape[-1]
    blocks = -(-m // LANES)
    padded = np.zeros((*terms.shape[:-1], blocks * LANES))
    padded[..., :m] = terms
    lanes = np.zeros((*terms.shape[:-1], LANES))
    for block in range(blocks):
        lanes = lanes + padded[..., block * LANES : (block + 1) * LANES]
    width = LANES
    while width > 1:
        width //= 2
        lanes = lanes[..., :width] + lanes[..., width:]
    total: NDArray[np.float64] = lanes[..., 0]
    return total


def exact_scores(metric: str, query: NDArray[np.float32], rows: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the scores of one query (dim,) float32 against kept rows (n, dim) float64, (n,) float32.

    >>> exact_scores("l2", np.zeros(2, np.float32), np.array([[3.0, 4.0]]))
    array([25.], dtype=float32)
    """
    q = widened(query)
    if metric == "l2":
        difference = q - rows
        result = tree_sum64(difference * difference)
    else:
        result = tree_sum64(q * rows)
    if metric == "cosine":
        squares = tree_sum64(q * q), tree_sum64(rows * rows)
        zero = (squares[0] == 0) | (squares[1] == 0)
        lengths = np.sqrt(squares[0]) * np.sqrt(squares[1])
        result = np.where(zero, 0.0, result / np.where(zero, 1.0, lengths))
    with np.errstate(over="ignore", under="ignore"):
        return np.where(np.abs(result) < TINY, np.float32(0), result.astype(np.float32))
