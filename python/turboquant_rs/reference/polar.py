"""PolarQuant (arXiv 2502.02617): angles of a recursive polar transform, and the radii of its last level
(docs/numerics-papers.md section 6).

    x → rotation → pairs to (angle, length), lengths to (angle, length), … → radii, codes of angles

No angle is computed: an angle of (a, b) is above β where b·cos β > a·sin β, and decoding needs the centroids' cosines
and sines only. No norm is taken off first, since the angles' laws do not depend on it: the radii carry it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .paper_codes import RADII, PaperCodes, PaperSpec, radii_of, row_bytes
from .polar_angles import MAX_BITS, MAX_LEVEL, angles
from .qjl import query_norms
from .rotation import Rotation
from .rows import CUTOFF, prepare, times_power
from .sums import tree_sum

#: Queries whose products with all rows are held at a time.
_QUERY_BLOCK = 16


class PolarQuant:
    """Encode vectors by angles; NumPy only.

    Parameters as in :class:`turboquant_rs.PolarQuant`, whose bytes and scores this class defines. Inputs are (n, dim)
    float32 arrays without NaN or inf.

    Examples
    --------
    >>> q = PolarQuant(128)
    >>> codes = q.encode(np.linspace(-1, 1, 256, dtype=np.float32).reshape(2, 128))
    >>> codes.packed.shape, codes.packed.shape[1] * 8 / 128
    ((2, 62), 3.875)
    """

    def __init__(
        self,
        dim: int,
        levels: int = 4,
        bits: tuple[int, ...] = (4, 2, 2, 2),
        *,
        radius: str = "float16",
        seed: int = 0,
    ) -> None:
        if not 1 <= levels <= MAX_LEVEL or len(bits) != levels or not all(1 <= b <= MAX_BITS for b in bits):
            raise ValueError("levels must be 1 to 16, bits one number of 1 to 8 a level")
        if not 1 <= dim <= 65_536 or dim % (1 << levels) or radius not in RADII or not 0 <= seed < 1 << 64:
            raise ValueError(f"dim must be a multiple of {1 << levels} up to 65,536, radius one of {RADII}")
        self.spec = PaperSpec("polar", dim, RADII.index(radius), tuple(bits), 0, seed)
        self.rotation = Rotation(dim, seed)

    def encode(self, x: NDArray[np.float32]) -> PaperCodes:
        """Encode rows (n, dim) float32; ValueError where a radius is beyond the format of radii."""
        row, exponent = prepare(x)
        r = _cut(self.rotation.apply(row))
        planes = []
        for level, bits in enumerate(self.spec.bits, 1):
            a, b = r[:, 0::2], r[:, 1::2]
            codes = first_codes(a, b, bits) if level == 1 else counted(a, b, level, bits)
            planes.append(_bit_planes(codes, bits))
            r = np.sqrt(a * a + b * b)
        with np.errstate(over="ignore"):
            radii = times_power(r, exponent[:, None]).astype(self._radius)
        if not np.isfinite(radii).all():
            row_of = int(np.argwhere(~np.isfinite(radii))[0, 0])
            raise ValueError(f"row {row_of} has a radius beyond {RADII[self.spec.choice]}")
        string = np.packbits(np.concatenate(planes, axis=1), axis=1, bitorder="little")
        packed = np.concatenate([np.ascontiguousarray(radii).view(np.uint8), string], axis=1)
        return PaperCodes(packed, np.empty((len(x), 0), np.float32), self.spec)

    def decode(self, codes: PaperCodes) -> NDArray[np.float32]:
        """Return approximations (n, dim) float32: the transform undone with the centroids of the angles."""
        y, exponent = self._rotated(codes)
        return times_power(self.rotation.apply_inverse(y), exponent[:, None])

    def score(self, queries: NDArray[np.float32], codes: PaperCodes) -> NDArray[np.float32]:
        """Return inner products (nq, n) float32 of queries with the decoded rows, summed among rotated coordinates."""
        row, exponent = prepare(queries)
        query_norms(row, exponent)
        rotated = _cut(self.rotation.apply(row))
        y, powers = self._rotated(codes)
        out = np.empty((len(queries), len(codes)), np.float32)
        for first in range(0, len(queries), _QUERY_BLOCK):
            part = slice(first, first + _QUERY_BLOCK)
            out[part] = times_power(tree_sum(rotated[part, None, :] * y), exponent[part, None] + powers)
        return out

    def radii(self, codes: PaperCodes) -> NDArray[np.float32]:
        """Return the radii, (n, dim/2^levels), as float32."""
        return radii_of(self.spec, codes.packed)

    @property
    def _radius(self) -> np.dtype[np.floating]:
        return np.dtype(("<f2", "<f4")[self.spec.choice])

    def _rotated(self, codes: PaperCodes) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Return decoded rows before the inverse rotation, (n, dim), and each row's power of two."""
        r, exponent = prepare(self.radii(codes))
        start = row_bytes(self.spec) - _string_bytes(self.spec)
        string = np.unpackbits(codes.packed[:, start:], axis=1, bitorder="little")
        ends = np.cumsum([(self.spec.dim >> level) * bits for level, bits in enumerate(self.spec.bits, 1)])
        for level in range(len(self.spec.bits), 0, -1):
            bits = self.spec.bits[level - 1]
            count = self.spec.dim >> level
            end = int(ends[level - 1])
            fields = string[:, end - count * bits : end].reshape(len(r), count, bits)
            values = (fields << np.arange(bits, dtype=np.uint8)).sum(axis=2, dtype=np.uint8)
            a, b = first_point(r, values, bits) if level == 1 else inner_point(r, values, level, bits)
            r = np.stack([a, b], axis=2).reshape(len(r), 2 * count)
        return r, exponent


def first_codes(a: NDArray[np.float32], b: NDArray[np.float32], bits: int) -> NDArray[np.uint8]:
    """Return which of 2^bits equal sectors of the circle the points (a, b) lie in, counted from the positive a axis.

    The quadrant by signs, the sector in it by comparison; a ray belongs to the sector before it, an axis to the one
    after it.

    >>> first_codes(np.array([1, 0, -1, 0.5], np.float32), np.array([0, 1, 0, -1], np.float32), 2).tolist()
    [0, 1, 2, 3]
    """
    second = (a <= 0) & (b > 0)
    third = (a < 0) & (b <= 0)
    fourth = (a >= 0) & (b < 0)
    quadrant: NDArray[np.uint8] = (second + 2 * third + 3 * fourth).astype(np.uint8)
    if bits == 1:
        half: NDArray[np.uint8] = quadrant >> np.uint8(1)
        return half
    swap = second | fourth
    u, v = np.abs(np.where(swap, b, a)), np.abs(np.where(swap, a, b))
    codes: NDArray[np.uint8] = (quadrant << np.uint8(bits - 2)) + counted(u, v, 1, bits - 2)
    return codes


def counted(a: NDArray[np.float32], b: NDArray[np.float32], level: int, bits: int) -> NDArray[np.uint8]:
    """Return the number of boundaries β with b·cos β > a·sin β, for points with a, b ≥ 0: ties go to the lower code."""
    table = angles(level, bits)
    codes = np.zeros(a.shape, np.uint8)
    for cos, sin in zip(table.bound_cos, table.bound_sin, strict=True):
        codes += b * cos > a * sin
    return codes


def first_point(
    r: NDArray[np.float32], codes: NDArray[np.uint8], bits: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return r·(cos θ, sin θ) of the middle θ of each sector of level 1."""
    if bits == 1:
        return np.zeros_like(r), np.where(codes == 0, r, -r)
    inner = codes & np.uint8((1 << (bits - 2)) - 1)
    quadrant = codes >> np.uint8(bits - 2)
    u, v = inner_point(r, inner, 1, bits - 2)
    swap = quadrant % 2 == 1
    a, b = np.where(swap, v, u), np.where(swap, u, v)
    return np.where((quadrant == 1) | (quadrant == 2), -a, a), np.where(quadrant >= 2, -b, b)


def inner_point(
    r: NDArray[np.float32], codes: NDArray[np.uint8], level: int, bits: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return r·(cos θ, sin θ) of the centroids θ of ``level``."""
    table = angles(level, bits)
    return r * table.cos[codes], r * table.sin[codes]


def polar(y: NDArray[np.float64], levels: int) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the transform itself (Definition 1, Algorithm 1), in float64: the angles of every level, and the radii.

    ``y`` (n, dim), dim a multiple of 2^levels. Angles of level 1 are in [0, 2π), later ones in [0, π/2]. The codec
    never calls this; it is what its comparisons stand for.

    >>> found, radii = polar(np.array([[3.0, 4.0, 0.0, 12.0]]), 2)
    >>> [a.round(3).tolist() for a in found], radii
    ([[[0.927, 1.571]], [[1.176]]], array([[13.]]))
    """
    found = []
    r = y
    for level in range(levels):
        a, b = r[:, 0::2], r[:, 1::2]
        psi = np.arctan2(b, a)
        found.append(np.where(psi < 0, psi + 2 * np.pi, psi) if level == 0 else psi)
        r = np.hypot(a, b)
    return found, r


def cartesian(found: list[NDArray[np.float64]], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undo :func:`polar`."""
    r = radii
    for psi in reversed(found):
        r = np.stack([r * np.cos(psi), r * np.sin(psi)], axis=2).reshape(len(r), -1)
    return r


def _cut(y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put 0 for coordinates below 2^−40, so that no square and no product with a sine is subnormal."""
    return np.where(np.abs(y) >= CUTOFF, y, np.float32(0))


def _bit_planes(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    planes = (codes[:, :, None] >> np.arange(bits, dtype=np.uint8)) & np.uint8(1)
    return planes.reshape(len(codes), codes.shape[1] * bits)


def _string_bytes(spec: PaperSpec) -> int:
    return (sum((spec.dim >> level) * bits for level, bits in enumerate(spec.bits, 1)) + 7) // 8
