"""From axes and an allocation to the parts of a codec, in the numbers that are stored."""

from __future__ import annotations

from itertools import pairwise
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from ..reference.dense import REACH
from .allocation import Allocation, budget
from .prefixes import allocate_with_prefixes
from .spectrum import Floats, Spectrum

#: Deviations of a description are at least this; an axis of less is as good as constant.
_LEAST_SIGMA = 2.0**-39


class Parts(TypedDict, total=False):
    """Arguments of ``TurboQuant._from_parts`` and of ``reference.FittedTurboQuant``."""

    center: NDArray[np.float32] | None
    transform: NDArray[np.int16]
    sigmas: NDArray[np.float32]
    segments: list[tuple[int, int]]
    order: list[int]
    dual: NDArray[np.int16]
    row_gains: NDArray[np.float32]
    query_gains: NDArray[np.float32]


def parts_of(spectrum: Spectrum, bits: float, center: NDArray[np.float32] | None) -> Parts:
    """Allocate ``bits`` a coordinate on average over the axes and return the codec's parts."""
    dim = len(spectrum.costs)
    allocation, order = allocate_with_prefixes(spectrum.costs, budget(dim, bits))
    axes = allocation.axes
    sigmas = _deviations(allocation, spectrum.variance)
    segments = list(allocation.segments)
    parts = Parts(
        center=None if center is None or not center.any() else center,
        transform=_whole(spectrum.rows[:axes]),
        sigmas=sigmas.astype(np.float32),
        segments=segments,
        order=order,
    )
    if spectrum.queries is not None:
        along = np.repeat(sigmas, [m for m, _ in segments])
        lengths = np.linalg.norm(spectrum.rows[:axes], axis=1)
        back = spectrum.queries[:axes]
        reach = np.linalg.norm(back, axis=1)
        unit = back / reach[:, None]
        # Columns keep the rows' bound, so that products with the transpose, in decoding, fit the same integers.
        widest = max(1.0, float(np.linalg.norm(unit, axis=0).max()))
        parts["dual"] = _whole(unit / widest)
        parts["row_gains"] = (lengths / along).astype(np.float32)
        parts["query_gains"] = (reach * widest * along).astype(np.float32)
        parts["transform"] = _whole(spectrum.rows[:axes] / lengths[:, None])
    return parts


def _deviations(allocation: Allocation, variance: Floats) -> Floats:
    """Root mean square of the coordinates of each segment."""
    edges = np.cumsum([0, *(axes for axes, _ in allocation.segments)])
    means = [float(variance[a:b].mean()) for a, b in pairwise(edges)]
    return np.sqrt(np.maximum(means, _LEAST_SIGMA**2))


def _whole(rows: Floats) -> NDArray[np.int16]:
    """Rows of norm up to 1 in fixed point, ties to even."""
    return np.rint(np.float64(REACH) * rows).astype(np.int16)
