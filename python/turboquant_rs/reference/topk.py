"""The k best of a row of scores, in one total order: score first, then the lower id."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def top_k(
    scores: NDArray[np.float32], ids: NDArray[np.int64], k: int, *, smaller_is_nearer: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the ``k`` best of ``scores`` (nq, n) with their ids, (nq, k) each; missing places hold id −1 and ∓inf.

    >>> top_k(np.array([[1, 3, 3]], np.float32), np.array([5, 9, 4]), 2)
    (array([[3., 3.]], dtype=float32), array([[4, 9]]))
    """
    nq, n = scores.shape
    out_scores = np.full((nq, k), np.inf if smaller_is_nearer else -np.inf, np.float32)
    out_ids = np.full((nq, k), -1, np.int64)
    kept = min(k, n)
    for row in range(nq):
        order = np.lexsort((ids, scores[row] if smaller_is_nearer else -scores[row]))[:kept]
        out_scores[row, :kept] = scores[row, order]
        out_ids[row, :kept] = ids[order]
    return out_scores, out_ids
