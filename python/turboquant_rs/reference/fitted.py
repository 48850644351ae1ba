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
    """

    dim: int
    center: NDArray[np.float32] | None
    transform: NDArray[np.int16]
    sigmas: NDArray[np.float32]
    order: tuple[int, ...]

    def check(self, segments: list[tuple[int, int]]) -> None:
        """Raise ValueError unless this belongs to ``segments`` of (dim, bits) and keeps every bound of the page."""
        axes = sum(dim for dim, _ in segments)
        if not 1 <= len(segments) <= 255 or any(dim < 1 or not 1 <= bits <= 8 for dim, bits in segments):
            raise ValueError("segments must be 1 to 255, of 1 or more axes and 1 to 8 bits")
        if any(a[1] < b[1] for a, b in pairwise(segments)):
            raise ValueError("segments must stand in non-increasing width")
        if not 1 <= axes <= self.dim <= 65_536 or self.transform.shape != (axes, self.dim):
            raise ValueError("transform must be (axes, dim), at most as many axes as dims")
        whole = self.transform.astype(np.int64)
        for across in (0, 1):
            if ((whole * whole).sum(axis=across) > NORM_LIMIT**2).any():
                raise ValueError("transform must have rows and columns of norms up to 32,200")
        if self.sigmas.shape != (len(segments),):
            raise ValueError("sigmas must be one a segment")
        if not ((self.sigmas >= LEAST_SIGMA) & (self.sigmas <= MOST_SIGMA)).all():
            raise ValueError("sigmas must be between 2**-40 and 2")
        if self.center is not None:
            size = np.abs(self.center)
            inside = (size == 0) | ((size >= LEAST_CENTER) & (size <= MOST_CENTER))
            if self.center.shape != (self.dim,) or not inside.all():
                raise ValueError("center must be one value a dim, 0 or between 2**-80 and 2**60 in magnitude")
        if [self.order.count(s) for s in range(len(segments))] != [bits for _, bits in segments]:
            raise ValueError("order must name every segment once a bit")
        if len(self.order) != sum(bits for _, bits in segments):
            raise ValueError("order must name segments only")

    def prefixes(self, segments: int) -> list[tuple[int, ...]]:
        """Return the bits of every segment in each prefix of the units: the first is none, the last all."""
        kept = [0] * segments
        result = [tuple(kept)]
        for segment in self.order:
            kept[segment] += 1
            result.append(tuple(kept))
        return result

    def to_bytes(self) -> bytes:
        """Return the codec section of docs/format.md: center, deviations, order, transform."""
        center = b"" if self.center is None else self.center.astype("<f4").tobytes()
        return center + self.sigmas.astype("<f4").tobytes() + bytes(self.order) + self.transform.astype("<i2").tobytes()

    @staticmethod
    def from_bytes(data: bytes, dim: int, axes: int, segments: int, units: int, *, centered: bool) -> Fitted:
        """Read :meth:`to_bytes`'s bytes; the header knows the shapes."""
        at = 4 * dim * centered
        center = np.frombuffer(data, "<f4", dim).astype(np.float32) if centered else None
        sigmas = np.frombuffer(data, "<f4", segments, at).astype(np.float32)
        order = tuple(data[at + 4 * segments : at + 4 * segments + units])
        transform = np.frombuffer(data, np.uint8, offset=at + 4 * segments + units).tobytes()
        return Fitted(dim, center, np.frombuffer(transform, "<i2").reshape(axes, dim).astype(np.int16), sigmas, order)

    @cached_property
    def digest(self) -> int:
        """What the fingerprint takes in: every stored number, and the dims that segments do not tell."""
        return digest(self.to_bytes() + bytes([self.center is not None]))


def section_bytes(dim: int, axes: int, segments: int, units: int, *, centered: bool) -> int:
    """Return the length of a codec section."""
    return 4 * dim * centered + 4 * segments + units + 2 * axes * dim
