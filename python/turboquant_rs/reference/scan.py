"""Scores of queries against codes, in integers: the same on every machine (docs/numerics.md section 10)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .codebook import integer_levels
from .codes import Codes
from .mse import TurboQuant
from .rows import norm, prepare, times_power

#: A query's norm must be below this, so that no product of a finite scale and a score is NaN.
QUERY_NORM_LIMIT = 2.0**96
#: Largest query integer: one byte for widths 1–4, two bytes (127·128 + 63) for widths 5–8.
ONE_BYTE, TWO_BYTES = 127, 16_319


class Query(NamedTuple):
    """Prepared queries of one segment."""

    values: NDArray[np.int64]
    """(nq, m) integers, at most 127 or 16,319 in magnitude."""
    factor: NDArray[np.float32]
    """(nq,): what one unit of the integer product is worth, F of docs/numerics.md."""


def prepare_queries(q: TurboQuant, queries: NDArray[np.float32], keep: tuple[int, ...], *, cosine: bool) -> list[Query]:
    """Rotate and round queries (nq, dim) float32 for codes with ``keep`` bits a segment."""
    row, exponent = prepare(queries)
    total = norm(row)
    if not cosine and (np.ldexp(total.astype(np.float64), exponent) >= QUERY_NORM_LIMIT).any():
        raise ValueError("the norm of a query must be below 2**96")
    prepared = []
    for segment, rotation, bits in zip(q.spec.segments, q.rotations, keep, strict=True):
        r = rotation.apply(row[:, segment.start : segment.start + segment.dim])
        top = np.abs(r).max(axis=1)
        empty = top == 0
        reach = np.float32(ONE_BYTE if bits <= 4 else TWO_BYTES)
        safe = np.where(empty, np.float32(1), top)
        values = np.clip(np.rint(r * (reach / safe)[:, None]), -reach, reach)
        level_scale = integer_levels(segment.bits, bits, segment.dim)[1]
        factor = (top / reach) * level_scale
        if cosine:
            factor = np.where(empty, np.float32(0), factor / np.where(total == 0, np.float32(1), total))
        else:
            factor = times_power(factor, exponent)
        prepared.append(Query(values.astype(np.int64), factor))
    return prepared


def score(q: TurboQuant, queries: NDArray[np.float32], codes: Codes, *, cosine: bool = False) -> NDArray[np.float32]:
    """Return inner products (nq, n) float32 of queries with the encoded rows, estimated from the codes; larger is
    nearer.

    The integer product is exact, so its order is free; float32 rounds once per segment, in segment order.
    """
    total: NDArray[np.float32] | None = None
    segments = zip(
        q.spec.segments, q.unpack(codes), prepare_queries(q, queries, codes.keep, cosine=cosine), strict=True
    )
    for i, (segment, part, query) in enumerate(segments):
        ints, _ = integer_levels(segment.bits, codes.keep[i], segment.dim)
        # Below 2^53 in magnitude (16,319² · 65,536 < 2^44.1), so a float64 product is exact in any order.
        exact = query.values.astype(np.float64) @ ints.astype(np.float64)[part].T
        with np.errstate(over="ignore"):
            s = (query.factor[:, None] * exact.astype(np.float32)) * codes.scales[:, i]
            total = s if total is None else total + s
    assert total is not None
    return total
