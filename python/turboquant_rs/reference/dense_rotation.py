"""The paper's own rotation, a dense Haar-random matrix (TurboQuant, arXiv 2504.19874, Algorithm 1 line 2).

For fidelity: O(m²) a row where the structured one takes O(m log m), and no better on any input that was tried. Products
run in fixed point, so that they are exact in any order (docs/numerics.md section 4).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .dense import fixed_matrix
from .haar import haar
from .projection import DENSE_MAX_DIM, UNIT, Dense
from .rng import derive
from .rotation import Rotation
from .rows import norm

ROTATIONS = ("hadamard", "dense")
#: First word of a matrix's stream, beside those of the projections; the segment follows.
_ROTATION = 259


class DenseRotation:
    """The rotation of one segment by a Haar-random matrix, rounded to int16.

    Parameters
    ----------
    dim : int
        Coordinates of the segment, 1 to 4,096.
    seed, segment : int
        As for :class:`Rotation`.

    Examples
    --------
    >>> r = DenseRotation(50, seed=7)
    >>> x = np.eye(50, dtype=np.float32)
    >>> bool(np.allclose(r.apply(x) @ r.apply(x).T, x, atol=1e-3))
    True
    """

    def __init__(self, dim: int, seed: int = 0, segment: int = 0) -> None:
        assert dim <= DENSE_MAX_DIM
        matrix, step = _matrix(dim, seed, segment), np.float32(1) / UNIT
        self.forward = Dense(matrix, step)
        # Columns are unit vectors, too, so their norms in fixed point are at most 32,000 + ½·√4,096.
        self.backward = Dense(matrix.T, step)

    def apply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rotate rows: (n, dim) float32 to (n, dim) float32. Norms are kept up to the rounding to int16."""
        return self.forward.apply(x, norm(x))

    def apply_inverse(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """Undo :meth:`apply` up to rounding: the transposed matrix, rows in fixed point likewise."""
        return self.backward.apply(y, norm(y))


@lru_cache(4)
def _matrix(dim: int, seed: int, segment: int) -> NDArray[np.int16]:
    return fixed_matrix(haar(dim, derive(seed, _ROTATION, segment)))


def rotation_of(kind: str, dim: int, seed: int, segment: int) -> Rotation | DenseRotation:
    """Return the rotation of a kind in ``ROTATIONS``."""
    return (DenseRotation if kind == "dense" else Rotation)(dim, seed, segment)
