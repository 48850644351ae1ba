"""TurboQuant_prod (arXiv 2504.19874, Algorithm 2): TurboQuant_mse at bits − 1, QJL of what it leaves over.

    x → rotation, levels at bits − 1 → residual y − c → signs of a projection of it, |residual|

The residual is sketched where it arises, among the rotated coordinates. The algorithm multiplies S with x − x̂ = Rᵀ(y −
c)·n/√d instead: a projection whose directions are isotropic and independent of R has the same law before and after R,
so this is the same method without the inverse rotation. The norm of the residual is each vector's own; its mean over
all vectors, a constant that a released code base puts in its place, leaves a bias.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .codebook import levels
from .codes import Codes
from .mse import TurboQuant
from .paper_codes import PaperCodes, PaperSpec, check_sketch
from .projection import PROJECTIONS
from .qjl import Sketch, finite_scales, query_norms
from .rows import norm, prepare
from .scan import score
from .units import row_bytes, unpack


class TurboQuantProd:
    """Unbiased inner products at ``bits`` bits a coordinate; NumPy only.

    Parameters as in :class:`turboquant_rs.TurboQuantProd`, whose bytes and scores this class defines. One bit leaves
    none to the levels: it is QJL of the vector itself, with sketch_dim = dim.

    Examples
    --------
    >>> q = TurboQuantProd(64, bits=3)
    >>> codes = q.encode(np.linspace(-1, 1, 128, dtype=np.float32).reshape(2, 64))
    >>> codes.packed.shape, codes.scales.shape
    ((2, 24), (2, 2))
    """

    def __init__(self, dim: int, bits: int, *, projection: str = "gaussian", seed: int = 0) -> None:
        check_sketch(dim, dim, projection, seed)
        if not 1 <= bits <= 8:
            raise ValueError(f"bits must be 1 to 8, got {bits}")
        self.spec = PaperSpec("prod", dim, PROJECTIONS.index(projection), (bits,), dim, seed)
        self.coarse = TurboQuant(dim, bits - 1, seed=seed, scale="paper") if bits > 1 else None
        self.sketch = Sketch(projection, dim, dim, seed)

    def encode(self, x: NDArray[np.float32]) -> PaperCodes:
        """Encode rows (n, dim) float32; ValueError where a norm is beyond float32."""
        row, exponent = prepare(x)
        n = norm(row)
        if self.coarse is None:
            return PaperCodes(self.sketch.encode(row, n), finite_scales(n, exponent)[:, None], self.spec)
        codes = self.coarse.encode(x)
        root = np.sqrt(np.float32(self.spec.dim))
        empty = n == 0
        y = self.coarse.rotations[0].apply(row) * (root / np.where(empty, np.float32(1), n))[:, None]
        residual = np.where(empty[:, None], np.float32(0), y - self._levels(codes.packed))
        left = norm(residual)
        # The length of the vector's own residual, n·|y − c|/√d.
        lengths = finite_scales((left * (np.float32(1) / root)) * n, exponent)
        packed = np.concatenate([codes.packed, self.sketch.encode(residual, left)], axis=1)
        return PaperCodes(packed, np.stack([codes.scales[:, 0], lengths], axis=1), self.spec)

    def decode(self, codes: PaperCodes) -> NDArray[np.float32]:
        """Return x̂_mse + x̂_qjl, (n, dim) float32: right on average, and farther from the vector than x̂_mse alone."""
        if self.coarse is None:
            return self.sketch.decode(codes.packed, codes.scales[:, 0])
        packed, signs = self._split(codes)
        y = self._levels(packed) * codes.scales[:, 0:1] + self.sketch.decode(signs, codes.scales[:, 1])
        return self.coarse.rotations[0].apply_inverse(y)

    def score(self, queries: NDArray[np.float32], codes: PaperCodes) -> NDArray[np.float32]:
        """Return estimated inner products (nq, n) float32: the levels' share plus the sketch's."""
        row, exponent = prepare(queries)
        n = query_norms(row, exponent)
        if self.coarse is None:
            return self.sketch.score(row, n, exponent, codes.packed, codes.scales[:, 0])
        packed, signs = self._split(codes)
        share = score(
            self.coarse, queries, Codes(packed, codes.scales[:, :1], self.coarse.spec, (self.spec.bits[0] - 1,))
        )
        rotated = self.coarse.rotations[0].apply(row)
        sketched = self.sketch.score(rotated, n, exponent, signs, codes.scales[:, 1])
        # Where the levels' share is beyond float32 it decides; an infinite residue of the other sign would make NaN.
        with np.errstate(over="ignore"):
            return np.where(np.isinf(share), share, share + np.where(np.isinf(share), np.float32(0), sketched))

    def _levels(self, packed: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return c, the level of every coordinate."""
        coarse, dim = self.spec.bits[0] - 1, self.spec.dim
        return levels(coarse, coarse, dim)[unpack(packed, dim, coarse, coarse)]

    def _split(self, codes: PaperCodes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the packed codes of the levels, and the packed signs."""
        coarse = self.spec.bits[0] - 1
        end = row_bytes(self.spec.dim, coarse, coarse)
        return codes.packed[:, :end], codes.packed[:, end:]
