"""Descriptions of fitted codecs for tests: random ones, and the package's and the reference's codec of each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from strategies import Pair
from turboquant_rs import TurboQuant
from turboquant_rs.reference import FittedTurboQuant
from turboquant_rs.reference.dense import fixed_matrix


class Parts(NamedTuple):
    """What a fitted codec is made from, in the order of the constructors."""

    center: NDArray[np.float32] | None
    transform: NDArray[np.int16]
    sigmas: NDArray[np.float32]
    segments: list[tuple[int, int]]
    order: list[int]


def random_parts(dim: int, seed: int, *, axes: int | None = None, center: bool = False, widest: int = 8) -> Parts:
    """Return a description with orthonormal axes, segments of any length and width, and units in any order."""
    rng = np.random.default_rng(seed)
    axes = dim if axes is None else axes
    basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0][:axes]
    count = int(rng.integers(1, min(axes, 6) + 1))
    cuts = sorted(rng.choice(np.arange(1, axes), count - 1, replace=False).tolist()) if axes > 1 else []
    lengths = np.diff([0, *cuts, axes]).tolist()
    widths = sorted(rng.integers(1, widest + 1, len(lengths)).tolist(), reverse=True)
    order = np.repeat(np.arange(len(lengths)), widths)
    rng.shuffle(order)
    mean = None
    if center:
        # Some coordinates have no mean, and one is near the lower limit.
        mean = np.where(rng.random(dim) < 0.3, 0, rng.standard_normal(dim)).astype(np.float32)
        mean[int(rng.integers(dim))] = 2.0**-80
    sigmas = (rng.uniform(0.2, 2, len(lengths)) / np.sqrt(dim)).astype(np.float32)
    return Parts(mean, fixed_matrix(basis), sigmas, list(zip(lengths, widths, strict=True)), order.tolist())


def fitted_pair(parts: Parts, **options: Any) -> Pair:
    """Return both codecs of one description."""
    return Pair(TurboQuant._from_parts(*parts, **options), FittedTurboQuant(*parts, **options))
