"""The projections of a sketch: Gaussian, orthogonal, structured (docs/numerics-papers.md section 3).

A projection takes rows of ``dim`` coordinates to ``size`` inner products with random directions. What the signs of
these products are worth depends on how the directions were drawn: see ``sign_constant``.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .dense import REACH, fixed_matrix, fixed_point, products
from .haar import haar
from .normals import normals
from .rng import derive
from .rotation import Rotation
from .sums import tree_sum

PROJECTIONS = ("gaussian", "orthogonal", "hadamard")
#: Dense projections hold a matrix: 2·dim·size bytes.
DENSE_MAX_DIM, DENSE_MAX_SIZE = 4_096, 16_384
UNIT = np.float32(REACH)
#: First words of the streams' names; a codec's own rotations have its segments, 0 to 254, or 259 if dense.
_GAUSSIAN, _ORTHOGONAL, HADAMARD = 256, 257, 258


class Projection(Protocol):
    """Random directions."""

    def apply(self, row: NDArray[np.float32], norm: NDArray[np.float32]) -> NDArray[np.float32]:
        """Project rows (n, dim) float32 of norms (n,), whose squares are normal numbers, to (n, size) float32."""

    def transposed(self, signs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return Σ_j signs_j·direction_j, (n, dim) float32, for rows of ±1 (n, size)."""


def projection(kind: str, dim: int, size: int, seed: int) -> Projection:
    """Return the projection of a kind in ``PROJECTIONS``: ``size`` directions in ``dim`` dimensions."""
    if kind == "hadamard":
        return Structured(dim, size, seed)
    return Dense(*(_gaussian if kind == "gaussian" else _orthogonal)(dim, size, seed))


def sign_constant(kind: str, dim: int, size: int) -> np.float32:
    """Return what an inner product of a projected query with signs is multiplied with, beside the row's norm.

    With k of norm 1 and a direction s, E[sign(⟨s, k⟩)·⟨s, q⟩] = E|⟨s, k⟩|·⟨k, q⟩, since the part of q orthogonal to k
    averages to 0. So the constant is 1/(size·E|⟨s, k⟩|): √(π/2)/size for standard normal directions (QJL, arXiv
    2406.03482, equation 4), and for directions of length 1 it has c_d = E|u₁| of a random unit vector, with c₁ = 1, c₂
    = 2/π, c_{d+2} = c_d·d/(d + 1). The limit √(2/(πd)) of c_d would leave a bias of 1/(4d).

    >>> [round(float(sign_constant(kind, 128, 128)), 6) for kind in ("gaussian", "orthogonal")]
    [0.009792, 0.110562]
    """
    if kind == "gaussian":
        return np.float32(math.sqrt(math.pi / 2) / size)
    mean = 1.0 if dim % 2 else 2 / math.pi
    for d in range(2 - dim % 2, dim, 2):
        mean = mean * d / (d + 1)
    return np.float32(1.0 / (size * mean))


class _Matrix(NamedTuple):
    values: NDArray[np.int16]
    """(size, dim), rows of L2 norm at most 32,000, rounding aside."""
    step: np.float32
    """What 1 stands for."""


@lru_cache(4)
def _gaussian(dim: int, size: int, seed: int) -> _Matrix:
    """Standard normal entries, all rounded with one step: the longest row gets the norm 32,000."""
    g = normals(derive(seed, _GAUSSIAN), size * dim).reshape(size, dim)
    longest = np.sqrt(tree_sum(g * g)).max()
    return _Matrix(np.rint(g * (UNIT / longest)).astype(np.int16), longest / UNIT)


@lru_cache(4)
def _orthogonal(dim: int, size: int, seed: int) -> _Matrix:
    """Rows of independent Haar matrices, one after another: orthonormal within each run of ``dim``."""
    blocks = [haar(dim, derive(seed, _ORTHOGONAL, b)) for b in range(-(-size // dim))]
    return _Matrix(fixed_matrix(np.concatenate(blocks)[:size]), np.float32(1) / UNIT)


class Dense:
    """A matrix in fixed point, multiplied exactly: any order of the sums gives the same integers."""

    def __init__(self, values: NDArray[np.int16], step: np.float32) -> None:
        self.values = values
        self.step = step

    def apply(self, row: NDArray[np.float32], norm: NDArray[np.float32]) -> NDArray[np.float32]:
        exact = products(fixed_point(row, norm), self.values)
        unit = (norm / UNIT) * self.step
        return exact.astype(np.float32) * unit[:, None]

    def transposed(self, signs: NDArray[np.float32]) -> NDArray[np.float32]:
        # Each value is at most 32,032 and there are at most 16,384: below 2^29, exact in any order.
        exact = signs.astype(np.float64) @ self.values.astype(np.float64)
        return exact.astype(np.float32) * self.step


class Structured:
    """The first ``size`` coordinates of structured rotations, one rotation for each run of ``dim`` of them."""

    def __init__(self, dim: int, size: int, seed: int) -> None:
        self.dim = dim
        self.size = size
        key = derive(seed, HADAMARD)
        self.rotations = [Rotation(dim, key, b) for b in range(-(-size // dim))]

    def apply(self, row: NDArray[np.float32], norm: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = [rotation.apply(row) for rotation in self.rotations]
        return np.concatenate(parts, axis=1)[:, : self.size]

    def transposed(self, signs: NDArray[np.float32]) -> NDArray[np.float32]:
        total = np.zeros((len(signs), self.dim), np.float32)
        for b, rotation in enumerate(self.rotations):
            part = signs[:, b * self.dim : (b + 1) * self.dim]
            padded = np.zeros_like(total)
            padded[:, : part.shape[1]] = part
            total = total + rotation.apply_inverse(padded)
        return total
