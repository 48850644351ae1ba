"""RaBitQ, Extended RaBitQ, DRIVE and EDEN in plain NumPy, to compare with: float64, nothing packed, no claim to speed.

All three rotate, choose a code, and scale it afterwards. They differ in the code (a grid of equal steps, or Lloyd–Max
levels) and in how the scale that is tried before rounding is found. Credit: DRIVE (Vargaftik et al., arXiv 2105.08339),
EDEN (arXiv 2108.08842), RaBitQ (Gao and Long, arXiv 2405.12497), Extended RaBitQ (arXiv 2409.09913).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..reference.lloyd_max import solve
from ..reference.rotation import Rotation

Floats = NDArray[np.float64]
Rescale: TypeAlias = Literal["unbiased", "mse"]

__all__ = ["eden", "rabitq", "rotated", "uniform_levels"]


def rotated(x: NDArray[np.floating], seed: int = 0) -> Floats:
    """Return rows (n, dim) under the library's rotation, so that comparisons share it, in float64."""
    values: Floats = Rotation(x.shape[1], seed).apply(np.asarray(x, np.float32)).astype(np.float64)
    return values


def eden(y: Floats, bits: int, *, scale: Rescale = "unbiased", refine: bool = False) -> Floats:
    """Return EDEN's approximation of rotated rows (n, dim): Lloyd–Max levels, rescaled after rounding.

    One bit is DRIVE. ``scale="unbiased"`` is |y|²/⟨y, c⟩, ``"mse"`` ⟨y, c⟩/|c|². ``refine`` finds the best scale before
    rounding by an exact sweep, which neither paper has: what trial scales approach.

    >>> y = rotated(np.random.default_rng(0).standard_normal((500, 256)))
    >>> error = np.sum((eden(y, 2, scale="mse") - y) ** 2) / np.sum(y**2)
    >>> bool(abs(error - 0.1165) < 0.002)
    True
    """
    levels = solve(bits).levels
    unit = y * (np.sqrt(y.shape[1]) / np.linalg.norm(y, axis=1, keepdims=True))
    code = _swept(unit, levels) if refine else levels[np.searchsorted(0.5 * (levels[1:] + levels[:-1]), unit)]
    return _rescaled(y, code, scale)


def rabitq(y: Floats, bits: int, *, scale: Rescale = "unbiased") -> Floats:
    """Return (Extended) RaBitQ's approximation of rotated rows (n, dim): the grid point of largest cosine, rescaled.

    The grid is {−(2^bits − 1)/2 + u}^dim, u = 0 … 2^bits − 1, so the code points are directions on the sphere; the best
    one is the rounding of t·y for some t > 0, found by a sweep over all t at which a coordinate changes its cell. One
    bit is RaBitQ.

    >>> y = rotated(np.random.default_rng(0).standard_normal((200, 128)))
    >>> error = np.sum((rabitq(y, 3, scale="mse") - y) ** 2) / np.sum(y**2)
    >>> bool(abs(error - 0.0351) < 0.001)
    True
    """
    return _rescaled(y, _swept(y, uniform_levels(bits)), scale)


def uniform_levels(bits: int) -> Floats:
    """Return −(2^bits − 1)/2 … (2^bits − 1)/2 in steps of 1.

    >>> uniform_levels(2)
    array([-1.5, -0.5,  0.5,  1.5])
    """
    levels: Floats = np.arange(1 << bits, dtype=np.float64) - ((1 << bits) - 1) / 2
    return levels


def _rescaled(y: Floats, code: Floats, scale: Rescale) -> Floats:
    product = np.sum(y * code, axis=1, keepdims=True)
    factor = np.sum(y * y, axis=1, keepdims=True) / product
    if scale == "mse":
        factor = product / np.sum(code * code, axis=1, keepdims=True)
    scaled: Floats = factor * code
    return scaled


def _swept(y: Floats, levels: Floats) -> Floats:
    """Return, for each row, the code of largest cosine among the roundings of t·y over all t > 0.

    Symmetric levels, so magnitudes are swept: at t = β/|y_i| coordinate i passes boundary β to its next level. Sorting
    these events and summing what each changes gives ⟨y, c⟩ and |c|² after every one.
    """
    positive = levels[len(levels) // 2 :]
    steps = np.diff(positive)
    bounds = 0.5 * (positive[1:] + positive[:-1])
    out = np.empty_like(y)
    for row, result in zip(np.abs(y), out, strict=True):
        if len(steps) == 0:
            result[:] = positive[0]
            continue
        safe = np.maximum(row, 1e-300)
        order = np.argsort((bounds[:, None] / safe).ravel(), kind="stable")
        level, place = np.divmod(order, len(row))
        products = row.sum() * positive[0] + np.cumsum(row[place] * steps[level])
        squares = len(row) * positive[0] ** 2 + np.cumsum(positive[level + 1] ** 2 - positive[level] ** 2)
        first = row.sum() / np.sqrt(len(row))
        cosines = products / np.sqrt(squares)
        best = int(np.argmax(cosines))
        counts = np.zeros(len(row), np.int64)
        if cosines[best] > first:
            np.add.at(counts, place[: best + 1], 1)
        result[:] = positive[counts]
    return np.where(y < 0, -out, out)
