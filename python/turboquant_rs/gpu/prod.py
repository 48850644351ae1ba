"""TurboQuantProd on a device: levels at bits − 1, a sketch of what they leave over (docs/numerics-papers.md section 5).

One bit leaves none to the levels; what is left is :mod:`.qjl`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..reference.codebook import levels, one_byte
from ..reference.units import row_bytes
from .backend import Backend
from .constants import CodecKey, uploaded
from .dense import BUFFER
from .faults import Fault, fault_buffer, first_fault
from .gate import require
from .plan import Part, query_bytes
from .rotate import rotate, unrotate
from .row_codes import write_codes
from .score import MOST_QUERIES, in_batches, levels_of, multiply
from .score import prepare as prepare_levels
from .sketch import (
    Projected,
    SketchKey,
    decode_signs,
    decoding_signs_bytes,
    launch_by_warps,
    multiply_signs,
    prepare,
    preparing_bytes,
    project_given,
    room_for,
    write_signs,
)


@dataclass(frozen=True)
class ProdKey:
    """What decides a codec's kernels and tables; ``bits`` are 2 to 8, and the sketch is of dim signs."""

    bits: int
    sketch: SketchKey

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        return self.sketch.dim

    @property
    def coarse(self) -> CodecKey:
        """The codec of the levels."""
        return CodecKey(self.dim, self.bits - 1, self.sketch.seed, "paper")

    @property
    def coarse_bytes(self) -> int:
        """Bytes of a packed row before the signs."""
        return row_bytes(self.dim, self.bits - 1, self.bits - 1)

    @property
    def row_bytes(self) -> int:
        """Bytes of a packed row."""
        return self.coarse_bytes + -(-self.dim // 8)

    @property
    def bytes_a_row(self) -> int:
        """Bytes of a row in hand: rotated, with its norm and power of two, and projected."""
        return 4 * self.dim + 8 + self.sketch.bytes_a_row


@dataclass(frozen=True)
class _Rotated:
    """Rows in hand on a device."""

    values: Any
    norms: Any
    exponents: Any
    #: Room for what is projected; its norms are those of that.
    room: Projected


def rows_at_a_time(key: ProdKey, rows: int) -> int:
    """Return how many rows are in hand at a time."""
    return max(1, min(rows, BUFFER // key.bytes_a_row))


def encoding_bytes(key: ProdKey, rows: int) -> int:
    """Return the bytes that encoding takes beside its result."""
    return rows_at_a_time(key, rows) * key.bytes_a_row


def decoding_bytes(key: ProdKey, rows: int) -> int:
    """Return the bytes that decoding takes beside its result."""
    return decoding_signs_bytes(key.sketch, rows)


def scoring_bytes(key: ProdKey, queries: int, rows: int) -> int:
    """Return the bytes that scoring takes beside its result, for any number of rows."""
    wide = not one_byte(key.bits - 1)
    each = 4 * key.dim + 8 + query_bytes(key.dim) * (2 if wide else 1) + 4
    count = min(queries, rows_at_a_time(key, MOST_QUERIES))
    return count * each + preparing_bytes(key.sketch, count)


def encode(backend: Backend, key: ProdKey, x: Any, packed: Any, scales: Any, *, validate: bool = True) -> Fault | None:
    """Encode device rows (n, dim) float32; as :func:`.qjl.encode`, with ``scales`` (n, 2)."""
    n = _checked(key, packed, scales)
    require(x, "x", (n, key.dim), np.float32)
    if n == 0:
        return None
    faults, step = fault_buffer(backend), rows_at_a_time(key, n)
    coarse = key.coarse
    whole = _rotated_room(backend, key, step)
    for first in range(0, n, step):
        part = slice(first, first + step)
        count = len(x[part])
        rows = _cut(whole, count)
        rotate(backend, key.dim, coarse.seed, x[part], _results(rows), faults, first, "norm")
        operands = (rows.values, rows.norms, rows.exponents)
        write_codes(backend, coarse, operands, packed, scales, first, faults, left=rows.room.norms)
        project_given(backend, key.sketch, rows.values, rows.room)
        write_signs(backend, rows.room, packed[part], key.coarse_bytes, None)
    return first_fault(backend, faults) if validate else None


def decode(backend: Backend, key: ProdKey, packed: Any, scales: Any, out: Any) -> None:
    """Decode device rows into ``out`` (n, dim) float32; nothing is synchronised."""
    n = _checked(key, packed, scales)
    require(out, "out", (n, key.dim), np.float32)
    if n == 0:
        return
    decode_signs(backend, key.sketch, packed, key.coarse_bytes, scales, out)
    bits = key.bits - 1
    level = uploaded(backend, "levels", (key.dim, bits, bits), lambda: levels(bits, bits, key.dim))
    parameters = {"TQ_DIM": key.dim, "TQ_BITS": bits, "TQ_KEEP": bits}
    args = (packed, scales, level, out, np.int32(key.row_bytes), np.int64(n))
    launch_by_warps(backend, "prod_values", n, args, parameters)
    unrotate(backend, key.dim, key.coarse.seed, out)


def score(
    backend: Backend, key: ProdKey, queries: Any, packed: Any, scales: Any, out: Any, *, validate: bool = True
) -> Fault | None:
    """Score device queries (nq, dim) float32 into ``out`` (nq, n) float32; as :func:`.qjl.score`."""
    n, nq, coarse = _checked(key, packed, scales), len(queries), key.coarse
    require(queries, "queries", (nq, key.dim), np.float32)
    require(out, "out", (nq, n), np.float32)
    codes = Part(key.dim, coarse.bits, coarse.bits, key.row_bytes, norms=2)

    def work(part: slice) -> Any:
        some = queries[part]
        share = prepare_levels(backend, coarse, coarse.bits, some, cosine=False)
        rows = _rotated_room(backend, key, len(some))
        room = Projected(rows.room.words, rows.norms, rows.exponents, rows.room.planes)
        rotate(backend, key.dim, coarse.seed, some, _results(rows), share.faults, 0, "query")
        project_given(backend, key.sketch, rows.values, room)
        sketched = prepare(backend, key.sketch, room, share.faults, key.sketch.constant)
        if n:
            multiply(backend, codes, levels_of(backend, coarse, coarse.bits), share, packed, scales, out[part])
            multiply_signs(backend, key.sketch, sketched, packed, key.coarse_bytes, scales, out[part])
        return share.faults

    return in_batches(backend, nq, rows_at_a_time(key, MOST_QUERIES), work, validate=validate)


def _checked(key: ProdKey, packed: Any, scales: Any) -> int:
    n = len(packed)
    require(packed, "packed", (n, key.row_bytes), np.uint8)
    require(scales, "scales", (n, 2), np.float32)
    return n


def _rotated_room(backend: Backend, key: ProdKey, rows: int) -> _Rotated:
    values = backend.empty((rows, key.dim), np.float32)
    norms, exponents = backend.empty((rows,), np.float32), backend.empty((rows,), np.int32)
    return _Rotated(values, norms, exponents, room_for(backend, key.sketch, rows))


def _cut(rows: _Rotated, count: int) -> _Rotated:
    return _Rotated(rows.values[:count], rows.norms[:count], rows.exponents[:count], rows.room[:count])


def _results(rows: _Rotated) -> tuple[Any, Any, Any]:
    return rows.values, rows.norms, rows.exponents
