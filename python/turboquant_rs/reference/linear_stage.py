"""The first stage of a fitted code: its first units as a linear function of their bits (docs/numerics.md section 12).

A unit's bits are worth ± a constant each, so that a query's estimate is a sum over bits like that of a sign plane. The
residual of a row is spread unevenly over the segments; one number a row and one a query stand for its length.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .codebook import levels, masses
from .codes import Codes
from .fitted_codec import GAUSSIAN_DIM, PLAIN_ERRORS, FittedTurboQuant
from .sums import tree_sum

#: The stage ends where what it leaves of the variance of scores is at most this share.
NOISE = 1 / 32
#: Integer levels of a row's bounds in one unit of a coordinate, and units of a bound in 1.
FINE, BOUND = 4096, 8192
#: Largest number that the two bytes of a bound hold.
LARGEST = 65_535
#: Least expected residual of a coordinate, far below any.
LEAST = 2.0**-40


class LinearStage(NamedTuple):
    """The first stage of a codec."""

    units: int
    """How many units it has."""
    keep: tuple[int, ...]
    """Bits of every segment in it."""
    size: int
    """Its bytes of a row."""
    values: list[NDArray[np.float32]]
    """For each segment, what its kept bits are worth, most significant first."""
    residuals: list[float]
    """For each segment, what is expected of the squared residual of a coordinate."""
    shares: list[float]
    """For each segment, how a squared residual counts: the squared deviation of queries like rows."""
    total: float
    """Σ shares · coordinates · residuals."""
    rounding: float
    """What the rounding of entries adds to the squared residual, in squared units of an entry."""


@cache
def bit_values(bits: int, keep: int) -> NDArray[np.float32]:
    """Return what the top ``keep`` bits of a ``bits``-bit code are worth, (keep,) float32: the linear part of levels.

    >>> bit_values(4, 1), bit_values(4, 2)
    (array([0.7978846], dtype=float32), array([1.0510019, 0.5542152], dtype=float32))
    """
    result = []
    for i in range(keep):
        total = 0.0
        for j, level in enumerate(levels(bits, keep, GAUSSIAN_DIM)):
            total += float(level) if j >> (keep - 1 - i) & 1 else -float(level)
        result.append(total / (1 << keep))
    return np.array(result, np.float32)


def sums_of(values: NDArray[np.float32], bits: int) -> list[float]:
    """Return for every ``bits``-bit code the sum of ± ``values``, + where the bit is 1."""
    result = []
    for code in range(1 << bits):
        total = 0.0
        for i, value in enumerate(values):
            total += float(value) if code >> (bits - 1 - i) & 1 else -float(value)
        result.append(total)
    return result


def linear_stage(q: FittedTurboQuant) -> LinearStage | None:
    """Return the first stage of a fitted codec, none if it has a single unit."""
    segments, order = q.spec.segments, q.fitted.order
    weights = [float(weight) for weight in q.weights]
    shares = [weight * weight for weight in weights]
    errors = [1.0, *(float(error) for error in PLAIN_ERRORS)]
    keep, units = [0] * len(segments), 0
    whole = 0.0
    for share, segment in zip(shares, segments, strict=True):
        whole += share * segment.dim
    for index in order[:-1]:
        keep[index] += 1
        units += 1
        noise = 0.0
        for share, segment, kept in zip(shares, segments, keep, strict=True):
            noise += (share * segment.dim) * errors[kept]
        if noise <= NOISE * whole:
            break
    if units == 0:
        return None
    values = [bit_values(segment.bits, kept) for segment, kept in zip(segments, keep, strict=True)]
    # Of the code, of code times stage, of the stage: what their products are in the mean.
    expected = []
    for segment, value in zip(segments, values, strict=True):
        squares, products, others = 0.0, 0.0, 0.0
        level = levels(segment.bits, segment.bits, GAUSSIAN_DIM)
        cells = zip(masses(segment.bits, segment.bits, GAUSSIAN_DIM), level, sums_of(value, segment.bits), strict=True)
        for mass, c, t in cells:
            squares += mass * (float(c) * float(c))
            products += mass * (float(c) * t)
            others += mass * (t * t)
        expected.append((squares, products, others))
    top, bottom = 0.0, 0.0
    for weight, segment, (squares, products, _) in zip(weights, segments, expected, strict=True):
        top += (weight * segment.dim) * squares
        bottom += (weight * segment.dim) * products
    ratio = top / bottom
    residuals = [max((a - (2 * ratio) * b) + (ratio * ratio) * c, LEAST) for a, b, c in expected]
    total = 0.0
    for share, segment, residual in zip(shares, segments, residuals, strict=True):
        total += (share * segment.dim) * residual
    size = q.spec.row_bytes(tuple(keep))
    # Errors of 2·size entries, uniform in ±½, times the expected ratio.
    rounding = (ratio * ratio) * ((2 * size) / 12)
    return LinearStage(units, tuple(keep), size, values, residuals, shares, total, rounding)


def linear_deviation(
    stage: LinearStage, parts: list[NDArray[np.float32]], entry: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return one standard deviation of the error of a row of spread 1, (nq,), for rotated queries in parts of
    segments; ``entry`` is what a unit of an entry is worth.

    Values are divided by the largest magnitude, so that no square is subnormal in a sum that it could change.
    """
    largest = np.max([np.abs(part).max(axis=1) for part in parts], axis=0).astype(np.float32, copy=False)
    safe = np.where(largest == 0, np.float32(1), largest).astype(np.float32, copy=False)
    relative = entry / safe
    squares: NDArray[np.float32] = (np.float32(stage.rounding) * (relative * relative)).astype(np.float32, copy=False)
    for residual, part in zip(stage.residuals, parts, strict=True):
        unit = (part / safe[:, None]).astype(np.float32, copy=False)
        length = np.sqrt(tree_sum(unit * unit)).astype(np.float32, copy=False)
        squares = (squares + np.float32(residual) * (length * length)).astype(np.float32, copy=False)
    result: NDArray[np.float32] = largest * np.sqrt(squares)
    return result


def linear_bounds(q: FittedTurboQuant, stage: LinearStage, codes: Codes) -> NDArray[np.uint16]:
    """Return (n, 2) uint16 of encoded rows: the ratio of the estimate and the spread of its error, as integers.

    The ratio makes the residual orthogonal to the code along the axes; the spread is the residual's length relative to
    the expected one, segments counted as queries like rows see them.
    """
    n = len(codes)
    code_squares, products, stage_squares = [], [], []
    for segment, value, part in zip(q.spec.segments, stage.values, q.unpack(codes), strict=True):
        level = np.rint(levels(segment.bits, segment.bits, GAUSSIAN_DIM).astype(np.float64) * FINE).astype(np.int64)
        worth = [float(np.rint(float(v) * FINE)) for v in value]
        linear = np.array(sums_of(np.array(worth, np.float32), segment.bits), np.int64)
        # Sums below 2^53: float64 holds them.
        code_squares.append((level * level)[part].sum(axis=1).astype(np.float64))
        products.append((level * linear)[part].sum(axis=1).astype(np.float64))
        stage_squares.append((linear * linear)[part].sum(axis=1).astype(np.float64))
    top, bottom = np.zeros(n), np.zeros(n)
    for weight, square, product in zip(q.weights, code_squares, products, strict=True):
        top = top + float(weight) * square
        bottom = bottom + float(weight) * product
    ratio = np.rint(BOUND * top / np.where(bottom <= 0, 1.0, bottom))
    ratio = np.where(bottom <= 0, 0.0, np.minimum(ratio, LARGEST))
    t = ratio / BOUND
    residual = np.zeros(n)
    for share, square, product, other in zip(stage.shares, code_squares, products, stage_squares, strict=True):
        residual = residual + share * ((square - (2 * t) * product) + (t * t) * other)
    relative = np.maximum(residual, 0.0) / (stage.total * (FINE * FINE))
    spread = np.minimum(np.ceil(BOUND * np.sqrt(relative)), LARGEST)
    return np.stack([ratio, spread], axis=1).astype(np.uint16)
