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
    #: ``dual``, ``row_gains`` and ``query_gains``, or nothing.
    dual: dict[str, Any] = {}  # noqa: RUF012 - nothing changes it


def random_parts(
    dim: int, seed: int, *, axes: int | None = None, center: bool = False, dual: bool = False, widest: int = 8
) -> Parts:
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
    segments = list(zip(lengths, widths, strict=True))
    if not dual:
        return Parts(mean, fixed_matrix(basis), sigmas, segments, order.tolist())
    # Rows of a transform that come from any square root, columns longer than one among them, and its dual.
    skewed = basis @ np.diag(rng.uniform(0.5, 2, dim))
    skewed /= np.linalg.norm(skewed, axis=1, keepdims=True)
    other = np.linalg.pinv(skewed).T
    other /= max(np.linalg.norm(other, axis=across).max() for across in (0, 1)) * 1.001
    gains = {
        "dual": fixed_matrix(other),
        "row_gains": (rng.uniform(0.5, 2, axes) / np.repeat(sigmas, lengths)).astype(np.float32),
        "query_gains": (rng.uniform(0.5, 2, axes) * np.repeat(sigmas, lengths)).astype(np.float32),
    }
    return Parts(mean, fixed_matrix(skewed), sigmas, segments, order.tolist(), gains)


def mixed_rows_of(parts: Parts, n: int, seed: int = 0) -> NDArray[np.float32]:
    """Return rows of which every other one lies along the axes, as a fit expects; the rest are isotropic."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, parts.transform.shape[1]))
    sigmas = np.repeat(parts.sigmas, [dim for dim, _ in parts.segments])
    x[::2] = (rng.standard_normal((len(x[::2]), len(sigmas))) * sigmas) @ (parts.transform / 32_000)
    if parts.center is not None:
        x[::2] += parts.center
    return x.astype(np.float32)


def fitted_codec(parts: Parts, **options: Any) -> TurboQuant:
    """Return the package's codec of a description."""
    *parts_of, dual = parts
    return TurboQuant._from_parts(*parts_of, **dual, **options)


def fitted_pair(parts: Parts, **options: Any) -> Pair:
    """Return both codecs of one description."""
    *parts_of, dual = parts
    return Pair(fitted_codec(parts, **options), FittedTurboQuant(*parts_of, **dual, **options))
