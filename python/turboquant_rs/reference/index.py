"""A flat index over codes with three metrics: what :class:`turboquant_rs.Index` must return."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .codes import Codes
from .mse import TurboQuant
from .rows import TINY, norm, prepare
from .scan import score
from .topk import top_k

#: With metric "l2" norms must be below this, so that their squares are finite.
L2_NORM_LIMIT = 2.0**63


class Index:
    """An exact scan of codes. Scores: inner product or cosine (larger is nearer), or squared L2 distance (smaller is
    nearer).

    Examples
    --------
    >>> ix = Index(TurboQuant(8, bits=8), metric="l2")
    >>> ix.add(np.eye(8, dtype=np.float32), np.arange(8))
    >>> ix.search(np.eye(8, dtype=np.float32)[3:4], k=1)[1]
    array([[3]])
    """

    def __init__(self, codec: TurboQuant, metric: str = "ip") -> None:
        self.codec = codec
        self.metric = metric
        self.codes: Codes | None = None
        self.squares = np.empty(0, np.float32)
        self.ids = np.empty(0, np.int64)

    def add(self, x: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        """Append rows (n, dim) float32 under ``ids`` (n,) int64."""
        codes = self.codec.encode(x, unit_norm=self.metric == "cosine")
        if self.metric == "l2":
            self.squares = np.concatenate([self.squares, squared_norm(x)])
        if self.codes is not None:
            old = self.codes
            packed, scales = np.concatenate([old.packed, codes.packed]), np.concatenate([old.scales, codes.scales])
            codes = Codes(packed, scales, codes.spec, codes.keep)
        self.codes = codes
        self.ids = np.concatenate([self.ids, ids])

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return (scores, ids), (nq, k) each, nearest first."""
        l2 = self.metric == "l2"
        if self.codes is None:
            return top_k(np.empty((len(queries), 0), np.float32), self.ids, k, smaller_is_nearer=l2)
        s = score(self.codec, queries, self.codes, cosine=self.metric == "cosine")
        if not l2:
            return top_k(s, self.ids, k)
        distances = (squared_norm(queries)[:, None] + self.squares) - np.float32(2) * s
        scores, ids = top_k(distances, self.ids, k, smaller_is_nearer=True)
        return np.maximum(scores, np.float32(0)), ids


def squared_norm(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return |x|² of rows (n, dim) as (n,) float32: the norm of docs/numerics.md section 2, squared once."""
    row, exponent = prepare(x)
    n = np.ldexp(norm(row), exponent)
    if (n >= L2_NORM_LIMIT).any():
        raise ValueError("norms must be below 2**63 for squared L2 distances")
    square = n * n
    return np.where(square < TINY, np.float32(0), square)
