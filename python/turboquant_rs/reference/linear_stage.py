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
from .fitted_codec import GAUSSIAN_DIM, FittedTurboQuant
from .sums import tree_sum

#: The k-th best of many scores is about ``NEAR`` of their deviations above the mean (ten of 100,000). The stage is the
#: shortest for which a row survives only if the sum over its bits, raised by ``RAISED`` deviations of its error,
#: reaches ``RARE``.
NEAR, RARE, RAISED = 3.75, 2.7, 3.0
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
    """Return what the top ``keep`` bits of a ``bits``-bit code are worth, (keep,) float32: the sum of ± them that is
    nearest to the levels, cells weighted by their masses.

    >>> bit_values(4, 1), bit_values(4, 2)
    (array([0.7978846], dtype=float32), array([1.0510019, 0.5542152], dtype=float32))
    """
    a, r = [[0.0] * keep for _ in range(keep)], [0.0] * keep
    cells = zip(levels(bits, bits, GAUSSIAN_DIM), masses(bits, bits, GAUSSIAN_DIM), strict=True)
    for code, (level, mass) in enumerate(cells):
        signs = [1.0 if code >> (bits - 1 - i) & 1 else -1.0 for i in range(keep)]
        for i in range(keep):
            for j in range(keep):
                a[i][j] += mass * (signs[i] * signs[j])
            r[i] += mass * (signs[i] * float(level))
    # Gaussian elimination; a positive definite matrix needs no pivots.
    for i in range(keep):
        for row in range(i + 1, keep):
            factor = a[row][i] / a[i][i]
            for j in range(i + 1, keep):
                a[row][j] -= factor * a[i][j]
            r[row] -= factor * r[i]
    for i in reversed(range(keep)):
        for j in range(i + 1, keep):
            r[i] -= a[i][j] * r[j]
        r[i] /= a[i][i]
    return np.array(r, np.float32)


def sums_of(values: NDArray[np.float32], bits: int) -> list[float]:
    """Return for every ``bits``-bit code the sum of ± ``values``, + where the bit is 1."""
    result = []
    for code in range(1 << bits):
        total = 0.0
        for i, value in enumerate(values):
            total += float(value) if code >> (bits - 1 - i) & 1 else -float(value)
        result.append(total)
    return result


@cache
def expectations(bits: int, keep: int) -> tuple[float, float, float]:
    """Return the means of a coordinate's squared level, of its product with the stage's value, and of that squared."""
    squares, products, others = 0.0, 0.0, 0.0
    level = levels(bits, bits, GAUSSIAN_DIM)
    cells = zip(masses(bits, bits, GAUSSIAN_DIM), level, sums_of(bit_values(bits, keep), bits), strict=True)
    for mass, c, t in cells:
        squares += mass * (float(c) * float(c))
        products += mass * (float(c) * t)
        others += mass * (t * t)
    return squares, products, others


class Expected(NamedTuple):
    """What a stage is expected to leave."""

    ratio: float
    residuals: list[float]
    total: float
    squares: float
    """Σ shares · coordinates · squared levels."""


def expected_of(q: FittedTurboQuant, keep: list[int]) -> Expected:
    """Return what a stage of so many bits of each segment is expected to leave."""
    means = [expectations(segment.bits, kept) for segment, kept in zip(q.spec.segments, keep, strict=True)]
    weights = [(float(weight), segment.dim) for weight, segment in zip(q.weights, q.spec.segments, strict=True)]
    top, bottom, squares, products = 0.0, 0.0, 0.0, 0.0
    for (weight, dim), (a, b, _) in zip(weights, means, strict=True):
        top += (weight * dim) * a
        bottom += (weight * dim) * b
        squares += ((weight * weight) * dim) * a
        products += ((weight * weight) * dim) * b
    ratio = top / bottom
    part = (ratio * products) / squares
    residuals = [max(((part * part) * a - ((2 * part) * ratio) * b) + (ratio * ratio) * c, LEAST) for a, b, c in means]
    total = 0.0
    for (weight, dim), residual in zip(weights, residuals, strict=True):
        total += ((weight * weight) * dim) * residual
    return Expected(ratio, residuals, total, squares)


def linear_stage(q: FittedTurboQuant) -> LinearStage | None:
    """Return the first stage of a fitted codec, none if it has a single unit."""
    segments, order = q.spec.segments, q.fitted.order
    if len(order) == 1:
        return None
    keep, units = [0] * len(segments), 0
    for index in order[:-1]:
        keep[index] += 1
        units += 1
        ratio, residuals, total, squares = expected_of(q, keep)
        if NEAR / ratio - RAISED * float(np.sqrt(total / squares)) >= RARE:
            break
    values = [bit_values(segment.bits, kept) for segment, kept in zip(segments, keep, strict=True)]
    shares = [float(weight) * float(weight) for weight in q.weights]
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
    squares, shared, others = np.zeros(n), np.zeros(n), np.zeros(n)
    for share, square, product, other in zip(stage.shares, code_squares, products, stage_squares, strict=True):
        squares = squares + share * square
        shared = shared + share * product
        others = others + share * other
    # No level is 0, and so is no sum of squares. A ratio that had to be held within its bytes leaves a shared part.
    part = np.where((ratio > 0) & (ratio < LARGEST), (t * shared) / squares, 1.0)
    residual = ((part * part) * squares - ((2 * part) * t) * shared) + (t * t) * others
    relative = np.maximum(residual, 0.0) / (stage.total * (FINE * FINE))
    spread = np.minimum(np.ceil(BOUND * np.sqrt(relative)), LARGEST)
    return np.stack([ratio, spread], axis=1).astype(np.uint16)
