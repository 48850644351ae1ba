"""Scores of queries against codes, in integers: the same on every machine (docs/numerics.md section 10)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .codebook import integer_levels, one_byte
from .codes import Codes
from .mse import TurboQuant
from .rows import norm, prepare, times_power

#: A query's norm must be below this, so that no product of a finite scale and a score is NaN.
QUERY_NORM_LIMIT = 2.0**96
#: Largest query integer of one byte, and of two (127·128 + 63).
ONE_BYTE, TWO_BYTES = 127, 16_319


class Query(NamedTuple):
    """Prepared queries of one group: segments that share a width."""

    segments: list[int]
    values: NDArray[np.int64]
    """(nq, m) integers, at most 127 or 16,319 in magnitude."""
    levels: NDArray[np.int8] | NDArray[np.int16]
    """Integer levels by code."""
    factor: NDArray[np.float32]
    """(nq,): what one unit of the integer product is worth, F of docs/numerics.md."""


def prepare_queries(
    q: TurboQuant, queries: NDArray[np.float32], keep: tuple[int, ...], *, cosine: bool
) -> tuple[list[Query], NDArray[np.float32] | None]:
    """Rotate and round queries (nq, dim) float32 for ``keep`` bits a segment; also return ⟨query, center⟩."""
    row, exponent = prepare(queries)
    total = norm(row)
    if not cosine and (np.ldexp(total.astype(np.float64), exponent) >= QUERY_NORM_LIMIT).any():
        raise ValueError("the norm of a query must be below 2**96")
    divisor = np.where(total == 0, np.float32(1), total)
    parts, base = q.query_parts(row, total)
    prepared, fitted = [], q.spec.fitted is not None
    for segments, width, bits, dim in q.groups(keep):
        r = np.concatenate([parts[i] for i in segments], axis=1)
        top = np.abs(r).max(axis=1)
        empty = top == 0
        reach = np.float32(ONE_BYTE if one_byte(bits, fitted=fitted) else TWO_BYTES)
        safe = np.where(empty, np.float32(1), top)
        values = np.clip(np.rint(r * (reach / safe)[:, None]), -reach, reach)
        ints, level_scale = integer_levels(width, bits, dim, fitted=fitted)
        factor = (top / reach) * level_scale
        factor = np.where(empty, np.float32(0), factor / divisor) if cosine else times_power(factor, exponent)
        prepared.append(Query(segments, values.astype(np.int64), ints, factor))
    if base is not None:
        largest = np.finfo(np.float32).max
        base = (
            (base / divisor).astype(np.float32, copy=False)
            if cosine
            else times_power(base, exponent).clip(-largest, largest).astype(np.float32)
        )
    return prepared, base


def score(q: TurboQuant, queries: NDArray[np.float32], codes: Codes, *, cosine: bool = False) -> NDArray[np.float32]:
    """Return inner products (nq, n) float32 of queries with the encoded rows, estimated from the codes; larger is
    nearer.

    The integer product is exact, so its order is free; float32 rounds once per group, in the order of the groups.
    Groups have one scale in common (fitted codecs), or each its own (outlier splits).
    """
    parts = q.unpack(codes)
    prepared, base = prepare_queries(q, queries, codes.keep, cosine=cosine)
    total: NDArray[np.float32] | None = None
    split = codes.scales.shape[1] > 1
    for i, query in enumerate(prepared):
        codes_of = np.concatenate([parts[i] for i in query.segments], axis=1)
        # Below 2^53 in magnitude (16,319² · 65,536 < 2^44.1), so a float64 product is exact in any order.
        exact = query.values.astype(np.float64) @ query.levels.astype(np.float64)[codes_of].T
        s = query.factor[:, None] * exact.astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            if split:
                s = s * codes.scales[:, i]
            total = s if total is None else total + s
    assert total is not None
    if split:
        # Where two shares are beyond float32, with opposite signs.
        return np.where(np.isnan(total), np.float32(0), total)
    with np.errstate(over="ignore"):
        total = total * codes.scales[:, 0]
        return total if base is None else total + base[:, None]
