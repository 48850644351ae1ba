"""The description of a fitted codec: center, transform, deviations, order of units (docs/numerics.md section 11).

Everything a fit finds is stored in the form in which codes are computed, never derived again: a fit may use any linear
algebra and any machine. The idea of spending bits where the variance is: SAQ (arXiv 2509.12086).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .dense import NORM_LIMIT
from .rng import digest

#: A coordinate of a center is 0 or of a magnitude between these: no difference or product with it is subnormal, and
#: taking it off a finite value leaves a finite value.
LEAST_CENTER, MOST_CENTER = 2.0**-80, 2.0**60
#: Deviations of coordinates of unit vectors along an axis.
LEAST_SIGMA, MOST_SIGMA = 2.0**-40, 2.0
#: Gains of a dual, and a row's gain times its segment's deviation, which is 1 without one: no sum of products
#: is subnormal while a row has anything along the axes.
LEAST_GAIN, MOST_GAIN = 2.0**-40, 2.0**40
LEAST_PRODUCT, MOST_PRODUCT = 2.0**-24, 2.0**24


@dataclass(frozen=True, eq=False)
class Dual:
    """A second matrix, for queries and decoding: errors of scores count other than those of rows.

    With C the second moment of rows and Q that of queries: rows go through Q^½ into the eigenbasis of Q^½ C Q^½,
    queries through Q^-½, so that an error there is one of scores.

    Parameters
    ----------
    matrix : (k, d) int16
        In place of the transform for queries and decoding; rows and columns of norms up to 32,200.
    row_gains : (k,) float32
        γ, what a row's product with an axis is multiplied with in place of 1/σ.
    query_gains : (k,) float32
        β, what a query's product with a row of ``matrix``, or a decoded coordinate, is multiplied with in place of σ.
    """

    matrix: NDArray[np.int16]
    row_gains: NDArray[np.float32]
    query_gains: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fitted codec has beyond its segments, whose coordinates are called *axes* here.

    Parameters
    ----------
    dim : int
        Coordinates of a vector, d.
    center : (d,) float32 or None
        μ, taken off before anything else.
    transform : (k, d) int16, k ≤ d
        Rows of T, round-half-even(32,000·v) of unit vectors v; axes without bits have no row.
    sigmas : (segments,) float32
        Deviation of the coordinates of unit vectors along a segment's axes.
    order : tuple of int
        The segment of every unit of one bit, in the order of the bytes; a segment's units come most significant first.
    dual : Dual or None
        What a codec fitted to queries has beside the transform.
    """

    dim: int
    center: NDArray[np.float32] | None
    transform: NDArray[np.int16]
    sigmas: NDArray[np.float32]
    order: tuple[int, ...]
    dual: Dual | None = None

    def check(self, segments: list[tuple[int, int]]) -> None:
        """Raise ValueError unless this belongs to ``segments`` of (dim, bits) and keeps every bound of the page."""
        axes = sum(dim for dim, _ in segments)
        if not 1 <= len(segments) <= 255 or any(dim < 1 or not 1 <= bits <= 8 for dim, bits in segments):
            raise ValueError("segments must be 1 to 255, of 1 or more axes and 1 to 8 bits")
        if any(a[1] < b[1] for a, b in pairwise(segments)):
            raise ValueError("segments must stand in non-increasing width")
        if not 1 <= axes <= self.dim <= 65_536 or self.transform.shape != (axes, self.dim):
            raise ValueError("transform must be (axes, dim), at most as many axes as dims")
        if too_long(self.transform, across=1):
            raise ValueError("transform must have rows of norms up to 32,200")
        if too_long(self.transform if self.dual is None else self.dual.matrix, across=0):
            raise ValueError("transform (with a dual, the dual) must have columns of norms up to 32,200")
        if self.sigmas.shape != (len(segments),):
            raise ValueError("sigmas must be one a segment")
        if not ((self.sigmas >= LEAST_SIGMA) & (self.sigmas <= MOST_SIGMA)).all():
            raise ValueError("sigmas must be between 2**-40 and 2")
        if self.dual is not None:
            self.check_dual(self.dual, [dim for dim, _ in segments])
        if self.center is not None:
            size = np.abs(self.center)
            inside = (size == 0) | ((size >= LEAST_CENTER) & (size <= MOST_CENTER))
            if self.center.shape != (self.dim,) or not inside.all():
                raise ValueError("center must be one value a dim, 0 or between 2**-80 and 2**60 in magnitude")
        if [self.order.count(s) for s in range(len(segments))] != [bits for _, bits in segments]:
            raise ValueError("order must name every segment once a bit")
        if len(self.order) != sum(bits for _, bits in segments):
            raise ValueError("order must name segments only")

    def check_dual(self, dual: Dual, axes: list[int]) -> None:
        """Raise ValueError unless ``dual`` has the shapes of the rest and keeps its bounds."""
        if dual.matrix.shape != self.transform.shape or too_long(dual.matrix, across=1):
            raise ValueError("dual must be of the shape of transform, with rows of norms up to 32,200")
        for gains in (dual.row_gains, dual.query_gains):
            if gains.shape != (sum(axes),) or not ((gains >= LEAST_GAIN) & (gains <= MOST_GAIN)).all():
                raise ValueError("gains must be one an axis, between 2**-40 and 2**40")
        product = dual.row_gains * np.repeat(self.sigmas, axes)
        if not ((product >= LEAST_PRODUCT) & (product <= MOST_PRODUCT)).all():
            raise ValueError("row gains times sigmas must be between 2**-24 and 2**24")

    def prefixes(self, segments: int) -> list[tuple[int, ...]]:
        """Return the bits of every segment in each prefix of the units: the first is none, the last all."""
        kept = [0] * segments
        result = [tuple(kept)]
        for segment in self.order:
            kept[segment] += 1
            result.append(tuple(kept))
        return result

    def to_bytes(self) -> bytes:
        """Return the codec section of docs/format.md: center, deviations, gains, order, transform, dual."""
        floats = [] if self.center is None else [self.center]
        floats.append(self.sigmas)
        matrices = [self.transform]
        if self.dual is not None:
            floats += [self.dual.row_gains, self.dual.query_gains]
            matrices.append(self.dual.matrix)
        parts = [part.astype("<f4").tobytes() for part in floats] + [bytes(self.order)]
        return b"".join(parts + [matrix.astype("<i2").tobytes() for matrix in matrices])

    @staticmethod
    def from_bytes(data: bytes, dim: int, segments: list[tuple[int, int]], *, centered: bool, dual: bool) -> Fitted:
        """Read :meth:`to_bytes`'s bytes; the header knows the shapes."""
        axes, units = sum(m for m, _ in segments), sum(bits for _, bits in segments)
        at = 0

        def take(dtype: str, count: int) -> NDArray[np.generic]:
            nonlocal at
            part = np.frombuffer(data[at : at + np.dtype(dtype).itemsize * count], dtype)
            at += part.nbytes
            return part

        center = take("<f4", dim).astype(np.float32) if centered else None
        sigmas = take("<f4", len(segments)).astype(np.float32)
        gains = [take("<f4", axes).astype(np.float32) for _ in range(2 * dual)]
        order = tuple(take("u1", units).tolist())
        matrices = [take("<i2", axes * dim).astype(np.int16).reshape(axes, dim) for _ in range(1 + dual)]
        return Fitted(dim, center, matrices[0], sigmas, order, Dual(matrices[1], *gains) if dual else None)

    @cached_property
    def digest(self) -> int:
        """What the fingerprint takes in: every stored number, and which parts there are."""
        return digest(self.to_bytes() + bytes([(self.center is not None) + 2 * (self.dual is not None)]))


def too_long(matrix: NDArray[np.int16], *, across: int) -> bool:
    """Return whether a row (across=1) or column (across=0) has a norm above the limit of exact products."""
    whole = matrix.astype(np.int64)
    return bool(((whole * whole).sum(axis=across) > NORM_LIMIT**2).any())


def section_bytes(dim: int, segments: list[tuple[int, int]], *, centered: bool, dual: bool) -> int:
    """Return the length of a codec section."""
    axes, units = sum(m for m, _ in segments), sum(bits for _, bits in segments)
    return 4 * dim * centered + 4 * len(segments) + units + 2 * axes * dim + dual * (8 * axes + 2 * axes * dim)
