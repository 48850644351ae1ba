"""What a codec keeps of rows that its fit has not seen: neighbours found, and squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .sample import Floats, Rows, directions

if TYPE_CHECKING:
    from ..codec import TurboQuant

#: Neighbours of a query that are looked for.
K = 10
#: Held-out rows that serve as queries where none are given: a quarter, and never more than this.
MOST_QUERIES = 512
#: Scores closer than this, relative to the largest, are tied.
_TIE = 1e-6


@dataclass(frozen=True)
class Measured:
    """Of one codec.

    Attributes
    ----------
    recall : ndarray of float64, shape (nq,)
        Share of the true neighbours found, for each query.
    """

    recall: Floats

    def beats(self, other: Measured, errors: float = 1.0, *, least: float = 0.0) -> bool:
        """Whether recall is larger, by ``least`` and by more than so many standard errors over queries."""
        difference = self.recall - other.recall
        gain = float(difference.mean())
        return gain > errors * standard_error(difference) and gain >= least


class HeldOut:
    """Rows and queries that no fit has seen, with the true neighbours.

    Parameters
    ----------
    rows : ndarray of float32, shape (m, d)
    queries : ndarray of float32, shape (nq, d), or None
        None: some of the rows are the queries.
    metric : {"ip", "cosine", "l2"}
        With "cosine" rows are unit vectors.
    """

    def __init__(self, rows: Rows, queries: Rows | None, metric: str) -> None:
        if queries is None:
            count = min(MOST_QUERIES, len(rows) // 4)
            queries, rows = rows[:count], rows[count:]
        queries = queries[:MOST_QUERIES]
        # But for distances a query's length changes no order, and its direction is never too long to score.
        asked = queries if metric == "l2" else directions(queries)
        self.rows, self.queries = rows, asked if len(asked) else queries
        self._squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64) if metric == "l2" else None
        self._k = min(K, max(1, len(rows) // 4))
        self._true = self._merit(self.queries.astype(np.float64) @ rows.T.astype(np.float64))
        self._least = -np.partition(-self._true, self._k - 1, axis=1)[:, self._k - 1]
        self._least -= _TIE * np.abs(self._true).max(axis=1)

    def measure(self, codec: TurboQuant, threads: int | None = None) -> Measured:
        """Encode the rows and search them with the queries."""
        codes = codec.encode(self.rows, threads=threads)
        found = self._merit(codec.score(self.queries, codes, threads=threads))
        best = np.argpartition(-found, self._k - 1, axis=1)[:, : self._k]
        hits = np.take_along_axis(self._true, best, axis=1) >= self._least[:, None]
        return Measured(hits.mean(axis=1))

    def distortion(self, codec: TurboQuant, threads: int | None = None) -> float:
        """Return the mean of |x − x̂|²/|x|², x̂ at its best length: codecs compare, whatever their scale is for."""
        decoded = codec.decode(codec.encode(self.rows, threads=threads), threads=threads)
        parts = codec._core.parts()
        center = np.zeros(1) if parts is None or parts[0] is None else parts[0].astype(np.float64)
        error, size = residual(self.rows - center, decoded - center), squares(self.rows.astype(np.float64))
        return float(np.mean(error[size > 0] / size[size > 0])) if size.any() else 0.0

    def _merit(self, products: NDArray[np.floating]) -> Floats:
        """Larger is nearer."""
        merit = products.astype(np.float64)
        return merit if self._squares is None else 2.0 * merit - self._squares


def residual(x: NDArray[np.floating], back: NDArray[np.floating]) -> Floats:
    """Return |x|²·(1 − cos²(x, x̂)), (n,): the squared error with x̂ at its best length."""
    along, own = np.einsum("ij,ij->i", x, back), squares(back)
    kept = np.divide(along * along, own, out=np.zeros_like(own), where=own > 0)
    return np.asarray(np.maximum(squares(x) - kept, 0.0), np.float64)


def squares(x: NDArray[np.floating]) -> Floats:
    """Return |x|² of rows, (n,)."""
    return np.asarray(np.einsum("ij,ij->i", x, x), np.float64)


def standard_error(values: Floats) -> float:
    """Return the standard error of a mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
