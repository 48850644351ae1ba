"""A flat index over QJL, TurboQuant_prod or PolarQuant: what :class:`turboquant_rs.PaperIndex` must return
(docs/numerics-papers.md section 7).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .index import squared_norm
from .paper_codes import PaperCodes, PaperSpec
from .rows import norm, prepare
from .topk import top_k


class PaperCodec(Protocol):
    """QJL, TurboQuant_prod or PolarQuant."""

    spec: PaperSpec

    def encode(self, x: NDArray[np.float32]) -> PaperCodes: ...

    def decode(self, codes: PaperCodes) -> NDArray[np.float32]: ...

    def score(self, queries: NDArray[np.float32], codes: PaperCodes) -> NDArray[np.float32]: ...


class PaperIndex:
    """An exact scan of codes: inner product, cosine, or squared L2 distance by the codec's estimate of ⟨q, x⟩.

    Examples
    --------
    >>> from turboquant_rs.reference import QJL
    >>> ix = PaperIndex(QJL(8, 512), metric="l2")
    >>> ix.add(np.eye(8, dtype=np.float32), np.arange(8))
    >>> ix.search(np.eye(8, dtype=np.float32)[3:4], k=1)[1]
    array([[3]])
    """

    def __init__(self, codec: PaperCodec, metric: str = "ip") -> None:
        self.codec = codec
        self.metric = metric
        self.codes = codec.encode(np.empty((0, codec.spec.dim), np.float32))
        self.squares = np.empty(0, np.float32)
        self.ids = np.empty(0, np.int64)

    def add(self, x: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        """Append rows (n, dim) float32 under ``ids`` (n,) int64."""
        old, new = self.codes, self.codec.encode(unit(x) if self.metric == "cosine" else x)
        packed, scales = np.concatenate([old.packed, new.packed]), np.concatenate([old.scales, new.scales])
        self.codes = PaperCodes(packed, scales, old.spec)
        if self.metric == "l2":
            self.squares = np.concatenate([self.squares, squared_norm(x)])
        self.ids = np.concatenate([self.ids, ids])

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return (scores, ids), (nq, k) each, nearest first."""
        if self.metric != "l2":
            queries = unit(queries) if self.metric == "cosine" else queries
            return top_k(self.codec.score(queries, self.codes), self.ids, k)
        s = self.codec.score(queries, self.codes)
        with np.errstate(over="ignore"):
            distances = (squared_norm(queries)[:, None] + self.squares) - np.float32(2) * s
        scores, ids = top_k(distances, self.ids, k, smaller_is_nearer=True)
        return np.maximum(scores, np.float32(0)), ids

    def reconstruct(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the decoded rows of ``ids``; with cosine they approximate x/|x|."""
        return self.codec.decode(self.codes[[int(np.flatnonzero(self.ids == i)[0]) for i in ids]])


def unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return x′/n′ of rows (n, dim), float32: prepared rows over their norms; rows of zeros stay.

    >>> unit(np.array([[3, 4], [0, 0]], np.float32))
    array([[0.6, 0.8],
           [0. , 0. ]], dtype=float32)
    """
    row, _ = prepare(x)
    n = norm(row)
    divisor: NDArray[np.float32] = np.where(n == 0, np.float32(1), n)
    return row / divisor[:, None]
