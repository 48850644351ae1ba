"""QJL (arXiv 2406.03482): one bit a coordinate of a random projection, and the norm (docs/numerics-papers.md section
4).

    k → power of two, norm → projection S → signs, |k|             estimate of ⟨q, k⟩ = constant · |k| · ⟨Sq, sign(Sk)⟩

Only the stored side is rounded to signs; the query keeps its values, which makes the estimate unbiased (Lemma 3.2).
Signs on both sides would estimate the angle, whose cosine is biased.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .paper_codes import PaperCodes, PaperSpec, check_sketch
from .projection import PROJECTIONS, projection, sign_constant
from .rows import norm, prepare, times_power
from .scan import QUERY_NORM_LIMIT
from .units import pack, unpack

#: Largest integer of a projected query, as of wide codes: 127·128 + 63.
REACH = 16_319


class QJL:
    """The sketch: ``sketch_dim`` sign bits and one norm a vector; NumPy only.

    Parameters as in :class:`turboquant_rs.QJL`, whose bytes and scores this class defines. Inputs are (n, dim) float32
    arrays without NaN or inf.

    Examples
    --------
    >>> q = QJL(64, 256, projection="orthogonal")
    >>> codes = q.encode(np.linspace(-1, 1, 128, dtype=np.float32).reshape(2, 64))
    >>> codes.packed.shape, codes.scales.shape
    ((2, 32), (2, 1))
    """

    def __init__(self, dim: int, sketch_dim: int, *, projection: str = "gaussian", seed: int = 0) -> None:
        check_sketch(dim, sketch_dim, projection, seed)
        self.spec = PaperSpec("qjl", dim, PROJECTIONS.index(projection), (1,), sketch_dim, seed)
        self.sketch = Sketch(projection, dim, sketch_dim, seed)

    def encode(self, x: NDArray[np.float32]) -> PaperCodes:
        """Encode rows (n, dim) float32; ValueError where a norm is beyond float32."""
        row, exponent = prepare(x)
        n = norm(row)
        return PaperCodes(self.sketch.encode(row, n), finite_scales(n, exponent)[:, None], self.spec)

    def decode(self, codes: PaperCodes) -> NDArray[np.float32]:
        """Return |k|·constant·Sᵀ·signs, (n, dim) float32: unbiased, and far longer than k where sketch_dim < dim."""
        return self.sketch.decode(codes.packed, codes.scales[:, 0])

    def score(self, queries: NDArray[np.float32], codes: PaperCodes) -> NDArray[np.float32]:
        """Return estimated inner products (nq, n) float32."""
        row, exponent = prepare(queries)
        n = query_norms(row, exponent)
        return self.sketch.score(row, n, exponent, codes.packed, codes.scales[:, 0])


class Sketch:
    """Signs of a projection: the part of QJL that TurboQuant_prod uses for its residuals."""

    def __init__(self, kind: str, dim: int, size: int, seed: int) -> None:
        self.size = size
        self.projection = projection(kind, dim, size, seed)
        self.constant = sign_constant(kind, dim, size)

    def encode(self, row: NDArray[np.float32], n: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return packed signs of the projections of rows with norms ``n``: bit j is 1 where projection j is above 0."""
        positive = self.projection.apply(row, n) > 0
        return pack(positive.astype(np.uint8), 1, 1)

    def signs(self, packed: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the signs, (n, size) float32, ±1."""
        return np.where(unpack(packed, self.size, 1, 1) == 1, np.float32(1), np.float32(-1))

    def decode(self, packed: NDArray[np.uint8], lengths: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (lengths·constant) · Sᵀ·signs."""
        return self.projection.transposed(self.signs(packed)) * (lengths * self.constant)[:, None]

    def score(
        self,
        row: NDArray[np.float32],
        n: NDArray[np.float32],
        exponent: NDArray[np.int32],
        packed: NDArray[np.uint8],
        lengths: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return (F·float32(acc))·length for prepared queries of norms ``n`` (docs/numerics-papers.md section 4)."""
        projected = self.projection.apply(row, n)
        top = np.abs(projected).max(axis=1)
        safe = np.where(top == 0, np.float32(1), top)
        reach = np.float32(REACH)
        values = np.clip(np.rint(projected * (reach / safe)[:, None]), -reach, reach).astype(np.float64)
        factor = times_power((top / reach) * self.constant, exponent)
        exact = values @ self.signs(packed).T.astype(np.float64)
        with np.errstate(over="ignore"):
            return (factor[:, None] * exact.astype(np.float32)) * lengths


def query_norms(row: NDArray[np.float32], exponent: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return norms of prepared queries without their powers of two; 2**96 and beyond are refused."""
    n = norm(row)
    if (np.ldexp(n.astype(np.float64), exponent) >= QUERY_NORM_LIMIT).any():
        raise ValueError("the norm of a query must be below 2**96")
    return n


def finite_scales(value: NDArray[np.float32], exponent: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return value · 2**exponent, refused where it is beyond float32."""
    scales = times_power(value, exponent)
    if not np.isfinite(scales).all():
        raise ValueError(f"row {int(np.argmax(~np.isfinite(scales)))} has a norm beyond float32")
    return scales
