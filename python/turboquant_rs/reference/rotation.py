"""The random rotation: rounds of signs and Walsh–Hadamard, any dimension (docs/numerics.md section 4).

One rotation serves all vectors; randomness is only in its seed (TurboQuant, arXiv 2504.19874, Algorithm 1 line 2
draws a dense Haar matrix; three or four structured rounds act like it on every input that was tried, one-hot rows
included, in O(m log m)). Where m is no power of two, two overlapping blocks cover the segment and a permutation
between rounds carries energy across, so nothing is padded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .rng import derive, permutation, signs

#: A short power of two has one block a round, and sparse rows stay on a coarse lattice after three.
FOUR_ROUNDS_UP_TO = 512
_SQRT_HALF = np.float32(0.70710678118654752440)


@dataclass(frozen=True)
class Block:
    """Multiply p coordinates from ``offset`` by ``factors`` (±p^−½), then Walsh–Hadamard them."""

    offset: int
    factors: NDArray[np.float32]


@dataclass(frozen=True)
class Shuffle:
    """y[i] = x[source[i]]."""

    source: NDArray[np.int64]


class Rotation:
    """The rotation of one segment of ``dim`` coordinates.

    Parameters
    ----------
    dim : int
        Coordinates of the segment, 1 to 65,536.
    seed : int
        The codec's seed.
    segment : int
        Index of the segment in its codec; segments rotate independently.

    Examples
    --------
    >>> r = Rotation(100, seed=7)
    >>> x = np.eye(100, dtype=np.float32)
    >>> bool(np.allclose(r.apply(x) @ r.apply(x).T, x, atol=1e-6))
    True
    """

    def __init__(self, dim: int, seed: int = 0, segment: int = 0) -> None:
        log = dim.bit_length() - 1
        p = 1 << log
        scale = np.ldexp(_SQRT_HALF if log % 2 else np.float32(1), -(log // 2)).astype(np.float32)
        rounds = 4 if p == dim <= FOUR_ROUNDS_UP_TO else 3
        self.dim = dim
        self.steps: list[Block | Shuffle] = []
        for r in range(rounds):
            self.steps.append(Block(0, signs(derive(seed, segment, 3 * r), p) * scale))
            if p != dim:
                self.steps.append(Block(dim - p, signs(derive(seed, segment, 3 * r + 1), p) * scale))
                if r + 1 < rounds:
                    self.steps.append(Shuffle(permutation(derive(seed, segment, 3 * r + 2), dim)))

    def apply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rotate rows: (n, dim) float32 to (n, dim) float32. Norms are kept up to rounding."""
        y = x.copy()
        for step in self.steps:
            if isinstance(step, Shuffle):
                y = y[:, step.source]
            else:
                part = slice(step.offset, step.offset + step.factors.size)
                y[:, part] = hadamard(y[:, part] * step.factors)
        return y

    def apply_inverse(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """Undo :meth:`apply` up to rounding: the steps backwards, each block's stages before its factors."""
        x = y.copy()
        for step in reversed(self.steps):
            if isinstance(step, Shuffle):
                back = np.empty_like(x)
                back[:, step.source] = x
                x = back
            else:
                part = slice(step.offset, step.offset + step.factors.size)
                x[:, part] = hadamard(x[:, part]) * step.factors
        return x


def hadamard(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply Walsh–Hadamard stages by ascending stride to rows (n, p) float32, p a power of two; unnormalised.

    >>> hadamard(np.array([[1, 2, 3, 4]], np.float32))
    array([[10., -2., -4.,  0.]], dtype=float32)
    """
    n, p = x.shape
    stride = 1
    while stride < p:
        pairs = x.reshape(n, p // (2 * stride), 2, stride)
        low, high = pairs[:, :, 0], pairs[:, :, 1]
        x = np.stack((low + high, low - high), axis=2).reshape(n, p)
        stride *= 2
    return x
