"""Upper ends of scores from the first stage of a code: what lets a scan leave most rows after one bit a coordinate.

A row is ranked by s' = min(S, U), U = estimate from the sign plane + so many standard deviations of its error, in one
fixed formula (docs/numerics.md section 12). U is never below s', so a scan that reads the plane alone may leave
every row whose U is below the k-th best s' so far, and loses none of the k best: for every k, order, batch and thread.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .codebook import integer_levels, masses
from .codes import Codes
from .fitted_codec import FittedTurboQuant
from .linear_stage import BOUND, LARGEST, LEAST, linear_bounds, linear_deviation, linear_stage
from .mse import TurboQuant
from .rows import norm, prepare, times_power
from .scan import prepare_queries
from .units import units_of

#: Standard deviations that a score may lie above the estimate from its first stage before it is cut, unless a search
#: is asked for others.
DEVIATIONS = 3.0
#: Entries of a query's tables lie in 0 … 2·CENTER; CENTER stands for 0. Two of them fit a byte.
CENTER = 63
#: Row bounds are stored in units of 1/512 of an integer level, of 1/4 where levels have two bytes.
FINE, COARSE = 512, 4


class StageQuery(NamedTuple):
    """Queries prepared for the first stage."""

    tables: NDArray[np.uint8]
    """(nq, bytes, 2, 16): for the low and the high four bits of each byte of a stage, the entry of every pattern."""
    factor: NDArray[np.float32]
    """(nq,): what one unit of an entry times one unit of a ratio is worth."""
    deviation: NDArray[np.float32]
    """(nq,): what one unit of a spread is worth, times the deviations."""


def has_first_stage(q: TurboQuant) -> bool:
    """Return whether a row's code has a first stage for ranking: a plain code of at least 2 bits, a fitted one of at
    least 2 units.

    >>> has_first_stage(TurboQuant(8, bits=1)), has_first_stage(TurboQuant(8, bits=2))
    (False, True)
    """
    if isinstance(q, FittedTurboQuant):
        return len(q.fitted.order) > 1
    return len(q.spec.segments) == 1 and q.spec.segments[0].bits > 1


def stage_bytes(q: TurboQuant) -> int:
    """Return how many of a row's bytes its first stage takes."""
    if isinstance(q, FittedTurboQuant):
        stage = linear_stage(q)
        assert stage is not None, "more than one unit"
        return stage.size
    assert units_of(q.spec.segments[0].bits, q.spec.segments[0].bits)[0] == 1, "the first unit is the sign plane"
    return -(-q.spec.segments[0].dim // 8)


def row_bounds(q: TurboQuant, codes: Codes) -> NDArray[np.uint16]:
    """Return (n, 2) uint16 of encoded rows: the ratio τ of the estimate and the spread ρ of its error, per coordinate.

    With integer levels l and their signs s, τ = ⟨l, l⟩/⟨l, s⟩ makes the residual l − τ·s orthogonal to l, so that what
    a query shares with the row is estimated without error, and ρ = |l − τ·s|/√m is what chance adds for the rest.
    """
    if isinstance(q, FittedTurboQuant):
        stage = linear_stage(q)
        assert stage is not None, "more than one unit"
        return linear_bounds(q, stage, codes)
    segment = q.spec.segments[0]
    values, unit = np.abs(integer_levels(segment.bits, segment.bits, segment.dim)[0].astype(np.int64)), bound_unit(q)
    magnitudes = values[q.unpack(codes)[0]]
    squares, first = (magnitudes * magnitudes).sum(axis=1), magnitudes.sum(axis=1)
    # Whole numbers below 2^53, so float64 holds them; one rounded operation after another.
    ratio = np.minimum(np.rint((squares * unit).astype(np.float64) / first), LARGEST).astype(np.int64)
    residual = squares * unit**2 - 2 * ratio * unit * first + ratio**2 * segment.dim
    spread = np.minimum(np.ceil(np.sqrt(residual.astype(np.float64) / np.float64(segment.dim))), LARGEST)
    return np.stack([ratio, spread.astype(np.int64)], axis=1).astype(np.uint16)


def bound_unit(q: TurboQuant) -> int:
    """Return how many units of a row's bounds make one integer level."""
    return bound_unit_of(q.spec.segments[0].bits)


def bound_unit_of(bits: int) -> int:
    """Return :func:`bound_unit` of plain codes of so many bits."""
    return FINE if bits <= 4 else COARSE


def bit_worths(q: TurboQuant, parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return what every bit of the stage is worth to rotated queries, (nq, 8·bytes)."""
    worths = np.zeros((len(parts[0]), 8 * stage_bytes(q)), np.float32)
    if not isinstance(q, FittedTurboQuant):
        worths[:, : parts[0].shape[1]] = parts[0]
        return worths
    stage = linear_stage(q)
    assert stage is not None, "more than one unit"
    at, taken = 0, [0] * len(parts)
    for i in q.fitted.order[: stage.units]:
        m = parts[i].shape[1]
        worths[:, at : at + m] = parts[i] * stage.values[i][taken[i]]
        taken[i] += 1
        at += -(-m // 8) * 8
    return worths


def prepare_stage(
    q: TurboQuant, queries: NDArray[np.float32], *, cosine: bool, deviations: float = DEVIATIONS
) -> StageQuery:
    """Rotate queries (nq, dim) float32 and tabulate what every pattern of four bits is worth."""
    row, exponent = prepare(queries)
    total = norm(row)
    parts, _ = q.query_parts(row, total)
    groups = bit_worths(q, parts).reshape(len(row), -1, 2, 4)
    signs = np.where(np.arange(16)[:, None] >> np.arange(4) & 1, np.float32(1), np.float32(-1))
    terms = groups[:, :, :, None, :] * signs
    sums = (terms[..., 0] + terms[..., 1]) + (terms[..., 2] + terms[..., 3])
    top = sums.max(axis=(1, 2, 3))
    inverse = np.float32(CENTER) / np.where(top == 0, np.float32(1), top)
    entries = np.rint(sums * inverse[:, None, None, None]).clip(-CENTER, CENTER) + np.float32(CENTER)
    entry = top / np.float32(CENTER)
    if isinstance(q, FittedTurboQuant):
        stage = linear_stage(q)
        assert stage is not None, "more than one unit"
        reach, unit = linear_deviation(stage, parts, entry), np.float32(1 / BOUND)
    else:
        segment = q.spec.segments[0]
        alpha = integer_levels(segment.bits, segment.bits, segment.dim)[1]
        reach, unit = sign_deviation(q, total, entry), alpha / np.float32(bound_unit(q))
    factor, deviation = entry * unit, (np.float32(deviations) * reach) * unit
    if cosine:
        divisor = np.where(total == 0, np.float32(1), total)
        factor, deviation = factor / divisor, deviation / divisor
    else:
        factor, deviation = times_power(factor, exponent), times_power(deviation, exponent)
    return StageQuery(entries.astype(np.uint8), factor, deviation.astype(np.float32, copy=False))


@cache
def sign_rounding(bits: int, dim: int) -> np.float32:
    """Return what the rounding of a sign plane's entries adds to the square of the residual, relative to that: to be
    multiplied by the squared worth of a unit of an entry over the query's squared norm.

    Errors of as many entries as the stage has are uniform in ±½.

    >>> round(float(sign_rounding(4, 384)), 2)
    22.49
    """
    squares, first = 0.0, 0.0
    for level, mass in zip(integer_levels(bits, bits, dim)[0], masses(bits, bits, dim), strict=True):
        magnitude = abs(float(level))
        squares += mass * (magnitude * magnitude)
        first += mass * magnitude
    ratio = squares / first
    residual = max(ratio * ratio - squares, LEAST)
    entries = 2 * -(-dim // 8)
    return np.float32(((ratio * ratio) * (entries / 12)) / residual)


def sign_deviation(q: TurboQuant, total: NDArray[np.float32], entry: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return one standard deviation of the error of a row of spread 1, (nq,), for queries of norms ``total``; ``entry``
    is what a unit of an entry is worth.
    """
    segment = q.spec.segments[0]
    relative = entry / np.where(total == 0, np.float32(1), total)
    squares = np.float32(1) + sign_rounding(segment.bits, segment.dim) * (relative * relative)
    return (total * np.sqrt(squares)).astype(np.float32, copy=False)


def upper(
    q: TurboQuant,
    queries: NDArray[np.float32],
    codes: Codes,
    bounds: NDArray[np.uint16],
    *,
    cosine: bool = False,
    deviations: float = DEVIATIONS,
) -> NDArray[np.float32]:
    """Return U, (nq, n) float32: the upper ends of the scores of rows with :func:`row_bounds` ``bounds``."""
    stage = prepare_stage(q, queries, cosine=cosine, deviations=deviations)
    base = prepare_queries(q, queries, codes.keep, cosine=cosine)[1]
    size = stage_bytes(q)
    plane = codes.packed[:, :size]
    patterns = np.stack([plane & 15, plane >> 4], axis=2)
    ratio, spread = bounds[:, 0].astype(np.float32), bounds[:, 1].astype(np.float32)
    result = np.empty((len(queries), len(codes)), np.float32)
    for i, tables in enumerate(stage.tables):
        entries = tables[np.arange(size)[:, None], np.arange(2), patterns]
        exact = entries.sum(axis=(1, 2), dtype=np.int64) - 2 * size * CENTER
        estimate = (stage.factor[i] * exact.astype(np.float32)) * ratio
        with np.errstate(over="ignore"):
            end = (estimate + stage.deviation[i] * spread) * codes.scales[:, 0]
            result[i] = end + (np.float32(0) if base is None else base[i])
    return result


def clamp(scores: NDArray[np.float32], upper_ends: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return s' = min(S, U); S where they are equal."""
    return np.where(upper_ends < scores, upper_ends, scores)
